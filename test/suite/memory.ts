// The suite's platform in memory: `ringcast/testing`, its clients read when they are asked for bytes.
//
// The handler of the suite waits by the runtime's timers: while it does, no more virtual time passes than real time.

import type { Eviction, HandlerModule } from "ringcast";
import { type Codec, type TestServer, type TestSocket, createTestServer } from "ringcast/testing";
import type { Platform, RawClient, Running } from "./platform";
import { sleep } from "../lib/wait";

/** Longest that a wait takes, in real ms. */
const REAL = 5;

class MemoryClient implements RawClient {
  readonly #t: TestServer;
  readonly #socket: TestSocket;
  ended: "" | "fin" | "reset" = "";

  constructor(t: TestServer, socket: TestSocket) {
    this.#t = t;
    this.#socket = socket.pause();
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  async read(): Promise<Uint8Array | undefined> {
    const socket = this.#socket;
    for (;;) {
      await this.#t.settle();
      const bytes = socket.read().take();
      if (bytes.length > 0) return bytes;
      if (socket.state === "open") await sleep(1);
      else {
        this.ended = socket.state === "reset" ? "reset" : "fin";
        return undefined;
      }
    }
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.reset();
  }
}

/**
 * Returns the platform whose sockets are in memory.
 * @param name the runtime's
 * @param handler of the suite, as its module exports it
 * @param codec raw deflate, where the runtime has one
 */
export function memoryPlatform(name: string, handler: HandlerModule, codec?: Codec): Platform {
  return {
    name,
    places: ["module"],
    deflate: codec !== undefined,
    virtual: true,
    async start(_, { virtualHosts, protocolHandlers, mounts, ...options }): Promise<Running> {
      const evictions: Eviction[] = [];
      const errors: { where: string; message: string }[] = [];
      const t = createTestServer({
        ...options,
        ...(codec ? { codec } : {}),
        handler,
        onEvict: (some) => void evictions.push(...some),
        onError: (error, where) => void errors.push({ where, message: error.message }),
      });
      await t.ready;
      return {
        server: t.server,
        evictions,
        errors,
        async connect() {
          const socket = t.socket({ allowHalfOpen: true });
          if (socket.state === "refused") throw new Error("nobody listens");
          return new MemoryClient(t, socket);
        },
        async wait(ms) {
          await Promise.all([t.clock.advance(ms), sleep(Math.min(ms, REAL))]);
        },
        stop: () => t.close(),
      };
    },
  };
}
