// A handler for every placement: `request` keeps no state that another thread's copy would miss, and what
// the WebSockets saw is asked for through them.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const log = [];

function describe(req) {
  const { method, url, path, query, httpVersion, remoteAddress, headers, upgrade } = req;
  const body = Buffer.from(req.body).toString("base64");
  const cookie = req.header("cookie");
  return { method, url, path, query, httpVersion, remoteAddress, headers, upgrade, body, cookie };
}

/** Names and messages of the errors that wrong calls throw. */
function mistakes(res) {
  const errors = [];
  for (const wrong of [
    () => res.header("X A", "a"),
    () => res.header("X-A", "a\r\nX-B: b"),
    () => res.header("Upgrade", "h2c"),
    () => res.send(99),
    () => res.send("200"),
    () => res.send(200, "text/\nplain"),
    () => res.send(200, "text/plain", 5),
    () => res.send(200, "text/plain", null),
    () => res.static({ length: 1, type: "text/plain" }),
    () => res.upgrade(),
    () => res.write("early"),
  ]) {
    try {
      wrong();
      errors.push("none");
    } catch (error) {
      errors.push(`${error.name}: ${error.message}`);
    }
  }
  return errors;
}

/** Returns a cookie's value. */
function cookieOf(req, name) {
  const pairs = (req.header("cookie") ?? "").split(/; */).map((pair) => pair.split("="));
  return pairs.find(([key]) => key === name)?.[1];
}

async function upgrade(req, res) {
  // Takes time, as authentication by a remote service does.
  await sleep(5);
  const user = cookieOf(req, "user");
  if (user === undefined)
    return res.send(401, "text/plain", "who are you?\n", { "X-Why": "cookie" });
  const protocol = req.protocols.includes("b") ? "b" : "";
  const headers = { "Set-Cookie": [`seen=${user}`, "theme=dark"], "X-Path": req.path };
  return res.upgrade({ data: { user, path: req.path, since: [1, 2, 3] }, protocol, headers });
}

const routes = {
  "/hello": (_req, res) => res.send(200, "text/plain", "hello\n"),
  "/all": (req, res) => res.send(200, "application/json", JSON.stringify(describe(req))),
  "/echo": (req, res) => res.send(200, req.header("content-type"), req.body),
  "/text": (req, res) => res.send(200, "text/plain", req.text()),
  "/json": (req, res) => res.send(200, "application/json", JSON.stringify(req.json())),
  "/large": (req, res) => res.send(200, "", new Uint8Array(Number(req.query)).fill(7)),
  "/headers": (_req, res) =>
    res
      .header("X-One", "1")
      .header("Set-Cookie", ["a=1", "b=2"])
      .send(201, "text/plain", "made", { "X-Latin": "\xe9", Location: "/made" }),
  "/mistakes": (_req, res) => res.send(200, "application/json", JSON.stringify(mistakes(res))),
  "/close": (_req, res) => res.close().send(200, "text/plain", "bye"),
  "/none": (_req, res) => res.send(204),
  "/twice"(_req, res) {
    const first = res.send(200, "text/plain", "once");
    try {
      res.send(200, "text/plain", "again");
    } catch (error) {
      return `${first} ${error.message}`;
    }
    throw new Error("sent twice");
  },
  "/throw"() {
    throw new Error("thrown");
  },
  async "/reject"() {
    await sleep(1);
    throw new RangeError("rejected");
  },
  async "/silent"() {
    await sleep(1);
  },
  async "/late"(req, res) {
    const before = describe(req);
    await sleep(Number(req.query));
    if (JSON.stringify(before) !== JSON.stringify(describe(req))) throw new Error("changed");
    return res.send(200, "text/plain", req.url);
  },
  "/stream": (_req, res) => res.stream(200, "text/plain", ["one,", "two,", "three"]),
  async "/pieces"(req, res) {
    const piece = "x".repeat(50000);
    res.begin(200, "text/plain", { "X-Pieces": req.query });
    for (let i = 0; i < Number(req.query) && !res.sent; i++) {
      while (!res.sent && !res.write(`${i}`.padStart(8) + piece)) await res.ready();
    }
    await res.end("end");
  },
};

const asked = {
  log: (ws) => ws.send(JSON.stringify(log.splice(0))),
  close: (ws) => ws.close(4000, "as you wish"),
  terminate: (ws) => ws.terminate(),
  who: (ws) => ws.send(JSON.stringify([ws.data, ws.protocol, ws.remoteAddress, ws.open])),
  fail() {
    throw new Error("failed as asked");
  },
  flood(ws) {
    const message = new Uint8Array(10000);
    let sent = 0;
    for (; ws.send(message) && sent < 1000; sent++);
    ws.data = sent;
    log.push(["flood", sent < 1000, ws.lag.queued > 0]);
  },
};

export default (server) => {
  const body = server.body("static\n", "text/plain");
  return {
    request(req, res) {
      if (req.upgrade) return upgrade(req, res);
      if (req.path === "/static") return res.static(body, 200, { "X-Static": "yes" });
      const route = routes[req.path];
      return route ? route(req, res) : res.send(404, "text/plain", "Not Found\n");
    },
    open: (ws) => ws.send(`welcome ${ws.data.user}`),
    async message(ws, data, isBinary) {
      if (!isBinary && data in asked) return asked[data](ws);
      if (!isBinary && data.startsWith("late ")) await sleep(Number(data.slice(5)));
      ws.send(data);
    },
    drain: (ws) => ws.send(`drained ${ws.data}`),
    ping: (_ws, data) => log.push(["ping", Buffer.from(data).toString()]),
    pong: (_ws, data) => log.push(["pong", Buffer.from(data).toString()]),
    close: (ws, info) => log.push(["close", info.code, info.reason, info.cause, ws.open]),
  };
};
