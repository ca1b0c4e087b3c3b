// The demo: a server that shows itself. It measures ten times a second and broadcasts what it measured.

import { type Options, type Server, serve } from "../index.js";
import { Sampler } from "./sample.js";

const INTERVAL = 100;
const SHUTDOWN_TIMEOUT = 2000;

/** A demo that runs. */
export interface Demo {
  readonly server: Server;
  /** Where the page is. */
  readonly url: string;
  /** Ends it. @throws Error when the server could not be shut down */
  stop(): Promise<void>;
}

/** The host part of a URL that works on this machine. */
function urlHost(hostname: string): string {
  if (["0.0.0.0", "127.0.0.1", "::", "::1", ""].includes(hostname)) return "localhost";
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

/** Starts the demo. @param options those of `serve`; the handler is the demo's own @throws what `serve` throws */
export async function startDemo(options: Options = {}): Promise<Demo> {
  const server = await serve({ ...options, handler: new URL("./handler.js", import.meta.url) });
  const sampler = new Sampler(() => server.stats());
  const timer = setInterval(() => {
    // False means there is no room. A newer sample is due in a moment, so this one is let go.
    server.broadcast(JSON.stringify(sampler.sample()));
  }, INTERVAL);
  const close = (): void => {
    clearInterval(timer);
    sampler.close();
  };
  server.finished.then(close, close);
  const { address } = server;
  return {
    server,
    url: `${options.tls ? "https" : "http"}://${urlHost(address.hostname)}:${address.port}`,
    async stop() {
      close();
      await server.shutdown({ timeout: SHUTDOWN_TIMEOUT });
    },
  };
}
