// A server process and the process of its clients, connected: has messages published or echoed, and checks what
// arrived.

import { Child } from "./child.mjs";
import { LOAD_CORE, START_LIMIT, startServer } from "./servers.mjs";
import { cpuOf } from "./usage.mjs";

/** @typedef {import("./servers/publish.mjs").Job} Job */

/**
 * @typedef {object} Round what one run came to
 * @property {number} rate messages a second, of all clients together
 * @property {number} serverNanos CPU time of the server for one of them
 * @property {number} appNanos of its application's thread alone
 * @property {number} serverShare CPU time of the server over elapsed time
 * @property {number} appShare of its application's thread alone
 * @property {number} loadShare CPU time of the clients' process over elapsed time
 */

const RUN_LIMIT = 60_000; // milliseconds
const PROGRESS_LIMIT = 1_000;
const CLOCK_ASKS = 20;
const SAME_CLOCK_MICROS = 1_000;

/** Returns the offset of a process's clock to ours, in µs, from the fastest response. @param {Child} child */
async function clockOf(child) {
  let best = { took: Number.POSITIVE_INFINITY, ahead: 0 };
  for (let i = 0; i < CLOCK_ASKS; i++) {
    const from = Number(process.hrtime.bigint()) / 1000;
    const { micros } = await child.ask({ type: "clock" }, "clock", START_LIMIT);
    const to = Number(process.hrtime.bigint()) / 1000;
    if (to - from < best.took) best = { took: to - from, ahead: micros - (from + to) / 2 };
  }
  return Math.abs(best.ahead) < SAME_CLOCK_MICROS ? 0 : best.ahead;
}

export class Pair {
  #server;
  #port;
  #load;
  #clients;
  #ahead;

  /**
   * @param {{ child: Child, port: number }} server
   * @param {Child} load @param {number} clients @param {number} ahead
   */
  constructor({ child, port }, load, clients, ahead) {
    this.name = child.name;
    this.#server = child;
    this.#port = port;
    this.#load = load;
    this.#clients = clients;
    this.#ahead = ahead;
  }

  get pid() {
    return this.#server.pid;
  }

  get port() {
    return this.#port;
  }

  /**
   * Starts a server and connects its clients.
   * @param {import("./servers.mjs").Server} server
   * @param {number} count clients
   * @param {{ stalled?: number, kind?: string, cores?: string }} [options] how many never read; the kind of their
   *   messages: "binary", "deflated" or "text" messages; the server's cores
   * @throws {import("./servers.mjs").Unavailable} when the server cannot run here
   */
  static async open(server, count, { stalled = 0, kind, cores } = {}) {
    const { child, port } = await startServer(server, cores);
    const load = new Child(`clients of ${server.name}`, LOAD_CORE, "load.mjs", []);
    await load.ask({ type: "connect", port, count, stalled, kind }, "connected", START_LIMIT);
    // How far the clients' clock is ahead of the server's.
    const ahead = (await clockOf(load)) - (await clockOf(child));
    return new Pair({ child, port }, load, count - stalled, ahead);
  }

  /** Connects more clients. @param {number} count */
  async connect(count) {
    this.#clients += count;
    await this.#load.ask({ type: "connect", port: this.#port, count }, "connected", START_LIMIT);
  }

  /**
   * CPU time of both processes while something runs.
   * @template {{ messages: number, micros: number }} Result
   * @param {() => Promise<Result>} run
   * @returns {Promise<Round & Result>}
   */
  async #during(run) {
    const before = [this.#server, this.#load].map(({ pid }) => cpuOf(pid));
    const result = await run();
    const after = [this.#server, this.#load].map(({ pid }) => cpuOf(pid));
    const { messages, micros } = result;
    const [server, load] = after.map(({ all }, i) => all - before[i].all);
    const app = after[0].main - before[0].main;
    return {
      ...result,
      rate: (messages / micros) * 1e6,
      serverNanos: (server / messages) * 1e3,
      appNanos: (app / messages) * 1e3,
      serverShare: server / micros,
      appShare: app / micros,
      loadShare: load / micros,
    };
  }

  /**
   * Has messages published to every client.
   * @param {Job} job
   * @throws {Error} when a client got anything but the n messages in their order, or not in time
   */
  async publish(job) {
    const expected = { type: "expect", job, clockMicros: this.#ahead };
    await this.#load.ask(expected, "expecting", START_LIMIT);
    return this.#during(async () => {
      const received = this.#load.next(["received"], RUN_LIMIT).catch((e) => this.#explain(e));
      const staged = this.#server.ask({ type: "publish", job }, "published", RUN_LIMIT);
      const [{ startMicros, figures }, result] = await Promise.all([staged, received]);
      const { messages, lastMicros } = result;
      const due = job.n * this.#clients;
      if (messages !== due) throw new Error(`${this.name}: ${messages} messages of ${due}`);
      // From the command, not from the first byte: a server that keeps a whole turn back before it
      // writes would get that time for free.
      const micros = lastMicros - this.#ahead - startMicros;
      return { ...result, ...figures, micros };
    });
  }

  /**
   * Lets a muted server run a job, to measure the cost of publishing without the sending.
   * @param {Job} job
   */
  pretend(job) {
    return this.#during(async () => {
      const from = Number(process.hrtime.bigint());
      await this.#server.ask({ type: "publish", job }, "published", RUN_LIMIT);
      return {
        messages: job.n * this.#clients,
        micros: (Number(process.hrtime.bigint()) - from) / 1000,
      };
    });
  }

  /** 99th percentile of the event loop's delay in the application's thread since this was asked before, ms. */
  async delays() {
    return (await this.#server.ask({ type: "delays" }, "delays", START_LIMIT)).p99;
  }

  /** Returns the figures that the server measures itself. */
  async measure(job) {
    return (await this.#server.ask({ type: "measure", job }, "measured", RUN_LIMIT)).figures;
  }

  /**
   * Has every client keep `depth` messages on their way to be echoed.
   * @param {{ size: number, depth: number, millis: number }} job
   * @throws {Error} when anything but the messages comes back, each once and in order, or not in time
   */
  echo(job) {
    return this.#during(() => this.#load.ask({ type: "echo", job }, "echoed", RUN_LIMIT));
  }

  /**
   * Warms both processes up.
   * @param {Omit<Job, "n">} job
   * @param {number} millis
   * @returns {Promise<number>} the n, whole turns, with which a burst takes about `millis`
   */
  async fit(job, millis) {
    const { batch } = job;
    let turns = 1;
    for (let elapsed = 0; elapsed < millis / 3; ) {
      const { micros } = await this.publish({ ...job, n: turns * batch });
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

  /** Ends both processes. */
  async close() {
    await this.#load.kill();
    await this.#server.kill();
  }
}
