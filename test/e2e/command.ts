// The command line as a process: its output, its end, and its signals.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { until, within } from "./peer";

const PROGRAM = "dist/cli.js";

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export class Command {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<Ended>;
  out = "";
  err = "";
  code: number | null | undefined;

  /** @param env beside this process's */
  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [PROGRAM, ...args], { env: { ...process.env, ...env } });
    this.#child.stdin.end();
    this.#child.stdout.on("data", (bytes) => {
      this.out += bytes;
    });
    this.#child.stderr.on("data", (bytes) => {
      this.err += bytes;
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", (code) => {
        this.code = code;
        resolve({ code, out: this.out, err: this.err });
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** How it ends by itself. */
  ended(ms = 30000): Promise<Ended> {
    return within(this.#ended, "the end of the command", ms).finally(() => this.kill());
  }

  /** Waits until it has printed something. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    const found = (): RegExpExecArray | null => pattern.exec(this.out) ?? pattern.exec(this.err);
    await until(`${pattern}`, () => found() !== null || this.code !== undefined);
    const match = found();
    if (!match) throw new Error(`it ended with ${this.code}: ${this.out}${this.err}`);
    return match;
  }

  /** Where it is live. */
  async port(): Promise<number> {
    return Number((await this.prints(/live on http\S*:(\d+)\n/))[1]);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Runs a command to its end. */
export function ran(
  args: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<Ended> {
  return new Command(args, env).ended();
}
