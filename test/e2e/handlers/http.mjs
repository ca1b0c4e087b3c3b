// Answers whose path says how. GET /log answers with what happened since the last one.

const log = [];
const pending = new Set();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Returns all properties of a request, as JSON. */
function describe(req) {
  const { method, url, path, query, httpVersion, remoteAddress, headers, upgrade } = req;
  const body = Buffer.from(req.body).toString("base64");
  const test = req.header("x-test");
  return JSON.stringify({
    ...{ method, url, path, query, httpVersion, remoteAddress, headers, upgrade, body, test },
  });
}

function filled(n, seed) {
  const bytes = new Uint8Array(n);
  for (let i = 0; i < n; i++) bytes[i] = 97 + ((i * 7 + (i >>> 8) * 13 + seed) % 26);
  return bytes;
}

export default (server) => {
  const small = server.body("static, small\n", "text/plain");
  const empty = server.body("", "text/plain");
  const large = server.body(filled(3000000, 5), "application/octet-stream");
  const mine = Buffer.from("this will be changed");
  const copied = server.body(mine, "text/plain");
  mine.fill(0);

  const routes = {
    "/hello": (_req, res) => res.send(200, "text/plain", "hello\n"),
    "/echo": (req, res) => res.send(200, req.header("content-type"), req.body),
    "/text": (req, res) => res.send(200, "text/plain", req.text()),
    "/json": (req, res) => res.send(200, "application/json", JSON.stringify(req.json())),
    "/all": (req, res) => res.send(200, "application/json", describe(req)),
    "/size"(req, res) {
      const query = new URLSearchParams(req.query);
      const bytes = filled(Number(query.get("n")), 3);
      const kind = query.get("kind");
      const body =
        kind === "string"
          ? Buffer.from(bytes).toString()
          : kind === "buffer"
            ? bytes.buffer
            : bytes;
      return res.send(200, "application/octet-stream", body);
    },
    "/reused"(_req, res) {
      const bytes = Buffer.alloc(200000, 1);
      res.send(200, "application/octet-stream", bytes);
      bytes.fill(2);
    },
    "/static": (_req, res) => res.static(small),
    "/static-empty": (_req, res) => res.static(empty, 404),
    "/static-large": (_req, res) => res.static(large, 200, { "X-Large": "yes" }),
    "/static-copied": (_req, res) => res.static(copied),
    "/headers": (_req, res) =>
      res
        .header("X-One", "1")
        .header("Set-Cookie", ["a=1", "b=2"])
        .header("X-Number", 17)
        .send(201, "", "made", { "X-Latin": "\xe9", Location: "/made" }),
    "/bad-headers"(_req, res) {
      const results = [];
      for (const [name, value] of [
        ["X-A", "a\r\nX-B: b"],
        ["X-A", "a\nb"],
        ["X-A", "a\0b"],
        ["X A", "a"],
        ["", "a"],
        ["X-A", "€"],
        ["Upgrade", "h2c"],
        ["Transfer-Encoding", "chunked"],
        ["Connection", "close"],
      ]) {
        try {
          res.header(name, value);
          results.push("set");
        } catch (error) {
          results.push(error.name);
        }
      }
      for (const status of [100, 199, 600, 200.5, "200"]) {
        try {
          res.send(status);
          results.push("sent");
        } catch (error) {
          results.push(error.name);
        }
      }
      return res.send(200, "application/json", JSON.stringify(results));
    },
    "/close": (_req, res) => res.close().send(200, "text/plain", "bye"),
    "/none": (_req, res) => res.send(204),
    "/same": (_req, res) => res.send(304),
    "/throw"() {
      throw new Error("thrown");
    },
    async "/reject"() {
      await sleep(1);
      throw new Error("rejected");
    },
    async "/silent"() {
      await sleep(1);
    },
    "/throw-after"(_req, res) {
      res.send(200, "text/plain", "sent");
      throw new Error("thrown after the answer");
    },
    "/twice"(_req, res) {
      res.send(200, "text/plain", "once");
      try {
        res.send(200, "text/plain", "again");
      } catch (error) {
        log.push(["twice", error.message]);
      }
    },
    async "/late"(req, res) {
      const ms = Number(new URLSearchParams(req.query).get("ms"));
      await sleep(ms);
      const first = describe(req);
      await sleep(ms / 2);
      const second = describe(req);
      res.send(200, "application/json", first === second ? first : `"changed"`);
      await sleep(ms / 2);
      if (describe(req) !== first) log.push(["changed after the answer", req.url]);
    },
    async "/pending"(req, res) {
      log.push(["pending", res.sent]);
      await new Promise((resolve) => pending.add(resolve));
      let sent;
      try {
        sent = res.send(200, "text/plain", "too late");
      } catch (error) {
        sent = error.message;
      }
      log.push(["released", res.sent, sent, req.url]);
    },
    "/release"(_req, res) {
      for (const resolve of pending) resolve();
      pending.clear();
      return res.send(200);
    },
    "/log": (_req, res) => res.send(200, "application/json", JSON.stringify(log.splice(0))),
  };

  return {
    request: (req, res) =>
      (routes[req.path.replace("/%20", "")] ?? (() => res.send(404)))(req, res),
    connect: (connection) => log.push(["connect", connection.id, connection.remoteAddress]),
    disconnect: (connection, info) =>
      log.push(["disconnect", connection.id, info.code, info.cause, info.reason]),
  };
};
