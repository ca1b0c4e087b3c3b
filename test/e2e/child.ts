// Processes beside the test's: clients or an application it talks to by messages; they end with it.

import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fileUrl, within } from "./peer";

interface ChildOptions {
  /** Its arguments. */
  readonly args?: readonly string[];
  /** Its limit of descriptors; default: that of this process. */
  readonly descriptors?: number;
  /** Descriptors that it gets as 4 and above. */
  readonly fds?: readonly number[];
  /** It may neither bind to privileged ports nor write where it is not allowed to, even as root. */
  readonly unprivileged?: true;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #messages: unknown[] = [];
  #changed: () => void = () => undefined;
  #exited: string | undefined;
  /** Its output of errors. */
  errors = "";
  /** How it ended: its code, or the signal that ended it. */
  readonly ended: Promise<number | string>;

  constructor(name: string, { args = [], descriptors, fds = [], unprivileged }: ChildOptions = {}) {
    // As another user it could not read a checkout in root's home.
    const drop = ["setpriv", "--bounding-set=-all,+dac_read_search"];
    const command = [
      ...(unprivileged && process.getuid?.() === 0 ? drop : []),
      ...[process.execPath, fileURLToPath(fileUrl(`children/${name}.mjs`)), ...args],
    ];
    const limited = ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...command];
    const [file = "", ...rest] = descriptors === undefined ? command : limited;
    const stdio: StdioOptions = ["ignore", "inherit", "pipe", "ipc", ...fds];
    this.#process = spawn(file, rest, { stdio });
    this.#process.stderr?.on("data", (bytes) => {
      this.errors += bytes;
    });
    this.ended = new Promise((resolve) => {
      this.#process.on("close", (code, signal) => resolve(signal ?? code ?? -1));
    });
    this.#process.on("message", (message) => {
      this.#messages.push(message);
      this.#changed();
    });
    this.#process.on("exit", (code, signal) => {
      this.#exited = `${name} exited: ${signal ?? code} ${this.errors}`;
      this.#changed();
    });
  }

  tell(message: object | string): void {
    this.#process.send(message);
  }

  /** The next message. */
  next<T>(ms: number): Promise<T> {
    const wait = async (): Promise<T> => {
      while (this.#messages.length === 0) {
        if (this.#exited) throw new Error(this.#exited);
        await new Promise<void>((resolve) => {
          this.#changed = resolve;
        });
      }
      return this.#messages.shift() as T;
    };
    return within(wait(), "message of the child", ms);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** True when a message is here. */
  get hasMessage(): boolean {
    return this.#messages.length > 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  end(): void {
    this.#process.kill("SIGKILL");
  }
}

/** How far a client of children/readers.mjs has come. */
export interface Reader {
  readonly count: number;
  /** Unexpected messages that it received. */
  readonly wrong: string;
  /** How its connection ended; "" while it is open. */
  readonly ended: string;
}
