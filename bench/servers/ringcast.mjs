// Ringcast: messages are published by its handler, beside the engine, or with `application` by the
// application's thread, which shares the core with the worker. With `grouped` clients they go to topics.

import { existsSync } from "node:fs";
import { control, Unavailable } from "./control.mjs";
import { setClients, toGroups } from "./groups.mjs";
import { publish } from "./publish.mjs";

const ENTRY = new URL("../../dist/index.js", import.meta.url);
const RING_BYTES = 64 << 20;

await control(async ({ application = false, grouped = 0, ...options }) => {
  if (!existsSync(ENTRY)) throw new Unavailable("dist/index.js is missing (run npm run build)");
  const { serve } = await import(ENTRY.href);
  if (grouped > 0) setClients(grouped);
  const server = await serve({
    port: 0,
    hostname: "127.0.0.1",
    handler: new URL(`./ringcast-handler.mjs?grouped=${grouped}`, import.meta.url),
    ring: RING_BYTES,
    ...options,
  });
  const { port } = server.address;

  const inHandler = async (job) => {
    const url = `http://127.0.0.1:${port}/publish`;
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(job) });
    const text = await answer.text();
    const waits = /^done (\d+)$/.exec(text)?.[1];
    if (waits === undefined) throw new Error(`${url}: ${answer.status} ${text}`);
    return Number(waits);
  };
  // No `behind`: the application sees only whether there is room.
  const stage = grouped
    ? (message) => toGroups(message, (topic, data) => server.publish(topic, data))
    : (message) => server.broadcast(message);
  const inApplication = (job) => publish(job, { stage, ready: () => server.ready() });

  return { port, publish: application ? inApplication : inHandler };
});
