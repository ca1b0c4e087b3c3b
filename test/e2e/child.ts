// Processes beside the test's: clients or an application it talks to by messages; they end with it.

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fileUrl, within } from "./peer";

export class Child {
  readonly #process: ChildProcess;
  readonly #messages: unknown[] = [];
  #changed: () => void = () => undefined;
  #exited: string | undefined;

  constructor(name: string) {
    this.#process = fork(fileURLToPath(fileUrl(`children/${name}.mjs`)));
    this.#process.on("message", (message) => {
      this.#messages.push(message);
      this.#changed();
    });
    this.#process.on("exit", (code, signal) => {
      this.#exited = `${name} exited: ${signal ?? code}`;
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

  end(): void {
    this.#process.kill("SIGKILL");
  }
}

/** How far a client of children/readers.mjs has come. */
export interface Reader {
  readonly count: number;
  /** What it got that was not due. */
  readonly wrong: string;
  /** How its connection ended; "" while it is open. */
  readonly ended: string;
}
