// The publisher every server runs, so that they differ only in how a message is sent: n messages, `batch` of
// them in a turn of the event loop. Each has its number in its first 4 bytes; a paced one has the time at which
// it was due, on this process's clock, in the next 8.
//
// Invariant: before a turn starts, no client is more than `behindMax` bytes behind, as far as the
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
 * @property {boolean} [json] messages are JSON, with the number in it; not paced
 * @property {boolean} [text] messages are texts of any content, of which clients check the length
 * @property {number} [behindMax] bytes that a client may be behind before a turn starts; default 8 MiB
 *
 * @typedef {object} Sink how a server sends
 * @property {(message: Uint8Array) => boolean} stage sends to all clients; it must not keep
 *   `message`, which is used again. false: no room, nothing was sent
 * @property {() => void} [flush] ends a turn
 * @property {() => number} [behind] bytes not yet sent to the client that paces it, which is the slowest
 * @property {() => Promise<unknown>} [ready] resolves when `stage` may have room again
 */

/** Returns a JSON message of a size, whose number `setNumber` sets. @param {number} size at least 64 */
export function json(size) {
  const item = (i) =>
    `{"id":${1000 + i * 37},"price":${(i * 7919) % 9973}.25,"open":${i % 3 === 0}}`;
  let text = '{"number":"0000000000","items":[';
  for (let i = 0; text.length + item(i).length + 20 < size; i++)
    text += `${i > 0 ? "," : ""}${item(i)}`;
  text += "]";
  return Buffer.from(`${text}${" ".repeat(size - text.length - 1)}}`);
}

const NUMBER_AT = '{"number":"'.length;

/** Sets the number of a JSON message, ten digits. @param {Buffer} message @param {number} number */
export function setNumber(message, number) {
  for (let at = NUMBER_AT + 9, rest = number; at >= NUMBER_AT; at--) {
    message[at] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}

/** Returns the monotonic time in µs. */
export function micros() {
  return Number(process.hrtime.bigint()) / 1000;
}

/**
 * Returns the lag of the client that paces the publisher: the slowest one; where only `readers` clients read, the
 * slowest of the `readers` clients with the least lag.
 * @template T
 * @param {{ readers?: number }} settings
 * @param {Iterable<T>} clients
 * @param {(client: T) => number} figure bytes that are not yet sent
 */
export function pacer({ readers = Number.POSITIVE_INFINITY }, clients, figure) {
  return () => {
    const all = Array.from(clients, figure).sort((a, b) => a - b);
    return all[Math.min(readers, all.length) - 1] ?? 0;
  };
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
 * Returns a source of messages: as many as clients take, or `perSecond`. A paced publisher that is late publishes all
 * messages due by now in one turn, as from a feed that does not wait for it.
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
 * @returns {Promise<{ waits: number }>} how many times it had to wait for clients
 */
export async function publish(job, { stage, flush, behind, ready = turn }) {
  const { n, size, perSecond, behindMax = BEHIND_BYTES_MAX } = job;
  const { stamp, next } = source(job);
  const message = job.json ? json(size) : Buffer.alloc(size);
  const number = job.json ? setNumber : (message, i) => message.writeUInt32LE(i, 0);
  let waits = 0;
  // Bytes that may be staged before the slowest client has to be looked for again; looking in each
  // turn would be measured too.
  let room = behind === undefined ? Number.POSITIVE_INFINITY : 0;
  for (let i = 0; i < n; ) {
    const end = await next(i);
    const bytes = (end - i) * size;
    while (room < bytes) {
      room = behindMax - behind();
      if (room >= bytes) break;
      waits++;
      await turn();
    }
    for (; i < end; i++) {
      number(message, i);
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
  return { waits };
}
