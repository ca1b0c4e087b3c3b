// Answers as a client collects them out of its bytes, in their order.
//
// Invariant: bytes are looked at once; of an answer that is not whole only its body so far is kept.

import {
  type AnswerHead,
  type AnswerUser,
  fieldOf as fieldIn,
  AnswerReader as OneAnswer,
} from "../codec/response";
import { concat } from "../shared/text/bytes";
import { copyBytes } from "../shared/text/text";

/** One answer, whole. */
export interface TestAnswer {
  /** Its status. */
  readonly status: number;
  /** The reason phrase. */
  readonly phrase: string;
  /** Fields in the order they came, as they were spelled. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Its body, of chunks without their framing. */
  readonly body: Uint8Array;
}

/** The value of a field by its case-insensitive name; several are joined by ", ". */
export function fieldOf(answer: Pick<TestAnswer, "fields">, name: string): string | undefined {
  return fieldIn(answer.fields, name.toLowerCase());
}

export class AnswerReader implements AnswerUser {
  /** Answers that are whole. */
  readonly answers: TestAnswer[] = [];
  /** What came behind a 101. */
  rest: Uint8Array = new Uint8Array(0);
  isUpgraded = false;
  readonly #methods: string[];
  #answer: OneAnswer;
  /** Of the answer that is not whole. */
  #head: AnswerHead | undefined;
  #body: Uint8Array[] = [];

  /** @param methods of the requests that are answered, in their order; GET for those that are not named */
  constructor(methods: readonly string[] = []) {
    this.#methods = [...methods];
    this.#answer = this.#next();
  }

  #next(): OneAnswer {
    return new OneAnswer(this.#methods.shift() ?? "GET", this);
  }

  /** Takes bytes in. @throws Error at the first that does not belong */
  push(arrived: Uint8Array): void {
    const bytes = copyBytes(arrived, 0, arrived.length);
    let at = 0;
    while (at < bytes.length && !this.isUpgraded) at += this.#answer.push(bytes.subarray(at));
    this.rest = concat([this.rest, bytes.subarray(at)]);
  }

  /** The server's side has ended: @throws Error within an answer */
  close(): void {
    if (!this.isUpgraded && this.#answer.isBegun) this.#answer.close();
  }

  head(head: AnswerHead): void {
    this.#head = head;
  }

  data(bytes: Uint8Array<ArrayBuffer>): void {
    this.#body.push(bytes);
  }

  end(): void {
    const { status, reason, fields } = this.#head as AnswerHead;
    const body = concat(this.#body);
    this.answers.push({
      status,
      phrase: reason,
      fields,
      body: copyBytes(body, 0, body.length),
    });
    this.#body = [];
    this.isUpgraded = status === 101;
    this.#answer = this.#next();
  }
}
