// The worker's side of an inbox where no memory can be shared. It has a copy of the producer's records, which arrive as
// messages (host/send/mirror-writer.ts).
//
// Invariant: a record has the offset at which the producer wrote it. At the end of each turn that moved the tail, the
// tail is reported to the producer.

import { INBOX_HEAD, INBOX_TAIL, INBOX_WORDS } from "../../assembly/abi";
import { viewOf } from "../../host/shared/text/text";
import {
  HANDLED_BYTES,
  HANDLED_ERRORS,
  HANDLED_REQUESTS,
  type Records,
  TAKEN_BATCHES,
} from "../../host/shared/message/wire";
import type { Inbox } from "../pump/pump";
import type { Consumer, SharedInbox } from "./inbox-reader";

export class MirroredInbox implements Inbox {
  readonly #inbox: SharedInbox;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #passed: (tail: number) => void;
  #reportedTail = 0;

  /**
   * @param inbox reads the copy, which is `memory`
   * @param passed reports to the producer how far its records were carried out
   */
  constructor(inbox: SharedInbox, memory: ArrayBufferLike, passed: (tail: number) => void) {
    this.#inbox = inbox;
    this.#words = inbox.words;
    this.#bytes = viewOf(memory, INBOX_WORDS * 4);
    this.#passed = passed;
  }

  /** Copies records in. */
  give({ from, bytes, handledBytes, handledRequests, handlerErrors, takenBatches }: Records): void {
    const size = this.#bytes.length;
    const at = (from * 8) % size;
    const first = bytes.subarray(0, size - at);
    this.#bytes.set(first, at);
    this.#bytes.set(bytes.subarray(first.length), 0);
    const words = this.#words;
    words[HANDLED_BYTES] = handledBytes;
    words[HANDLED_REQUESTS] = handledRequests;
    words[HANDLED_ERRORS] = handlerErrors;
    words[TAKEN_BATCHES] = takenBatches;
    words[INBOX_HEAD] = (from + bytes.length / 8) | 0;
  }

  drain(pump: Consumer, share: number): boolean {
    return this.#inbox.drain(pump, share);
  }

  ended(id: number): void {
    this.#inbox.ended(id);
  }

  endTurn(more: boolean): void {
    const tail = this.#words[INBOX_TAIL] as number;
    if (tail !== this.#reportedTail) {
      this.#reportedTail = tail;
      this.#passed(tail >>> 0);
    }
    this.#inbox.endTurn(more);
  }
}
