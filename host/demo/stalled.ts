// Measures how far the stalled clients have come: first the kernel takes their bytes into its socket buffers, then they
// lag in the ring.
//
// Invariant: it holds the open WebSockets of stalled clients, and no others.

import type { WebSocket } from "../handler.js";
import type { StalledSample } from "./message.js";

/** Divisor of the ring: a client that lags by more than this part of it has full kernel buffers. */
const FULL_SHARE = 64;

/** The part of a WebSocket that is measured. */
type Client = Pick<WebSocket, "lag">;

export class Stalled {
  /** The clients, each with the bytes that had been published at its first sample. */
  readonly #since = new Map<Client, number | undefined>();

  add(client: Client): void {
    this.#since.set(client, undefined);
  }

  remove(client: Client): void {
    this.#since.delete(client);
  }

  /** @param published bytes published since the server's start @param ring size of the ring in bytes */
  sample(published: number, ring: number): StalledSample {
    const sample = { kernel: 0, taken: 0, ring: 0, lag: 0 };
    for (const [client, known] of this.#since) {
      const { bytes } = client.lag;
      const since = known ?? published;
      this.#since.set(client, since);
      if (bytes > ring / FULL_SHARE) {
        sample.ring++;
        sample.lag = Math.max(sample.lag, bytes);
      } else {
        sample.kernel++;
        // Everything that was published is for the client, and what it does not lag by was written.
        sample.taken = Math.max(sample.taken, published - since - bytes);
      }
    }
    return sample;
  }
}
