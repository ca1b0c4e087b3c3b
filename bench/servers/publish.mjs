// The publisher every server runs, so that they differ only in how a message is sent: n messages, `batch` of
// them in a turn of the event loop. Each has its number in its first 4 bytes; a paced one has the time at which
// it was due, on this process's clock, in the next 8.
//
// Invariant: before a turn starts, no client is more than BEHIND_BYTES_MAX behind, as far as the
// server can tell.

import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";

const BEHIND_BYTES_MAX = 8 << 20;
const LATE_MAX = 512; // messages a turn, when they are late

/**
 * @typedef {object} Job
 * @property {number} n messages
 * @property {number} size bytes of a message, at least 4; paced, 12
 * @property {number} batch messages staged in a turn
 * @property {number} [perSecond] messages a second; without it as many as clients take
 *
 * @typedef {object} Sink how a server sends
 * @property {(message: Uint8Array) => boolean} stage sends to all clients; it must not keep
 *   `message`, which is used again. false: no room, nothing was sent
 * @property {() => void} [flush] ends a turn
 * @property {() => number} [behind] bytes not yet sent to the slowest client
 * @property {() => Promise<unknown>} [ready] resolves when `stage` may have room again
 */

/** Monotonic time in µs. */
export function micros() {
  return Number(process.hrtime.bigint()) / 1000;
}

/**
 * Waits until a time, to the millisecond, and gives the event loop a turn in any case.
 * @param {number} time µs
 */
async function until(time) {
  const left = time - micros();
  if (left <= 0) return turn();
  return pause(Math.max(1, Math.round(left / 1000)));
}

/**
 * How messages come: as many as clients take, or so many a second. A paced publisher that is late has all that
 * is due by now in one turn, as from a feed that does not wait for it.
 * @param {Job} job
 */
function source({ n, batch, perSecond }) {
  if (!perSecond) return { stamp: () => {}, next: async (i) => Math.min(n, i + batch) };
  const start = micros();
  const due = (i) => start + (i / perSecond) * 1e6;
  const next = async (i) => {
    const last = Math.min(n, i + batch) - 1;
    await until(due(last));
    const late = Math.floor(((micros() - start) / 1e6) * perSecond);
    return Math.max(last + 1, Math.min(n, late, i + LATE_MAX));
  };
  return { stamp: (message, i) => message.writeDoubleLE(due(i), 4), next };
}

/**
 * Sends a job's messages; resolves when the last was staged.
 * @param {Job} job
 * @param {Sink} sink
 * @returns {Promise<number>} how many times it had to wait for clients
 */
export async function publish(job, { stage, flush, behind, ready = turn }) {
  const { n, size, perSecond } = job;
  const { stamp, next } = source(job);
  const message = Buffer.alloc(size);
  let waits = 0;
  // Bytes that may be staged before the slowest client has to be looked for again; looking in each
  // turn would be measured too.
  let room = behind === undefined ? Number.POSITIVE_INFINITY : 0;
  for (let i = 0; i < n; ) {
    const end = await next(i);
    const bytes = (end - i) * size;
    while (room < bytes) {
      room = BEHIND_BYTES_MAX - behind();
      if (room >= bytes) break;
      waits++;
      await turn();
    }
    for (; i < end; i++) {
      message.writeUInt32LE(i, 0);
      stamp(message, i);
      if (!stage(message)) break;
      room -= size;
    }
    flush?.();
    if (i < end) {
      waits++;
      await ready();
    } else if (!perSecond) await turn();
  }
  return waits;
}
