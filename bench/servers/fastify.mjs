// fastify, with its defaults: requests only; its WebSockets are those of ws.

import { control, peer } from "./control.mjs";

await control(async () => {
  const { fastify } = await peer(() => import("fastify"));
  const app = fastify();
  app.get("/", (_, reply) => reply.type("text/plain").send("hello\n"));
  app.post("/", ({ body }, reply) => reply.type("text/plain").send(`${body.length}\n`));
  await app.listen({ port: 0, host: "127.0.0.1" });
  return { port: app.server.address().port };
});
