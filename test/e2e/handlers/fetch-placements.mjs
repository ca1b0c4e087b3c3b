// The handler of placements.mjs written as a fetch function, for the same tests. Requests that need the handler's own
// interface, its errors and static bodies, are left to the original.

import { fetchHandler } from "ringcast/fetch";

// Loaded again wherever this is.
const { default: placements } = await import(`./placements.mjs${new URL(import.meta.url).search}`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const own = new Set(["/all", "/mistakes", "/static", "/twice", "/silent"]);
const plain = { headers: { "Content-Type": "text/plain" } };

function describe(request) {
  return JSON.stringify([request.method, request.url, [...request.headers]]);
}

/** Yields numbered pieces of 50,008 bytes each, made on demand. */
function pieces(count) {
  const encoder = new TextEncoder();
  const piece = "x".repeat(50000);
  let i = 0;
  return new ReadableStream({
    pull(controller) {
      if (i < count) return controller.enqueue(encoder.encode(`${i++}`.padStart(8) + piece));
      controller.enqueue(encoder.encode("end"));
      return controller.close();
    },
  });
}

function threeWords() {
  const words = ["one,", "two,", "three"].map((word) => new TextEncoder().encode(word));
  return new ReadableStream({
    pull(controller) {
      const word = words.shift();
      if (word) controller.enqueue(word);
      else controller.close();
    },
  });
}

async function upgrade(request, { upgrade: accept }, url) {
  await sleep(5);
  const user = /user=(\w+)/.exec(request.headers.get("cookie") ?? "")?.[1];
  if (user === undefined) {
    const headers = { ...plain.headers, "X-Why": "cookie" };
    return new Response("who are you?\n", { status: 401, headers });
  }
  const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(/, */);
  const path = url.pathname;
  const response = accept({
    data: { user, path, since: [1, 2, 3] },
    protocol: offered.includes("b") ? "b" : "",
    headers: { "Set-Cookie": [`seen=${user}`, "theme=dark"] },
  });
  // As a middleware does.
  response.headers.set("X-Path", path);
  return response;
}

const routes = {
  "/hello": () => new Response("hello\n", plain),
  async "/echo"(request) {
    const type = request.headers.get("content-type");
    return new Response(await request.arrayBuffer(), { headers: { "Content-Type": type } });
  },
  "/text": async (request) => new Response(await request.text(), plain),
  "/json": async (request) => Response.json(await request.json()),
  "/large": (_, query) => new Response(new Uint8Array(Number(query)).fill(7)),
  "/headers"() {
    const headers = new Headers({
      "X-One": "1",
      "X-Latin": "\xe9",
      Location: "/made",
      ...plain.headers,
    });
    headers.append("Set-Cookie", "a=1");
    headers.append("Set-Cookie", "b=2");
    return new Response("made", { status: 201, headers });
  },
  "/close": () => new Response("bye", { headers: { ...plain.headers, Connection: "close" } }),
  "/none": () => new Response(null, { status: 204 }),
  "/throw"() {
    throw new Error("thrown");
  },
  async "/reject"() {
    await sleep(1);
    throw new RangeError("rejected");
  },
  async "/late"(request, query) {
    const before = describe(request);
    await sleep(Number.parseInt(query, 10));
    if (before !== describe(request)) throw new Error("changed");
    const { pathname, search } = new URL(request.url);
    return new Response(pathname + search, plain);
  },
  "/stream": () => new Response(threeWords(), plain),
  "/pieces": (_, query) =>
    new Response(pieces(Number(query)), { headers: { ...plain.headers, "X-Pieces": query } }),
};

export default (server) => {
  const original = placements(server);
  const { request: answer, ...events } = original;
  const web = fetchHandler((request, info) => {
    const url = new URL(request.url);
    if (request.headers.get("upgrade") === "websocket") return upgrade(request, info, url);
    const route = routes[url.pathname];
    return route
      ? route(request, url.search.slice(1))
      : new Response("Not Found\n", { status: 404, ...plain });
  }, events);
  return {
    ...web,
    request: (req, res) => (own.has(req.path) ? answer(req, res) : web.request(req, res)),
  };
};
