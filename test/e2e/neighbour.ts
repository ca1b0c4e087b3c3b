// Programs of test/example, run as their readers run them.
//
// Invariant: a program has ended when `running` returns, whichever way the test ends.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import path from "node:path";
import { type RawData, WebSocket } from "ws";
import { LIMIT, until, within } from "./peer";

/** Where programs are. */
export const FOLDER = path.resolve("test/example");

/** Ports that are tried; they are below the ones that the kernel assigns. */
const PORTS = { from: 20000, count: 10000 };

/** Returns a port of 127.0.0.1 that is free now, for programs that need to know theirs. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * PORTS.count);
    const server = createServer();
    const found = await new Promise<number>((resolve) => {
      server.once("error", () => resolve(0));
      server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
    if (found === 0) continue;
    server.close();
    await once(server, "close");
    return found;
  }
}

/** Changes a text, which must hold what is changed. */
export type Edit = readonly [what: string, by: string];

/** Returns a text with changes. @throws Error for a part that it does not have */
export function edited(text: string, edits: readonly Edit[]): string {
  return edits.reduce((before, [what, by]) => {
    if (!before.includes(what)) throw new Error(`not in the configuration: ${what}`);
    return before.replaceAll(what, by);
  }, text);
}

interface Program {
  readonly child: ChildProcess;
  /** Its output so far. */
  readonly output: string;
  /** Asks it to end in order. @returns its code, or the signal that ended it */
  end(): Promise<number | string>;
}

/** Runs a program until a test is done with it. @param said what it prints when it is ready */
export async function running(
  [file = "", ...args]: readonly string[],
  env: Readonly<Record<string, string | number>>,
  said: RegExp,
  body: (program: Program) => Promise<void>,
): Promise<void> {
  const all = {
    ...process.env,
    ...Object.fromEntries(Object.entries(env).map(([k, v]) => [k, `${v}`])),
  };
  const child = spawn(file, args, { cwd: FOLDER, env: all, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let failure: Error | undefined;
  const closed = new Promise<number | string>((resolve) => {
    child.once("error", (error) => {
      failure = error;
      resolve(-1);
    });
    child.once("close", (code, signal) => resolve(signal ?? code ?? -1));
  });
  const take = (bytes: Buffer): void => {
    output += bytes;
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const program: Program = {
    child,
    get output() {
      return output;
    },
    end() {
      child.kill("SIGTERM");
      return within(closed, `the end of ${file}`);
    },
  };
  try {
    await until(`${[file, ...args].join(" ")}: ${said}`, () => {
      if (failure) throw failure;
      if (child.exitCode !== null) throw new Error(`${file} ended: ${output}`);
      return said.test(output);
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${output}`);
    });
    await body(program);
  } finally {
    child.kill("SIGKILL");
    await within(closed, `the end of ${file}`);
  }
}

/** Runs a program of the folder by this Node. */
export function runningNode(
  name: string,
  env: Readonly<Record<string, string | number>>,
  body: (program: Program) => Promise<void>,
): Promise<void> {
  return running([process.execPath, name], env, /^(http|ws):\/\//m, body);
}

/** Options of a client, and the subprotocols that it offers. */
type GuestOptions = ConstructorParameters<typeof WebSocket>[2] & {
  readonly protocols?: readonly string[];
};

/** A client that keeps what it gets. */
export class Guest {
  readonly socket: WebSocket;
  readonly messages: string[] = [];
  /** How it ended. */
  closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(url: string, { protocols = [], ...options }: GuestOptions = {}) {
    this.socket = new WebSocket(url, [...protocols], options);
    this.socket.on("message", (data: RawData, isBinary: boolean) => {
      this.messages.push(isBinary ? `${(data as Buffer).length} bytes` : String(data));
    });
    this.socket.on("error", () => undefined);
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
  }

  /** Opens one. @throws Error with the status when it is refused, or with what went wrong */
  static async open(url: string, options: GuestOptions = {}): Promise<Guest> {
    const guest = new Guest(url, options);
    const opened = new Promise<void>((resolve, reject) => {
      guest.socket.once("open", resolve);
      guest.socket.once("error", reject);
    });
    await within(opened, `WebSocket of ${url}`);
    return guest;
  }

  /** Waits until that many messages have come. */
  async heard(count: number): Promise<string[]> {
    await until(`${count} messages`, () => this.messages.length >= count);
    return this.messages;
  }

  /** Waits until it is closed. */
  async ended(): Promise<{ readonly code: number; readonly reason: string }> {
    await until("its end", () => this.closed !== undefined, LIMIT);
    return this.closed as { code: number; reason: string };
  }

  leave(): void {
    this.socket.terminate();
  }
}

/** Returns the outcome of an attempt to open a WebSocket: 101, or the status of the refusal, or the error's code. */
export async function statusOf(url: string, options: GuestOptions = {}): Promise<number | string> {
  try {
    (await Guest.open(url, options)).leave();
    return 101;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return Number(/response: (\d+)/.exec(message)?.[1]) || (code ?? message);
  }
}
