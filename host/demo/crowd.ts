// The clients that a page may add: real ones, in another process, which is started for the first of them.
//
// Invariant: there are at most as many as LIMITS says, and none after this process has ended, however it ended, because
// the clients' process ends with its input.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Kind } from "./message.js";

/** Number of clients at most. Further ones are not added. */
export const LIMITS: Readonly<Record<Kind, number>> = { reading: 500, stalled: 20 };
/** Time in ms for the process to end by itself. Then it is killed. */
const END_TIMEOUT = 1000;

export class Crowd {
  readonly #host: string;
  readonly #port: number;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> | undefined;
  /** Open clients, as the process last reported. */
  #counts: Record<Kind, number> = { reading: 0, stalled: 0 };

  /** @param host @param port the server's address */
  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  /** Numbers of open clients. */
  get counts(): Readonly<Record<Kind, number>> {
    return this.#counts;
  }

  /** Adds clients, up to the limits. */
  add(kind: Kind, count: number): void {
    this.#tell([kind, Math.min(count, LIMITS[kind])]);
  }

  /** Closes all clients. */
  clear(): void {
    if (this.#child) this.#tell(["clear"]);
  }

  /** Ends the process. */
  async close(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    child.stdin?.end();
    const timer = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT);
    await this.#ended;
    clearTimeout(timer);
  }

  #tell(command: readonly unknown[]): void {
    this.#child ??= this.#start();
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  #start(): ChildProcess {
    const program = new URL("./clients.js", import.meta.url);
    const limits = [LIMITS.reading, LIMITS.stalled];
    const child = spawn(
      process.execPath,
      [fileURLToPath(program), this.#host, this.#port, ...limits].map(String),
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    // The process may end before it has read a command.
    child.stdin.on("error", () => undefined);
    createInterface(child.stdout).on("line", (line) => {
      const [reading, stalled] = JSON.parse(line) as [number, number];
      this.#counts = { reading, stalled };
    });
    child.once("error", (error) => console.error(`ringcast: no clients: ${error.message}`));
    this.#ended = once(child, "close").then(
      () => this.#forget(),
      () => this.#forget(),
    );
    return child;
  }

  #forget(): void {
    this.#child = undefined;
    this.#counts = { reading: 0, stalled: 0 };
  }
}
