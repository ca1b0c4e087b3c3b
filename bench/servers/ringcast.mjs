// Ringcast. `ringcast.mjs worker`: bursts run in the handler, beside the engine. `ringcast.mjs
// app`: they run on the application's thread, which shares the core with the worker.

import { existsSync } from "node:fs";
import { burst } from "./burst.mjs";
import { control, Unavailable } from "./control.mjs";

const ENTRY = new URL("../../dist/index.js", import.meta.url);
const RING_BYTES = 64 << 20;

await control(async () => {
  if (!existsSync(ENTRY)) throw new Unavailable("dist/index.js is missing (run npm run build)");
  const { serve } = await import(ENTRY.href);
  const server = await serve({
    port: 0,
    hostname: "127.0.0.1",
    handler: new URL("./ringcast-handler.mjs", import.meta.url),
    ring: RING_BYTES,
  });
  const { port } = server.address;

  const inWorker = async ({ n, size, batch }) => {
    const url = `http://127.0.0.1:${port}/burst?n=${n}&size=${size}&batch=${batch}`;
    const answer = await fetch(url);
    const text = await answer.text();
    const waits = /^done (\d+)$/.exec(text)?.[1];
    if (waits === undefined) throw new Error(`GET ${url}: ${answer.status} ${text}`);
    return Number(waits);
  };
  // No `behind`: the application sees only whether there is room.
  const stage = (message) => server.broadcast(message);
  const inApplication = (job) => burst(job, { stage, ready: () => server.ready() });

  return { port, burst: process.argv[2] === "app" ? inApplication : inWorker };
});
