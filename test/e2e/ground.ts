// A server and its clients wherever the handler runs: in memory, in the worker, on the application's thread, in a pool
// of one thread. For tests that expect the same octets of all four.
//
// Invariant: an answer is parsed strictly, and a client's bytes are never taken for an answer twice.

import { type Options, type Server, serve } from "ringcast";
import { type TestServer, type TestSocket, createTestServer } from "ringcast/testing";
import { zlibCodec } from "ringcast/zlib";
import { suite } from "uvu";
import { LIMIT, Wire, fileUrl, handlerOf, sleep, until, within } from "./peer";
import { portOf } from "../lib/port";
import { type ServerResponse, serverResponse } from "../lib/response";

export { fieldOf } from "../lib/response";

export type TestAnswer = ServerResponse;

export const GROUNDS = ["memory", "worker", "application", "pool"] as const;
export type GroundName = (typeof GROUNDS)[number];

/** A client of bytes. */
export interface GroundClient {
  write(data: string | Uint8Array): this;
  /** Everything that has arrived. */
  readonly received: Uint8Array;
  /** True once the server has ended its side, or the connection. */
  readonly isOver: boolean;
  /** Stops reading, and reads again. */
  pause(): void;
  resume(): void;
  /** Ends its side. */
  end(): void;
  reset(): void;
}

class MemoryClient implements GroundClient {
  readonly #socket: TestSocket;

  constructor(socket: TestSocket) {
    this.#socket = socket;
  }

  write(data: string | Uint8Array): this {
    this.#socket.write(data);
    return this;
  }

  get received(): Uint8Array {
    return this.#socket.received;
  }

  get isOver(): boolean {
    return this.#socket.state !== "open";
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.reset();
  }
}

class WireClient implements GroundClient {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  write(data: string | Uint8Array): this {
    this.#wire.write(data);
    return this;
  }

  get received(): Uint8Array {
    return this.#wire.peek();
  }

  get isOver(): boolean {
    return this.#wire.isOver;
  }

  pause(): void {
    this.#wire.socket.pause();
  }

  resume(): void {
    this.#wire.socket.resume();
  }

  end(): void {
    this.#wire.socket.end();
  }

  reset(): void {
    this.#wire.reset();
  }
}

/** A server in one of the places. */
export class Ground {
  readonly name: GroundName;
  readonly server: Server;
  /** Errors that it reported. */
  readonly errors: { readonly where: string; readonly message: string }[];
  readonly #memory: TestServer | undefined;
  readonly #clients: GroundClient[] = [];

  private constructor(
    name: GroundName,
    server: Server,
    errors: Ground["errors"],
    memory?: TestServer,
  ) {
    this.name = name;
    this.server = server;
    this.errors = errors;
    this.#memory = memory;
  }

  /** @param handler name of a module of test/e2e/handlers */
  static async open(name: GroundName, handler: string, options: Options = {}): Promise<Ground> {
    const errors: { where: string; message: string }[] = [];
    const onError = (error: Error, where: string): void => {
      errors.push({ where, message: error.message });
    };
    if (name === "memory") {
      const module = (await handlerOf(handler, "application")) as never;
      const own = { handler: module, onError, codec: zlibCodec };
      const memory = createTestServer({ ...own, ...(options as object) });
      await memory.ready;
      return new Ground(name, memory.server, errors, memory);
    }
    const own = name === "application" ? await handlerOf(handler, name) : handlerUrl(handler);
    const pool = name === "pool" ? { pool: { threads: 1, backlog: 256 } } : {};
    const started = serve({ port: 0, handler: own, onError, ...pool, ...options });
    return new Ground(name, await within(started, "serve"), errors);
  }

  async client(): Promise<GroundClient> {
    const client = this.#memory
      ? new MemoryClient(this.#memory.socket({ allowHalfOpen: true }))
      : new WireClient(await Wire.open(portOf(this.server)));
    this.#clients.push(client);
    return client;
  }

  /** Waits until a condition holds. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const settled = async (): Promise<boolean> => {
      await this.#memory?.settle();
      return holds();
    };
    await until(`${this.name}: ${what}`, settled, LIMIT, () => sleep(1));
  }

  /**
   * Waits for `count` answers among all that a client got.
   * @param methods of the requests, in their order
   */
  async answers(
    client: GroundClient,
    count: number,
    methods: readonly string[] = [],
  ): Promise<TestAnswer[]> {
    const answers: TestAnswer[] = [];
    let at = 0;
    await this.until(`${count} answers`, () => {
      const { received, isOver } = client;
      // Frames follow a 101.
      while (at < received.length && answers.at(-1)?.status !== 101) {
        const method = methods[answers.length];
        const ended = isOver && answers.length < count;
        const found = serverResponse(received, at, { method, ended });
        if (typeof found === "number") break;
        answers.push(found);
        at += found.size;
      }
      if (isOver && answers.length < count)
        throw new Error(`${this.name}: ended after ${answers.length} of ${count} answers`);
      return answers.length >= count;
    });
    return answers;
  }

  /** Sends requests on a connection of their own, and takes as many answers. */
  async ask(
    requests: string | Uint8Array,
    methods: readonly string[] = ["GET"],
  ): Promise<TestAnswer[]> {
    const client = await this.client();
    const answers = await this.answers(client.write(requests), methods.length, methods);
    client.reset();
    return answers;
  }

  async over(client: GroundClient): Promise<void> {
    await this.until("the end", () => client.isOver);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.reset();
    if (this.#memory) await this.#memory.close();
    else await within(this.server.close(), "close");
  }
}

function handlerUrl(name: string): URL {
  return fileUrl(`handlers/${name}.mjs`);
}

/** Returns the text of a response's body. */
export function textOf({ body }: TestAnswer): string {
  return Buffer.from(body).toString();
}

/** Registers a test once for each place. */
export type GroundTest = (
  title: string,
  body: (ground: Ground) => Promise<void>,
  options?: Options,
) => void;

/**
 * Suites for all places, which run as soon as `tests` has registered its own.
 * @param handler name of a module of test/e2e/handlers
 */
export function groundSuites(
  title: string,
  handler: string,
  tests: (test: GroundTest, name: GroundName) => void,
): void {
  for (const name of GROUNDS) {
    const one = suite(`${title}: ${name}`);
    tests((what, body, options) => {
      one(what, async () => {
        const ground = await Ground.open(name, handler, options);
        try {
          await body(ground);
        } finally {
          await ground.close();
        }
      });
    }, name);
    one.run();
  }
}
