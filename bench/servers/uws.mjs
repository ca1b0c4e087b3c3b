// uWebSockets.js, by whichever of its two ways is faster for the batch: publishing to a topic, or
// sending to each client within a cork.

import { createRequire } from "node:module";
import { burst } from "./burst.mjs";
import { control, most, peer } from "./control.mjs";
import { setClients, toGroups, topicsOf } from "./groups.mjs";

const PENDING_BYTES_MAX = 64 << 20; // never reached: past it uWS drops messages
// A topic holds 32 messages and is then sent out, so with more of them a turn corking is faster:
// measured 200x32 5.1 M/s published, 3.6 corked; 200x512 5.5 and 6.7; 10x128 4.9 and 6.1.
const PUBLISHED_BATCH_MAX = 32;
const TOPIC = "all";
const grouped = process.argv[2] === "topics";
if (grouped) setClients(Number(process.argv[3]));

function native() {
  const { platform, arch, versions } = process;
  const file = `uwebsockets/uws_${platform}_${arch}_${versions.modules}.node`;
  return createRequire(import.meta.url)(file);
}

await control(async () => {
  const uws = await peer(native);
  const clients = new Set();
  const app = uws.App().ws("/*", {
    compression: uws.DISABLED,
    idleTimeout: 0,
    maxBackpressure: PENDING_BYTES_MAX,
    open(client) {
      for (const topic of grouped ? topicsOf(clients.size) : [TOPIC]) client.subscribe(topic);
      clients.add(client);
    },
    close(client) {
      clients.delete(client);
    },
  });
  const listener = await new Promise((resolve) => app.listen("127.0.0.1", 0, resolve));
  if (!listener) throw new Error("uWS cannot listen");

  const publish = (message) => app.publish(TOPIC, message, true);
  const publishGrouped = (message) =>
    toGroups(message, (topic, data) => {
      app.publish(topic, data, true);
      return true;
    });

  /** @type {Uint8Array[]} */
  let messages = [];
  const keep = (message) => messages.push(new Uint8Array(message)) > 0;
  const sendCorked = () => {
    for (const client of clients) {
      client.cork(() => {
        for (const message of messages) client.send(message, true);
      });
    }
    messages = [];
  };

  const behind = () => most(clients, (client) => client.getBufferedAmount());
  return {
    port: uws.us_socket_local_port(listener),
    burst: (job) => {
      if (grouped) return burst(job, { stage: publishGrouped, behind });
      return job.batch <= PUBLISHED_BATCH_MAX
        ? burst(job, { stage: publish, behind })
        : burst(job, { stage: keep, flush: sendCorked, behind });
    },
  };
});
