// An inbox where no memory can be shared, as in a page that is not cross-origin isolated: the producer writes to
// memory of its own, and what is new in it goes to the worker once a turn, as one message.
//
// Invariant: the worker's copy lies at the same places. It says how far it has come; only behind that does the
// producer write again.

import { INBOX_ASLEEP, INBOX_HEAD, INBOX_TAIL, INBOX_WORDS } from "../../assembly/abi";
import {
  HANDLED_BYTES,
  HANDLED_ERRORS,
  HANDLED_REQUESTS,
  HANDLED_WAITING,
  type Records,
  TAKEN_BATCHES,
  TAKEN_WAITING,
} from "../shared/message/wire";

export class Mirror {
  readonly memory: ArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #post: (records: Records) => void;
  #sent = 0;
  #handledBytes = 0;
  #handledRequests = 0;
  #errors = 0;
  #takenBatches = 0;
  #scheduled = false;

  /** @param size bytes of records, a power of two */
  constructor(size: number, post: (records: Records) => void) {
    this.memory = new ArrayBuffer(INBOX_WORDS * 4 + size);
    this.#words = new Int32Array(this.memory, 0, INBOX_WORDS);
    this.#bytes = new Uint8Array(this.memory, INBOX_WORDS * 4);
    this.#post = post;
    this.#listen();
  }

  /** To the producer this is the worker: it sleeps, and is to be woken by what is new. */
  #listen(): void {
    this.#words[INBOX_ASLEEP] = 1;
    this.#words[HANDLED_WAITING] = 1;
    this.#words[TAKEN_WAITING] = 1;
  }

  /** There is something new: it goes at the end of this run. */
  ring(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush());
  }

  /** Sends what is new now: before a call that has to come after it. */
  flush(): void {
    this.#scheduled = false;
    const words = this.#words;
    const head = (words[INBOX_HEAD] as number) >>> 0;
    const handledBytes = words[HANDLED_BYTES] as number;
    const handledRequests = words[HANDLED_REQUESTS] as number;
    const handlerErrors = words[HANDLED_ERRORS] as number;
    const takenBatches = words[TAKEN_BATCHES] as number;
    this.#listen();
    if (
      head === this.#sent &&
      handledBytes === this.#handledBytes &&
      handledRequests === this.#handledRequests &&
      handlerErrors === this.#errors &&
      takenBatches === this.#takenBatches
    ) {
      return;
    }
    const bytes = this.#copy(this.#sent, head);
    const handled = { handledBytes, handledRequests, handlerErrors, takenBatches };
    this.#post({ ringcast: "records", from: this.#sent, bytes, ...handled });
    this.#sent = head;
    this.#handledBytes = handledBytes;
    this.#handledRequests = handledRequests;
    this.#errors = handlerErrors;
    this.#takenBatches = takenBatches;
  }

  /** Copies the records of [from, to), positions in units of 8 bytes. */
  #copy(from: number, to: number): Uint8Array<ArrayBuffer> {
    const size = this.#bytes.length;
    const length = ((to - from) >>> 0) * 8;
    const at = (from * 8) % size;
    const copy = new Uint8Array(length);
    const first = this.#bytes.subarray(at, Math.min(at + length, size));
    copy.set(first);
    copy.set(this.#bytes.subarray(0, length - first.length), first.length);
    return copy;
  }

  /** The worker has carried out what stood before `tail`. */
  passed(tail: number): void {
    this.#words[INBOX_TAIL] = tail | 0;
  }
}
