// Fetch functions for what the adapter itself answers for.

import { fetchHandler } from "ringcast/fetch";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const bytes = (text) => new TextEncoder().encode(text);
/** Events so far, for the tests to read. */
const log = [];

const cached = new Response("read before");

/** Pieces without end, as fast as they are taken. */
function forever(name) {
  return new ReadableStream({
    async pull(controller) {
      await sleep(1);
      controller.enqueue(new Uint8Array(50000));
    },
    cancel(reason) {
      log.push([name, reason?.name]);
    },
  });
}

function failing(first) {
  return new ReadableStream({
    async start(controller) {
      if (first) controller.enqueue(bytes(first));
      await sleep(20);
      controller.error(new Error("as asked"));
    },
  });
}

function chunks(...list) {
  return new ReadableStream({
    async pull(controller) {
      await sleep(2);
      if (list.length > 0) controller.enqueue(list.shift());
      else controller.close();
    },
  });
}

/** Returns a stream that yields nothing until it is cancelled. */
function quiet(name) {
  return new ReadableStream({
    start: (controller) => controller.enqueue(bytes("hello")),
    cancel(reason) {
      log.push([name, reason?.name]);
    },
  });
}

const routes = {
  "/": (request) =>
    Response.json({
      url: request.url,
      method: request.method,
      body: request.body !== null,
      headers: [...request.headers],
      isRequest: request instanceof Request,
      again: new Request(request).url,
      clone: request.clone().url,
    }),
  "/log": () => Response.json(log.splice(0)),
  "/nothing": () => undefined,
  "/text": () => "no Response",
  "/error": () => Response.error(),
  "/foreign": () => ({ status: 101, headers: new Headers(), body: null, bodyUsed: false }),
  async "/used"() {
    await cached.text().catch(() => undefined);
    return cached;
  },
  "/cookies"() {
    const response = new Response("cookies", {
      headers: { "Transfer-Encoding": "gzip", "Keep-Alive": "timeout=7", Connection: "keep-alive" },
    });
    response.headers.append("Set-Cookie", "a=1; Path=/");
    response.headers.append("Set-Cookie", "b=2, c");
    response.headers.set("X-Latin", "\xe9");
    return response;
  },
  "/control": () => new Response("x", { headers: { "X-Control": "a\x01b" } }),
  "/304": () => new Response(null, { status: 304, headers: { ETag: '"1"' } }),
  "/205": () => new Response(null, { status: 205 }),
  "/stated": () =>
    new Response(chunks(bytes("ab"), bytes("cd")), { headers: { "Content-Length": "4" } }),
  "/chunks": () => new Response(chunks(bytes("ab"), bytes("cd"))),
  "/here": () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(bytes("ab"));
          controller.enqueue(bytes("cd"));
          controller.close();
        },
      }),
    ),
  async "/later"({ signal }) {
    while (!signal.aborted) await sleep(1);
    return new Response("late");
  },
  "/blob": () => new Response(new Blob(["a", "b"], { type: "text/x" })),
  "/forever": () => new Response(forever("forever")),
  "/quiet": () => new Response(quiet("quiet")),
  "/fails": () => new Response(failing()),
  "/breaks": () => new Response(failing("some")),
  "/strings": () => new Response(chunks("text")),
  async "/wait"({ signal }) {
    log.push(["waiting", signal.aborted]);
    await new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        log.push(["aborted", signal.reason.name]);
        reject(signal.reason);
      });
    });
  },
  async "/count"(request) {
    let length = 0;
    for await (const piece of request.body ?? []) length += piece.length;
    return new Response(`${length}`);
  },
  "/mirror": (request) => new Response(request.body),
  async "/broken"(request) {
    try {
      await request.arrayBuffer();
    } catch (error) {
      log.push([error.name, error.cause, request.signal.aborted]);
      throw error;
    }
    return new Response("whole");
  },
};

export default fetchHandler(
  (request, info) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/ws") return info.upgrade({ protocol: "a", data: info.remoteAddress });
    if (pathname === "/plain-ws") return info.upgrade();
    if (pathname === "/refused") return info.upgrade() && new Response("no", { status: 403 });
    const route = routes[pathname];
    return route ? route(request) : new Response(pathname, { status: 404 });
  },
  {
    message: (ws, data) => ws.send(`${ws.data} ${ws.protocol} ${data}`),
  },
);
