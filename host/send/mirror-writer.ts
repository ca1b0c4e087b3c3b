// An inbox for threads that cannot share memory, as in a page that is not cross-origin isolated. The producer writes to
// memory of its own, and once a turn a message with the new records goes to the worker.
//
// Invariant: the worker's copy has the same offsets. It reports how far it has read, and only before that position the
// producer writes again.

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

  /** @param size bytes for records, a power of two */
  constructor(size: number, post: (records: Records) => void) {
    this.memory = new ArrayBuffer(INBOX_WORDS * 4 + size);
    this.#words = new Int32Array(this.memory, 0, INBOX_WORDS);
    this.#bytes = new Uint8Array(this.memory, INBOX_WORDS * 4);
    this.#post = post;
    this.#listen();
  }

  /** Sets the flags of a sleeping worker, so that the producer rings for each new record. */
  #listen(): void {
    this.#words[INBOX_ASLEEP] = 1;
    this.#words[HANDLED_WAITING] = 1;
    this.#words[TAKEN_WAITING] = 1;
  }

  /** Schedules a flush at the end of this turn, because there are new records. */
  ring(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush());
  }

  /** Sends the new records now, before a call that must come after them. */
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

  /** Notes that the worker has handled the records before `tail`. */
  passed(tail: number): void {
    this.#words[INBOX_TAIL] = tail | 0;
  }
}
