// The demo: a server that shows itself. It takes samples ten times a second, broadcasts them, and lets a page add
// clients. `npm start` and `npx ringcast` run it.
//
// Invariant: after it has stopped, or its server has ended, none of its timers, channels and processes remains.

import { randomUUID } from "node:crypto";
import { type Options, type Server, serve } from "../index.js";
import { Crowd, LIMITS } from "./crowd.js";
import { Load } from "./load.js";
import {
  type CrowdSample,
  type EvictedSample,
  type Moment,
  TOPIC,
  type WorkerReport,
  momentOf,
  parseCommand,
} from "./message.js";
import { Sampler } from "./sample.js";

const INTERVAL = 100;
const SHUTDOWN_TIMEOUT = 2000;
/** Bytes of the ring. It is small, so that a client soon lags by a whole ring. */
const RING = 2 * 1024 * 1024;
/** Bytes per second published for the clients that a page adds, until it chooses another load. */
const LOAD = 512e3;
/** Evictions that a page receives. */
const EVICTIONS = 8;
/** One sample of KEEP_EVERY is kept for pages that open later, up to KEPT of them: the last minute. */
const KEEP_EVERY = 5;
const KEPT = 120;

/** A running demo. */
export interface Demo {
  readonly server: Server;
  /** URL of the page. */
  readonly url: string;
  /**
   * Closes the clients, then shuts the server down, and waits for both.
   * @throws Error when the server could not be shut down
   */
  stop(): Promise<void>;
}

function isLoopback(hostname: string): boolean {
  return /^(127(\.\d+){3}|::1|localhost)$/.test(hostname);
}

/** Returns the host of a URL that works on this machine. */
function urlHost(hostname: string): string {
  if (["0.0.0.0", "127.0.0.1", "::", "::1", ""].includes(hostname)) return "localhost";
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

/** The clients that pages add, and the messages published for them. */
class Play {
  readonly #crowd: Crowd;
  readonly #load: Load;
  #wanted = LOAD;

  constructor(server: Server) {
    const { hostname, port = 0 } = server.address;
    this.#crowd = new Crowd(hostname, port);
    this.#load = new Load((data) => server.publish(TOPIC, data));
  }

  /** Carries out a page's command. */
  command(text: string): void {
    const command = parseCommand(text);
    if (command?.[0] === "add") this.#crowd.add(command[1], command[2]);
    else if (command?.[0] === "clear") this.#crowd.clear();
    else if (command?.[0] === "load") this.#wanted = command[1];
  }

  sample(): CrowdSample {
    const { reading, stalled } = this.#crowd.counts;
    this.#load.set(this.#wanted, reading, stalled);
    return { reading, stalled, limits: LIMITS, load: this.#wanted, rate: this.#load.rate };
  }

  close(): Promise<void> {
    this.#load.close();
    return this.#crowd.close();
  }
}

/**
 * Starts the demo. Pages may add clients only if the server listens on this machine alone, without TLS.
 * @param options those of `serve`; the handler is the demo's own, the ring by default 2 MiB
 * @throws as `serve`; after an error nothing remains
 */
export async function startDemo(options: Options = {}): Promise<Demo> {
  const { hostname = "127.0.0.1", path, fd, listen, tls, proxyProtocol } = options;
  const isPlain = [path, fd, listen, tls].every((one) => one === undefined) && !proxyProtocol;
  const mayCommand = isPlain && isLoopback(hostname);
  const name = `ringcast-demo-${randomUUID()}`;
  const handler = new URL("./handler.js", import.meta.url);
  handler.search = String(new URLSearchParams({ channel: name, commands: mayCommand ? "1" : "0" }));

  let evicted = 0;
  let evictions: EvictedSample[] = [];
  const server = await serve({
    ...options,
    ring: options.ring ?? RING,
    handler,
    onEvict(some) {
      const time = Date.now();
      const rows = some.map(({ remoteAddress, cause, lagBytes, age }) => {
        return { number: ++evicted, time, address: remoteAddress, cause, lag: lagBytes, age };
      });
      evictions = [...rows.reverse(), ...evictions].slice(0, EVICTIONS);
      options.onEvict?.(some);
    },
  });

  const play = mayCommand ? new Play(server) : undefined;
  const sampler = new Sampler(() => server.stats());
  const channel = new BroadcastChannel(name);
  let report: WorkerReport | undefined;
  const history: Moment[] = [];
  channel.onmessage = ({ data }: { data: unknown }) => {
    if (typeof data === "string") play?.command(data);
    else if (typeof data === "number") server.send(data, JSON.stringify({ history }));
    else report = data as WorkerReport;
  };
  let taken = 0;
  const timer = setInterval(() => {
    const { delay: worker = null, stalled = null } = report ?? {};
    const crowd = play?.sample() ?? null;
    const sample = { ...sampler.sample(), worker, stalled, evictions, crowd };
    if (taken++ % KEEP_EVERY === 0) history.push(momentOf(sample));
    if (history.length > KEPT) history.shift();
    // false means that there is no room. The sample is dropped, because a newer one follows soon.
    server.broadcast(JSON.stringify(sample));
  }, INTERVAL);

  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    clearInterval(timer);
    sampler.close();
    channel.close();
    closed ??= play?.close() ?? Promise.resolve();
    return closed;
  };
  server.finished.then(close, close);

  const { address } = server;
  return {
    server,
    url: `${tls ? "https" : "http"}://${urlHost(address.hostname)}:${address.port}`,
    async stop() {
      await close();
      await server.shutdown({ timeout: SHUTDOWN_TIMEOUT });
    },
  };
}
