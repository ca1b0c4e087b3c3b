// Server-sent events of Fastify's own plugin: `reply.sse.send` for each client, of data that is not serialized again.

import { control, peer } from "./control.mjs";
import { pacer, publish } from "./publish.mjs";

await control(async (settings) => {
  const { fastify } = await peer(() => import("fastify"));
  const { default: sse } = await peer(() => import("@fastify/sse"));
  const clients = new Set();
  const app = fastify();
  await app.register(sse, { serializer: (data) => data });
  app.get("/*", { sse: "only" }, async (_, reply) => {
    reply.sse.keepAlive();
    reply.sse.sendHeaders();
    reply.raw.flushHeaders();
    clients.add(reply);
    reply.raw.on("close", () => clients.delete(reply));
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const stage = (message) => {
    const event = { data: message.latin1Slice() };
    for (const { sse } of clients) sse.send(event);
    return true;
  };
  const behind = pacer(settings, clients, ({ raw }) => raw.writableLength);
  return { port: app.server.address().port, publish: (job) => publish(job, { stage, behind }) };
});
