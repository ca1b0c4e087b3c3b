// Server-sent events of node:http: one text for each message, and `write` for each response.

import { once } from "node:events";
import { createServer } from "node:http";
import { control } from "./control.mjs";
import { pacer, publish } from "./publish.mjs";

await control(async (settings) => {
  const clients = new Set();
  const http = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.flushHeaders();
    clients.add(response);
    response.on("close", () => clients.delete(response));
  });
  await once(http.listen(0, "127.0.0.1"), "listening");
  const stage = (message) => {
    const event = `data: ${message.latin1Slice()}\n\n`;
    for (const client of clients) client.write(event);
    return true;
  };
  const behind = pacer(settings, clients, (client) => client.writableLength);
  return { port: http.address().port, publish: (job) => publish(job, { stage, behind }) };
});
