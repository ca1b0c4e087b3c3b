// Ringcast in front of a web server that stays as it is: WebSockets end here, everything else is passed on by `fetch`.
// One port, one origin; and the web server sends a message to all clients by a request of its own to /broadcast.

import { serve } from "ringcast";
import { fetchHandler } from "ringcast/fetch";

const { PORT = "8080", UPSTREAM = "http://localhost:3000", SECRET } = process.env;
/** Fields of one connection, not of what goes through it (RFC 9110 7.6.1). */
const HOP = ["connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

async function answer(request, client) {
  const { pathname, search } = new URL(request.url);
  if (pathname === "/live") return client.upgrade();
  if (pathname === "/broadcast") {
    if (request.headers.get("authorization") !== `Bearer ${SECRET}`)
      return new Response(null, { status: 403 });
    const text = await request.text();
    while (!server.broadcast(text)) await server.ready();
    return new Response(null, { status: 202 });
  }
  const headers = new Headers(request.headers);
  for (const name of HOP) headers.delete(name);
  headers.set("x-forwarded-for", client.remoteAddress);
  // As it is: otherwise `fetch` would decompress the body, and the fields would no longer describe it.
  headers.set("accept-encoding", "identity");
  const { method, body, signal } = request;
  try {
    return await fetch(new URL(pathname + search, UPSTREAM), {
      ...{ method, body, headers, signal },
      duplex: "half",
      redirect: "manual",
    });
  } catch {
    return new Response("The web server does not answer.\n", { status: 502 });
  }
}

const server = await serve({ port: Number(PORT), handler: fetchHandler(answer) });
console.log(`http://localhost:${server.address.port}`);
process.once("SIGTERM", () => server.shutdown());
