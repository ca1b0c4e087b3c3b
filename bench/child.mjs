// The bench's side of its processes: each is pinned to a core, answers within a time limit, and is
// killed by its handle when the bench ends, whichever way it ends.

import { fork, spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** False where there is no taskset: then the processes run where the system puts them. */
export const PINS = spawnSync("taskset", ["-V"]).status === 0;

/** @type {Set<import("node:child_process").ChildProcess>} */
const running = new Set();

/** Ends whatever runs. */
export function endAll() {
  for (const child of running) child.kill("SIGKILL");
}
process.on("exit", endAll);
for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15],
  ["SIGHUP", 1],
]) {
  process.on(signal, () => process.exit(128 + number));
}

/**
 * Starts a program on some cores. taskset executes it in its own place, so the handle is the program's.
 * @param {string} cores such as "0" or "0-1"
 * @param {string[]} command the program and its arguments
 */
export function start(cores, command) {
  const [program, ...args] = PINS ? ["taskset", "-c", cores, ...command] : command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", 2] });
  running.add(child);
  child.on("close", () => running.delete(child));
  return child;
}

export class Child {
  #process;
  /** @type {Map<string, { resolve: (message: object) => void, reject: (e: Error) => void }>} */
  #waiting = new Map();
  /** @type {Error | undefined} */
  #failure;
  #exited;

  /**
   * @param {string} name for messages
   * @param {string} cores such as "0" or "0-1"
   * @param {string} file beside this one
   * @param {string[]} args
   * @param {string[]} runtime what runs the file, such as ["deno", "run"]
   */
  constructor(name, cores, file, args, runtime = [process.execPath]) {
    this.name = name;
    const script = fileURLToPath(new URL(file, import.meta.url));
    const [execPath, ...execArgv] = PINS ? ["taskset", "-c", cores, ...runtime] : runtime;
    // The output of a server is no part of the table, so it is written to our standard error.
    const child = fork(script, args, { execPath, execArgv, stdio: ["ignore", 2, 2, "ipc"] });
    this.#process = child;
    running.add(child);
    child.on("error", (error) => this.#fail(error.message));
    this.#exited = new Promise((resolve) => child.on("exit", resolve));
    child.on("exit", (code, signal) => {
      running.delete(child);
      this.#fail(`exited: ${signal ?? code}`);
    });
    child.on("message", (message) => {
      if (message.type === "failed") return this.#fail(message.reason);
      this.#waiting.get(message.type)?.resolve(message);
      this.#waiting.delete(message.type);
    });
  }

  get pid() {
    return this.#process.pid;
  }

  #fail(reason) {
    this.#failure ??= new Error(`${this.name}: ${reason}`);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }

  /**
   * The next message of one of the types.
   * @param {string[]} types
   * @param {number} limit milliseconds
   * @returns {Promise<any>}
   */
  async next(types, limit) {
    if (this.#failure) throw this.#failure;
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        for (const type of types) this.#waiting.set(type, { resolve, reject });
        const late = () =>
          reject(new Error(`${this.name}: no ${types.join(" or ")} in ${limit} ms`));
        timer = setTimeout(late, limit);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a message and waits for the answer of type `type`. */
  ask(message, type, limit) {
    const answer = this.next([type], limit);
    if (this.#process.connected) this.#process.send(message);
    return answer;
  }

  /** Ends it; resolves when it has ended. */
  async kill() {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }
}
