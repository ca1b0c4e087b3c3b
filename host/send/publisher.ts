// A publisher: an inbox for another thread of the application, which then does not depend on the thread that started
// the server.
//
// Invariant: each publisher's order is kept. When its thread ends, the worker still handles the records written before,
// and then releases the inbox.

import { quiet, serverEnded } from "../shared/ended";
import type { PublisherNotice, PublisherPort, PublisherRing } from "../shared/message/port";
import { InboxWriter } from "./inbox-writer";
import { type Messages, MessageWriter } from "./messages";

type PortOf<Module> = Module extends { MessagePort: abstract new (...args: never) => infer Port }
  ? Port
  : never;

/** Node's MessagePort, without an import, for which pages have no types. */
type NodePort = typeof globalThis extends {
  process: { getBuiltinModule: { (id: never): infer Module; (id: never): unknown } };
}
  ? PortOf<Module>
  : never;

/** A platform's MessagePort: of Node's type and of the DOM's, where both exist, because neither accepts the other. */
export type TransferredPort = InstanceType<typeof MessagePort> &
  ([NodePort] extends [never] ? unknown : NodePort);

/** The result of `server.publisher()`. Send it to a thread, with its `port` in the transfer list. */
export interface PublisherHandle {
  /** A mark that tells it from other messages. */
  readonly ringcast: "publisher";
  /** The memory of the inbox. */
  readonly memory: SharedArrayBuffer;
  /** The port, which must be transferred. */
  readonly port: TransferredPort;
  /** Bytes of the ring. No message may be larger. */
  readonly ringBytes: number;
  /** `maxBacklog` and `maxWebSockets`, which limit the bytes in flight to clients, and `events.names`. */
  readonly limits: { readonly backlog: number; readonly clients: number; readonly names?: boolean };
}

/** A thread's own way of publishing. */
export interface Publisher extends Messages, Disposable {
  /** False once the server has ended or `close` was called. Then nothing is sent any more. */
  readonly open: boolean;
  /** Releases the publisher, after what was sent. An open publisher does not keep its thread from ending. */
  close(): void;
}

class OpenPublisher extends MessageWriter implements Publisher {
  static override readonly name = "Publisher";
  readonly #inbox: InboxWriter;
  readonly #port: PublisherPort;
  readonly #state: { open: boolean };

  constructor(handle: PublisherHandle) {
    const { memory, ringBytes, limits } = handle;
    const port = handle.port as unknown as PublisherPort;
    const state = { open: true };
    const inbox = new InboxWriter(memory, {
      ring: () => port.postMessage(0 satisfies PublisherRing),
      transfer: (number, bytes) => {
        port.postMessage({ number, bytes } satisfies PublisherRing, [bytes.buffer as ArrayBuffer]);
      },
    });
    super(inbox, ringBytes, limits, () => state.open);
    this.#inbox = inbox;
    this.#port = port;
    this.#state = state;
    port.addEventListener("message", ({ data }) => {
      const notice = data as PublisherNotice;
      if (notice === "room") inbox.notify();
      else this.credited(notice);
    });
    port.addEventListener("close", () => this.#end());
    port.start();
    port.unref?.();
  }

  #end(): void {
    this.#state.open = false;
    this.#inbox.notify(true);
  }

  get open(): boolean {
    return this.#state.open;
  }

  ready(): Promise<void> {
    return quiet(this.#ready());
  }

  async #ready(): Promise<void> {
    if (this.open) await this.#inbox.ready();
    if (!this.open) throw serverEnded();
  }

  close(): void {
    this.#end();
    this.#port.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Opens the result of `server.publisher()`, in the thread that received it.
 * @throws TypeError when the value is something else
 */
export function openPublisher(handle: PublisherHandle): Publisher {
  if (typeof handle !== "object" || handle === null || handle.ringcast !== "publisher") {
    throw new TypeError("handle: not a result of server.publisher()");
  }
  return new OpenPublisher(handle);
}
