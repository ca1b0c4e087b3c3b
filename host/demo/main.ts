// The demo's application, what `npm start` runs: it starts the server, measures ten times a second
// and broadcasts what it measured. Environment: PORT (default 8080; 0 picks a free one) and HOST
// (the address to listen on; the default is the server's).

import { serve } from "../index.js";
import { Sampler } from "./sample.js";

const INTERVAL = 100;
const SHUTDOWN_TIMEOUT = 2000;

function fail(message: string, code: number): never {
  console.error(`ringcast: ${message}`);
  process.exit(code);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether it is this system error; crossing threads may have left the code only in its text. */
function isSystemError(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return ("code" in error && error.code === code) || error.message.includes(code);
}

function portOf(text: string | undefined): number {
  // An empty variable is how some shells and container files say "not set".
  if (text === undefined || text === "") return 8080;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) {
    fail(`PORT must be an integer from 0 to 65535, not ${JSON.stringify(text)}`, 2);
  }
  return port;
}

/** The host part of a URL that works on this machine. */
function urlHost(hostname: string): string {
  if (["0.0.0.0", "127.0.0.1", "::", "::1", ""].includes(hostname)) return "localhost";
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

const { PORT, HOST: hostname } = process.env;
const port = portOf(PORT);

const server = await serve({
  port,
  ...(hostname ? { hostname } : {}),
  handler: new URL("./handler.js", import.meta.url),
}).catch((error: unknown) => {
  if (isSystemError(error, "EADDRINUSE")) {
    fail(`port ${port} is in use; choose another one with PORT=…`, 1);
  }
  if (isSystemError(error, "EACCES")) {
    fail(`port ${port} needs more rights; choose another one with PORT=…`, 1);
  }
  fail(messageOf(error), 1);
});

const sampler = new Sampler(() => server.stats());
const timer = setInterval(() => {
  // False means there is no room. A newer sample is due in a moment, so this one is let go.
  server.broadcast(JSON.stringify(sampler.sample()));
}, INTERVAL);

function stopSampling(): void {
  clearInterval(timer);
  sampler.close();
}

let stopping = false;

async function stop(): Promise<void> {
  // The second signal: the user does not want to wait.
  if (stopping) process.exit(130);
  stopping = true;
  stopSampling();
  try {
    await server.shutdown({ timeout: SHUTDOWN_TIMEOUT });
  } catch (error) {
    fail(messageOf(error), 1);
  }
  process.exit(0);
}

process.on("SIGINT", stop);
process.on("SIGTERM", stop);

server.finished.catch((error: unknown) => {
  stopSampling();
  fail(`the server ended: ${messageOf(error)}`, 1);
});

const { address } = server;
console.log(`Ringcast is live on http://${urlHost(address.hostname)}:${address.port}`);
