// Collects complete responses from the bytes of a client, in order.
//
// Invariant: each byte is parsed once. Of an incomplete response only the head and the body so far are kept.

import {
  type AnswerHead,
  type AnswerUser,
  fieldOf as fieldIn,
  AnswerReader as OneAnswer,
} from "../codec/response";
import { concat } from "../shared/text/bytes";
import { copyBytes } from "../shared/text/text";

/** A complete response. */
export interface TestAnswer {
  /** The status code. */
  readonly status: number;
  /** The reason phrase. */
  readonly phrase: string;
  /** The fields in the order of arrival, as they were spelled. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The body, without the framing of chunks. */
  readonly body: Uint8Array;
}

/** Returns a field's value; names are case-insensitive. Several fields of one name are joined by ", ". */
export function fieldOf(answer: Pick<TestAnswer, "fields">, name: string): string | undefined {
  return fieldIn(answer.fields, name.toLowerCase());
}

export class AnswerReader implements AnswerUser {
  /** Complete responses. */
  readonly answers: TestAnswer[] = [];
  /** Bytes after a 101 response. */
  rest: Uint8Array = new Uint8Array(0);
  isUpgraded = false;
  readonly #methods: string[];
  #answer: OneAnswer;
  /** Head of the incomplete response. */
  #head: AnswerHead | undefined;
  #body: Uint8Array[] = [];

  /** @param methods the requests' methods in order; GET for further ones */
  constructor(methods: readonly string[] = []) {
    this.#methods = [...methods];
    this.#answer = this.#next();
  }

  #next(): OneAnswer {
    return new OneAnswer(this.#methods.shift() ?? "GET", this);
  }

  /** Takes bytes. @throws Error at the first byte that is invalid */
  push(arrived: Uint8Array): void {
    const bytes = copyBytes(arrived, 0, arrived.length);
    let at = 0;
    while (at < bytes.length && !this.isUpgraded) at += this.#answer.push(bytes.subarray(at));
    this.rest = concat([this.rest, bytes.subarray(at)]);
  }

  /** Notes the end of the server's side. @throws Error when a response is incomplete */
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
