// The suite's platform in a page: `ringcast/browser`, with clients of bytes on its channels.

import { type BrowserServer, type Eviction, type HandlerModule, serve } from "ringcast/browser";
import type { Platform, RawClient, Running } from "../suite/platform";

/** A client that takes bytes in when it is asked for them. */
class ChannelClient implements RawClient {
  readonly #line: ReturnType<BrowserServer["connect"]>;
  readonly #bytes: Uint8Array[] = [];
  #waiting: ((bytes: Uint8Array | undefined) => void) | undefined;
  #over: "" | "fin" | "reset" = "";
  ended: "" | "fin" | "reset" = "";

  constructor(server: BrowserServer) {
    this.#line = server.connect({
      read: (bytes) => {
        this.#bytes.push(bytes);
        this.#settle();
      },
      sent: () => undefined,
      over: (end) => this.#end(end),
    });
  }

  #settle(): void {
    const resolve = this.#waiting;
    const bytes = this.#bytes[0];
    if (!resolve || (!bytes && !this.#over)) return;
    this.#waiting = undefined;
    this.#bytes.shift();
    if (bytes) this.#line.take(bytes.length);
    else this.ended = this.#over;
    resolve(bytes);
  }

  #end(end: "ended" | "reset"): void {
    if (end === "reset") this.#bytes.length = 0;
    this.#over = end === "reset" ? "reset" : "fin";
    this.#settle();
  }

  read(): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#settle();
    });
  }

  send(bytes: Uint8Array): void {
    this.#line.write(new Uint8Array(bytes));
  }

  end(): void {
    this.#line.end();
  }

  reset(): void {
    this.#line.reset();
  }
}

/**
 * Returns the platform of a page.
 * @param module URL of the built test/suite/suite-handler.ts
 * @param closures its export for the page
 */
export function pagePlatform(module: URL, closures: HandlerModule): Platform {
  return {
    name: "page",
    places: ["module", "closures"],
    deflate: false,
    virtual: false,
    async start(place, options): Promise<Running> {
      const evictions: Eviction[] = [];
      const errors: { where: string; message: string }[] = [];
      const server = await serve({
        ...options,
        handler: place === "module" ? module : closures,
        onEvict: (some) => evictions.push(...some),
        onError: (error, where) => errors.push({ where, message: error.message }),
      });
      return {
        server,
        evictions,
        errors,
        connect: async () => new ChannelClient(server),
        wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        stop: () => server.close(),
      };
    },
  };
}
