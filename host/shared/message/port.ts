// The port between a publisher's thread and the worker, and the messages on it. Types only.

/** The part of a platform's MessagePort that is used. */
export interface PublisherPort {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: () => void): void;
  start(): void;
  close(): void;
  /** Node: lets the thread end while the port is open. */
  unref?(): void;
}

/** A message of the worker to a publisher: there is room again, or bytes have left clients' queues. */
export type PublisherNotice = "room" | Float64Array;
/** A message of a publisher to the worker: the doorbell, or a buffer that does not fit into the inbox. */
export type PublisherRing = 0 | { readonly number: number; readonly bytes: Uint8Array };
