// What `npm start` runs: the demo, until it is told to end. Environment: PORT (default 8080; 0 picks a free one) and
// HOST (the address to listen on; the default is the server's).

import { startDemo } from "./demo.js";

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

const { PORT, HOST: hostname } = process.env;
const port = portOf(PORT);

const demo = await startDemo({ port, ...(hostname ? { hostname } : {}) }).catch(
  (error: unknown) => {
    if (isSystemError(error, "EADDRINUSE")) {
      fail(`port ${port} is in use; choose another one with PORT=…`, 1);
    }
    if (isSystemError(error, "EACCES")) {
      fail(`port ${port} needs more rights; choose another one with PORT=…`, 1);
    }
    fail(messageOf(error), 1);
  },
);

let stopping = false;

async function stop(): Promise<void> {
  // The second signal: the user does not want to wait.
  if (stopping) process.exit(130);
  stopping = true;
  try {
    await demo.stop();
  } catch (error) {
    fail(messageOf(error), 1);
  }
  process.exit(0);
}

process.on("SIGINT", stop);
process.on("SIGTERM", stop);

demo.server.finished.catch((error: unknown) => fail(`the server ended: ${messageOf(error)}`, 1));

console.log(`Ringcast is live on ${demo.url}`);
