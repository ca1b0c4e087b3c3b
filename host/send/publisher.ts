// A publisher: an inbox of its own for another thread of the application, which then needs nothing of the
// thread that started the server.
//
// Invariant: order is kept for each publisher. When its thread ends, what it has said is still carried out,
// then the worker lets go of its inbox.

import { quiet, serverEnded } from "../shared/ended";
import { InboxWriter } from "./inbox-writer";
import { type Messages, MessageWriter } from "./messages";

/** What is needed of a MessagePort, a platform's own. */
export interface PublisherPort {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: () => void): void;
  start(): void;
  close(): void;
  /** Node: it does not keep its thread alive. */
  unref?(): void;
}

type PortOf<Module> = Module extends { MessagePort: abstract new (...args: never) => infer Port }
  ? Port
  : never;

/** Node's own MessagePort, without an import, for which a page has no types. */
type NodePort = typeof globalThis extends {
  process: { getBuiltinModule: { (id: never): infer Module; (id: never): unknown } };
}
  ? PortOf<Module>
  : never;

/** A MessagePort of the platform's: both types, where Node's and the DOM's are there, since neither takes the other. */
export type TransferredPort = InstanceType<typeof MessagePort> &
  ([NodePort] extends [never] ? unknown : NodePort);

/** What `server.publisher()` gives: send it to a thread, its `port` in the list of what is transferred. */
export interface PublisherHandle {
  /** Tells it from other messages. */
  readonly ringcast: "publisher";
  /** The inbox. */
  readonly memory: SharedArrayBuffer;
  /** Its port, to be transferred. */
  readonly port: TransferredPort;
  /** Bytes of the ring: no message may be larger. */
  readonly ringBytes: number;
  /** `maxBacklog` and `maxWebSockets`: what may be under way to clients. */
  readonly limits: { readonly backlog: number; readonly clients: number };
}

/** A thread's own way to the server. */
export interface Publisher extends Messages, Disposable {
  /** False once the server has ended, or `close` was called: then nothing is sent any more. */
  readonly open: boolean;
  /** Lets go of the server, behind what was said. Else it keeps the thread from ending no longer than it lives. */
  close(): void;
}

/** The worker to a publisher: there is room again; messages have left clients' queues (worker/inbox/debts.ts). */
export type PublisherNotice = "room" | Float64Array;
/** A publisher to the worker: the doorbell, or a buffer that does not fit its inbox. */
export type PublisherRing = 0 | { readonly number: number; readonly bytes: Uint8Array };

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
      if (notice === "room") inbox.told();
      else this.credited(notice);
    });
    port.addEventListener("close", () => this.#end());
    port.start();
    port.unref?.();
  }

  #end(): void {
    this.#state.open = false;
    this.#inbox.told(true);
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
 * Opens, in the thread that got it, what `server.publisher()` gave.
 * @throws TypeError when it is not that
 */
export function openPublisher(handle: PublisherHandle): Publisher {
  if (typeof handle !== "object" || handle === null || handle.ringcast !== "publisher") {
    throw new TypeError("handle: not what server.publisher() gave");
  }
  return new OpenPublisher(handle);
}
