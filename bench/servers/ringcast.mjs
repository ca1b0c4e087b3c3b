// Ringcast: messages are published by its handler, beside the engine, or with `application` by the application's
// thread. With `grouped` clients they go to topics. `place` says where the handler runs: in the worker, "application"
// or "pool"; with `isAsync` it is an async function. A `mute` one sends nothing of what it publishes. `checkout` is the
// folder of another built checkout, whose Ringcast runs instead of this one's. All other settings are Ringcast's own
// options.

import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { control, Unavailable } from "./control.mjs";
import { setClients, toGroups } from "./groups.mjs";
import { micros, publish } from "./publish.mjs";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const RING_BYTES = 64 << 20;
const POOL = { threads: 1, backlog: 1024 };

/**
 * Returns the options for a handler at its place.
 * @param {string | undefined} place
 * @param {Record<string, any>} settings
 */
async function handlerIn(place, settings) {
  const url = new URL("./ringcast-handler.mjs", import.meta.url);
  url.searchParams.set("settings", JSON.stringify(settings));
  if (place === "application") return { handler: (await import(url.href)).default };
  return place === "pool" ? { handler: url, pool: POOL } : { handler: url };
}

await control(
  async ({ application = false, mute = false, place, grouped = 0, readers, ...others }) => {
    const { checkout = CHECKOUT, isAsync = false, text = false, ...options } = others;
    const entry = path.join(checkout, "dist/index.js");
    if (!existsSync(entry)) throw new Unavailable(`${entry} is missing (run npm run build)`);
    const { plan, serve } = await import(pathToFileURL(entry).href);
    if (grouped > 0) setClients(grouped);
    const asked = {
      port: 0,
      hostname: "127.0.0.1",
      ring: RING_BYTES,
      ...options,
      ...(await handlerIn(place, { grouped, readers, isAsync, text })),
    };
    const before = micros();
    const server = await serve(asked);
    const listenMillis = (micros() - before) / 1000;
    const { port } = server.address;

    const inHandler = async (job) => {
      const url = `http://127.0.0.1:${port}/publish`;
      const answer = await fetch(url, { method: "POST", body: JSON.stringify(job) });
      if (answer.status !== 200) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    };
    // No `behind`: the application sees only whether there is room.
    const stage = grouped
      ? (message) => toGroups(message, (topic, data) => server.publish(topic, data))
      : (message) => server.broadcast(message);
    const nowhere = () => true;
    const inApplication = (job) =>
      publish(job, { stage: mute ? nowhere : stage, ready: () => server.ready() });

    /** Returns the engine's memory for an idle WebSocket, and the duration of `serve`. */
    const measure = () => {
      const region = ({ region }) => region === "WebSocketSlots";
      const { bytes } = plan({ ...asked, maxWebSockets: 10_000 }).regions.find(region);
      return { slotBytes: bytes / 10_000, listenMillis };
    };
    return { port, publish: application ? inApplication : inHandler, measure };
  },
);
