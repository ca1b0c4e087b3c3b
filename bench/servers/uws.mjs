// uWebSockets.js, by whichever of its two ways is faster for the batch: publishing to a topic, or
// sending to each client within a cork.

import { createRequire } from "node:module";
import { control, peer } from "./control.mjs";
import { setClients, toGroups, topicsOf } from "./groups.mjs";
import { pacer, publish } from "./publish.mjs";

const PENDING_BYTES_MAX = 64 << 20; // never reached: past it uWS drops messages, or with a `limit` the client
// A topic holds 32 messages and is then sent out, so with more of them a turn corking is faster:
// measured 200x32 5.1 M/s published, 3.6 corked; 200x512 5.5 and 6.7; 10x128 4.9 and 6.1.
const PUBLISHED_BATCH_MAX = 32;
const TOPIC = "all";

function native() {
  const { platform, arch, versions } = process;
  const file = `uwebsockets/uws_${platform}_${arch}_${versions.modules}.node`;
  return createRequire(import.meta.url)(file);
}

function answer(response, body) {
  response.cork(() => response.writeHeader("Content-Type", "text/plain").end(body));
}

/** Answers with the length of the body. */
function post(response) {
  let bytes = 0;
  response.onAborted(() => {});
  response.onData((piece, isLast) => {
    bytes += piece.byteLength;
    if (isLast) answer(response, `${bytes}\n`);
  });
}

await control(async (settings) => {
  const { grouped = 0, compress = false, limit } = settings;
  const uws = await peer(native);
  if (grouped > 0) setClients(grouped);
  const clients = new Set();
  const app = uws.App();
  app.get("/*", (response) => response.writeHeader("Content-Type", "text/plain").end("hello\n"));
  app.post("/*", post);
  app.ws("/*", {
    compression: compress ? uws.SHARED_COMPRESSOR : uws.DISABLED,
    idleTimeout: 0,
    maxBackpressure: limit ?? PENDING_BYTES_MAX,
    closeOnBackpressureLimit: limit !== undefined,
    message: (client, data, isBinary) => client.send(data, isBinary),
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

  const behind = pacer(settings, clients, (client) => client.getBufferedAmount());
  const toTopic = (topic, message) => {
    app.publish(topic, message, true, compress);
    return true;
  };
  const published = { stage: (message) => toTopic(TOPIC, message), behind };
  const topics = { stage: (message) => toGroups(message, toTopic), behind };

  /** @type {Uint8Array[]} */
  let messages = [];
  const sendCorked = () => {
    for (const client of clients) {
      client.cork(() => {
        for (const message of messages) client.send(message, true, compress);
      });
    }
    messages = [];
  };
  const stage = (message) => messages.push(new Uint8Array(message)) > 0;
  const corked = { stage, flush: sendCorked, behind };

  const ungrouped = (batch) => (batch <= PUBLISHED_BATCH_MAX ? published : corked);
  return {
    port: uws.us_socket_local_port(listener),
    publish: (job) => publish(job, grouped ? topics : ungrouped(job.batch)),
  };
});
