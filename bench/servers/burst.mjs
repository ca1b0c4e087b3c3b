// The publisher every server runs, so that they differ only in how a message is sent. A burst is n
// messages, `batch` of them in a turn of the event loop, each with its number in its first 4 bytes.
//
// Invariant: before a turn starts, no client is more than BEHIND_BYTES_MAX behind, as far as the
// server can tell.

import { setImmediate as turn } from "node:timers/promises";

const BEHIND_BYTES_MAX = 8 << 20;

/**
 * @typedef {object} Job
 * @property {number} n messages
 * @property {number} size bytes of a message, at least 4
 * @property {number} batch messages staged in a turn
 *
 * @typedef {object} Sink how a server sends
 * @property {(message: Uint8Array) => boolean} stage sends to all clients; it must not keep
 *   `message`, which is used again. false: no room, nothing was sent
 * @property {() => void} [flush] ends a turn
 * @property {() => number} [behind] bytes not yet sent to the slowest client
 * @property {() => Promise<unknown>} [ready] resolves when `stage` may have room again
 */

/**
 * Sends a burst; resolves when the last message was staged.
 * @param {Job} job
 * @param {Sink} sink
 * @returns {Promise<number>} how many times it had to wait for clients
 */
export async function burst({ n, size, batch }, { stage, flush, behind, ready = turn }) {
  const message = Buffer.alloc(size);
  let waits = 0;
  // Bytes that may be staged before the slowest client has to be looked for again; looking in each
  // turn would be measured too.
  let room = behind === undefined ? Number.POSITIVE_INFINITY : 0;
  for (let i = 0; i < n; ) {
    if (room < batch * size) {
      room = BEHIND_BYTES_MAX - behind();
      if (room < batch * size) {
        waits++;
        await turn();
        continue;
      }
    }
    const end = Math.min(n, i + batch);
    for (; i < end; i++) {
      message.writeUInt32LE(i, 0);
      if (!stage(message)) break;
      room -= size;
    }
    flush?.();
    if (i < end) {
      waits++;
      await ready();
    } else await turn();
  }
  return waits;
}
