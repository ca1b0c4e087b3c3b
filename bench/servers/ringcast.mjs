// Ringcast. `ringcast.mjs worker`: bursts run in the handler, beside the engine. `ringcast.mjs
// app`: they run on the application's thread, which shares the core with the worker. `topics` and
// `app-topics` publish to topics instead of broadcasting.

import { existsSync } from "node:fs";
import { burst } from "./burst.mjs";
import { setClients, toGroups } from "./groups.mjs";
import { control, Unavailable } from "./control.mjs";

const ENTRY = new URL("../../dist/index.js", import.meta.url);
const mode = process.argv[2] ?? "worker";
const grouped = mode.endsWith("topics");
const clients = process.argv[3] ?? "0";
if (grouped) setClients(Number(clients));
const RING_BYTES = 64 << 20;

await control(async () => {
  if (!existsSync(ENTRY)) throw new Unavailable("dist/index.js is missing (run npm run build)");
  const { serve } = await import(ENTRY.href);
  const server = await serve({
    port: 0,
    hostname: "127.0.0.1",
    handler: new URL(`./ringcast-handler.mjs?clients=${grouped ? clients : 0}`, import.meta.url),
    ring: RING_BYTES,
  });
  const { port } = server.address;

  const inWorker = async ({ n, size, batch }) => {
    const url = `http://127.0.0.1:${port}/burst?n=${n}&size=${size}&batch=${batch}&topics=${grouped ? 1 : 0}`;
    const answer = await fetch(url);
    const text = await answer.text();
    const waits = /^done (\d+)$/.exec(text)?.[1];
    if (waits === undefined) throw new Error(`GET ${url}: ${answer.status} ${text}`);
    return Number(waits);
  };
  // No `behind`: the application sees only whether there is room.
  const stage = grouped
    ? (message) => toGroups(message, (topic, data) => server.publish(topic, data))
    : (message) => server.broadcast(message);
  const inApplication = (job) => burst(job, { stage, ready: () => server.ready() });

  return { port, burst: mode.startsWith("app") ? inApplication : inWorker };
});
