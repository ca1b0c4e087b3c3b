// A server process's side of the conversation with the bench: it says where it listens, runs
// bursts, and tells the CPU time a burst took. The other side is pair.mjs.

/** @typedef {import("./burst.mjs").Job} Job */

/** Why a server cannot run here, through no fault of its own: the bench skips it. */
export class Unavailable extends Error {}

/**
 * Runs a server under the bench's control.
 * @param {() => Promise<{ port: number, burst: (job: Job) => Promise<number> }>} start `burst`
 *   resolves when all is staged, with the number of waits for clients
 */
export async function control(start) {
  process.on("disconnect", () => process.exit()); // no orphans, however the bench ended
  let server;
  try {
    server = await start();
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    process.send({ type: "unavailable", reason: error.message });
    return;
  }
  let cpuBefore = process.cpuUsage();
  process.on("message", async (message) => {
    if (message.type === "burst") {
      const startMicros = Number(process.hrtime.bigint() / 1000n);
      cpuBefore = process.cpuUsage();
      const waits = await server.burst(message.job);
      process.send({ type: "staged", startMicros, waits });
    } else if (message.type === "cpu") {
      // Asked for when everything has arrived: much is still to be sent when the last is staged.
      const { user, system } = process.cpuUsage(cpuBefore);
      process.send({ type: "cpu", cpuMicros: user + system });
    }
  });
  process.send({ type: "listening", port: server.port });
}

/**
 * Loads a peer from bench/node_modules.
 * @template T
 * @param {() => T | Promise<T>} load
 * @throws {Unavailable}
 */
export async function peer(load) {
  try {
    return await load();
  } catch (error) {
    const [reason] = error.message.split("\n");
    throw new Unavailable(`${reason} (run npm install in bench/)`);
  }
}

/**
 * The largest figure of the clients.
 * @template T
 * @param {Iterable<T>} clients
 * @param {(client: T) => number} figure
 */
export function most(clients, figure) {
  let largest = 0;
  for (const client of clients) largest = Math.max(largest, figure(client));
  return largest;
}
