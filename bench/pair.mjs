// A server process and the process of its clients, connected: runs bursts and checks what arrived.

import { Child } from "./child.mjs";

/** @typedef {import("./servers/burst.mjs").Job} Job */
/** @typedef {{ name: string, file: string, args: string[] }} Server */

/**
 * @typedef {object} Round what one burst came to
 * @property {number} rate deliveries a second
 * @property {number} serverNanos CPU time of the server for a delivery
 * @property {number} serverShare CPU time of the server over elapsed time
 * @property {number} loadShare CPU time of the clients' process over elapsed time
 * @property {number} waits how many times the publisher waited for clients
 */

const SERVER_CORE = 0;
const LOAD_CORE = 1;
const START_LIMIT = 20_000; // milliseconds
const BURST_LIMIT = 60_000;
const PROGRESS_LIMIT = 1_000;

export class Pair {
  #server;
  #load;
  #clients;

  /** @param {string} name @param {Child} server @param {Child} load @param {number} clients */
  constructor(name, server, load, clients) {
    this.name = name;
    this.#server = server;
    this.#load = load;
    this.#clients = clients;
  }

  /**
   * Starts a server and connects its clients.
   * @param {Server} server
   * @param {number} clients
   * @returns {Promise<Pair | { reason: string }>} the reason why the server cannot run here
   */
  static async open({ name, file, args }, clients) {
    const server = new Child(name, SERVER_CORE, file, args);
    const started = await server.next(["listening", "unavailable"], START_LIMIT);
    if (started.type === "unavailable") {
      server.kill();
      return started;
    }
    const load = new Child(`clients of ${name}`, LOAD_CORE, "load.mjs", []);
    await load.ask({ type: "connect", port: started.port, clients }, "connected", START_LIMIT);
    return new Pair(name, server, load, clients);
  }

  /**
   * Runs one burst.
   * @param {Job} job
   * @returns {Promise<Round & { micros: number }>}
   * @throws {Error} when a client got anything but the n messages in their order, or not in time
   */
  async run(job) {
    await this.#load.ask({ type: "expect", job }, "expecting", START_LIMIT);
    const received = this.#load.next(["received"], BURST_LIMIT).catch((e) => this.#explain(e));
    const staged = this.#server.ask({ type: "burst", job }, "staged", BURST_LIMIT);
    const [{ startMicros, waits }, result] = await Promise.all([staged, received]);
    const { cpuMicros } = await this.#server.ask({ type: "cpu" }, "cpu", START_LIMIT);
    const { deliveries } = result;
    const due = job.n * this.#clients;
    if (deliveries !== due) throw new Error(`${this.name}: ${deliveries} deliveries of ${due}`);
    // From the command, not from the first byte: a server that keeps a whole turn back before it
    // writes would get that time for free. Both processes read the system's monotonic clock.
    const micros = result.lastMicros - startMicros;
    return {
      micros,
      rate: (deliveries / micros) * 1e6,
      serverNanos: (cpuMicros / deliveries) * 1e3,
      serverShare: cpuMicros / micros,
      loadShare: result.cpuMicros / micros,
      waits,
    };
  }

  /**
   * Warms both processes up.
   * @returns {Promise<number>} the n, whole turns, with which a burst takes about `millis`
   */
  async fit(size, batch, millis) {
    let turns = 1;
    for (let elapsed = 0; elapsed < millis / 3; ) {
      const { micros } = await this.run({ n: turns * batch, size, batch });
      elapsed = micros / 1e3;
      turns = Math.max(1, Math.round(turns * Math.min(16, millis / elapsed)));
    }
    return turns * batch;
  }

  /** Adds to an error how far the clients came. @param {Error} error @returns {Promise<never>} */
  async #explain(error) {
    const { least, most } = await this.#load.ask({ type: "progress" }, "progress", PROGRESS_LIMIT);
    throw new Error(`${error.message}; clients have from ${least} to ${most} messages`);
  }

  close() {
    this.#server.kill();
    this.#load.kill();
  }
}
