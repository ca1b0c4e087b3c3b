// An application for bundlers, with a server for each place that a handler may have. handler.js is handler.mjs.

import { serve } from "ringcast";

const worker = new URL("./handler.js", import.meta.url);
const closures = { request: (_req, res) => res.send(200, "text/plain", "from a closure\n") };
for (const options of [
  { handler: worker },
  { handler: closures },
  { handler: worker, pool: { threads: 1 } },
]) {
  const server = await serve({ port: 0, ...options });
  const answer = await fetch(`http://127.0.0.1:${server.address.port}/thread?1`);
  console.log(answer.status, (await answer.text()).trim());
  await server.close();
}
