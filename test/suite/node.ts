// The suite's platform where node:net is: Node, Deno and Bun. The server is the package as its user has it.

import * as net from "node:net";
import { type Eviction, type HandlerModule, serve } from "ringcast";
import type { Platform, RawClient, Running } from "./platform";
import { portOf } from "../lib/port";

/** A socket that is read when it is asked for bytes, and else left alone. */
class SocketClient implements RawClient {
  readonly #socket: net.Socket;
  #bytes: Uint8Array[] = [];
  #waiting: ((bytes: Uint8Array | undefined) => void) | undefined;
  ended: "" | "fin" | "reset" = "";
  #over = false;
  #error: Error | undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.pause();
    socket.on("data", (bytes: Uint8Array) => {
      this.#bytes.push(new Uint8Array(bytes));
      if (this.#waiting) this.#settle();
      else socket.pause();
    });
    socket.on("end", () => this.#finish());
    socket.on("error", (error) => {
      this.#error = error;
      this.#finish();
    });
    socket.on("close", () => this.#finish());
  }

  #finish(): void {
    this.#over = true;
    if (this.#waiting) this.#settle();
  }

  #settle(): void {
    const resolve = this.#waiting;
    this.#waiting = undefined;
    const bytes = this.#bytes.shift();
    if (!bytes) this.ended = this.#error ? "reset" : "fin";
    if (this.#bytes.length === 0) this.#socket.pause();
    resolve?.(bytes);
  }

  read(): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      if (this.#bytes.length > 0 || this.#over) this.#settle();
      else this.#socket.resume();
    });
  }

  send(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    if (this.#socket.destroyed) return;
    this.#socket.resetAndDestroy();
  }
}

function connect(port: number): Promise<RawClient> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new SocketClient(socket));
    });
  });
}

/**
 * Returns the platform whose sockets are the system's.
 * @param name the runtime's
 * @param module URL of the built test/suite/suite-handler.ts
 * @param closures its export for this thread
 */
export function socketPlatform(name: string, module: URL, closures: HandlerModule): Platform {
  return {
    name,
    places: ["module", "closures"],
    deflate: true,
    virtual: false,
    async start(place, options): Promise<Running> {
      const evictions: Eviction[] = [];
      const errors: { where: string; message: string }[] = [];
      const server = await serve({
        port: 0,
        ...options,
        handler: place === "module" ? module : closures,
        onEvict: (some) => evictions.push(...some),
        onError: (error, where) => errors.push({ where, message: error.message }),
      });
      return {
        server,
        evictions,
        errors,
        connect: () => connect(portOf(server)),
        wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        stop: () => server.close(),
      };
    },
  };
}
