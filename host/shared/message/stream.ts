// The messages of an iterable on their way to one WebSocket, wherever its handler runs.
//
// Invariant: a message is asked for only when the client's queue has room for it, so no more than one message of a
// stream waits outside of the queue. An error that no one waits for is reported once.

import type { Data } from "../../handler";
import { byteLength } from "../text/text";
import { Source } from "../source";
import { dataOf, sizeOf } from "./data";
import type { Waiters } from "./waiters";

/** A WebSocket, as far as a stream needs it. */
export interface StreamSocket {
  readonly open: boolean;
  /** Sends a message. @returns false when there is no room, or the client has gone */
  send(data: Data): boolean;
  /** Resolves when there may be room, or the client has gone. */
  ready(): Promise<void>;
}

/** The places that a stream reports to. */
export interface StreamOwner {
  /** Functions to notify when the client has gone. */
  readonly waiters: Waiters;
  /** Bytes of `replyBuffers`. A larger message would wait for room for ever. */
  readonly replyBytes: number;
  /** Reports an error of the handler. */
  failed(thrown: unknown): void;
}

/** The errors of streams that were reported, by the WebSocket; the last of each. */
const reported = new WeakMap<StreamSocket, unknown>();

/** Returns false for an error of a stream that was reported already, when the handler did not wait for the stream. */
export function isNews(socket: StreamSocket | undefined, thrown: unknown): boolean {
  return !socket || !reported.has(socket) || reported.get(socket) !== thrown;
}

/** The result of a stream. It knows whether anything waits for it. */
class Result extends Promise<boolean> {
  static override readonly name = "Promise";
  #isAwaited = false;

  /** Promises that are derived from it are ordinary ones. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: `await` calls it, which is how waiting is noticed.
  override then<T = boolean, U = never>(
    fulfilled?: ((value: boolean) => T | PromiseLike<T>) | null,
    rejected?: ((thrown: unknown) => U | PromiseLike<U>) | null,
  ): Promise<T | U> {
    this.#isAwaited = true;
    return super.then(fulfilled, rejected);
  }

  /** Calls `failed` when it rejects and nothing waits for it. */
  guard(failed: (thrown: unknown) => void): this {
    super.then(undefined, (thrown: unknown) => {
      if (!this.#isAwaited) failed(thrown);
    });
    return this;
  }
}

/** Checks a message. @throws TypeError, RangeError when it is larger than all queues may be */
function checkMessage(message: Data, replyBytes: number): Data {
  const data = dataOf("stream", message);
  const isText = typeof data === "string";
  if (isText && data.length * 3 <= replyBytes) return data;
  const size = isText ? byteLength(data) : sizeOf(data);
  if (size <= replyBytes) return data;
  throw new RangeError(`stream: ${size} bytes are more than replyBuffers (${replyBytes} bytes)`);
}

async function pour(
  source: Source<Data>,
  socket: StreamSocket,
  { waiters, replyBytes }: StreamOwner,
): Promise<boolean> {
  // Room is of no interest to it, so it waits again.
  const watch = (): void => {
    if (socket.open) waiters.add(watch);
    else source.cancel();
  };
  const send = async (message: Data): Promise<boolean> => {
    const data = checkMessage(message, replyBytes);
    while (socket.open && !socket.send(data)) await socket.ready();
    await socket.ready();
    return socket.open;
  };
  await socket.ready();
  if (!socket.open) {
    source.leave();
    return false;
  }
  waiters.add(watch);
  try {
    return await source.pour(send);
  } finally {
    waiters.delete(watch);
  }
}

/**
 * Sends the messages of an iterable.
 * @returns a promise of true at its end, of false when the client has gone first
 * @throws TypeError when the value is not an iterable
 */
export function stream(
  socket: StreamSocket,
  messages: AsyncIterable<Data> | Iterable<Data>,
  owner: StreamOwner,
): Promise<boolean> {
  const failed = (thrown: unknown): void => {
    owner.failed(thrown);
    reported.set(socket, thrown);
  };
  const source = new Source("stream", messages, failed);
  const sent = pour(source, socket, owner);
  return new Result((resolve) => resolve(sent)).guard(failed);
}
