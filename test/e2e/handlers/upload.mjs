// Requests whose bodies are streamed. GET /log answers with what happened since the last one.

import { createHash } from "node:crypto";

const log = [];
/** Handlers that wait for GET /go. */
const waiting = new Set();
const wait = () => new Promise((resolve) => waiting.add(resolve));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const json = (res, value) => res.send(200, "application/json", JSON.stringify(value));

/** Reads a body to its end, or to where it breaks off. */
async function read(req) {
  const hash = createHash("sha1");
  let bytes = 0;
  let pieces = 0;
  for await (const piece of req.stream()) {
    hash.update(piece);
    bytes += piece.length;
    pieces++;
  }
  return { bytes, pieces, sha1: hash.digest("hex") };
}

const thrownBy = (fn) => {
  try {
    fn();
    return "";
  } catch (error) {
    return error.message;
  }
};

const routes = {
  "/hello": (_req, res) => res.send(200, "text/plain", "hello\n"),
  "/read": async (req, res) => json(res, await read(req)),
  "/whole": async (req, res) => json(res, { body: req.text(), ...(await read(req)) }),
  "/echo": (req, res) => res.stream(200, "application/octet-stream", req.stream()),
  /** Reads all, then answers. */
  async "/echo-late"(req, res) {
    return res.send(200, "application/octet-stream", await req.collect());
  },
  async "/collect"(req, res) {
    const limit = Number(req.query);
    try {
      return json(res, { bytes: (await req.collect(limit)).length });
    } catch (error) {
      return res.send(413, "text/plain", `${error.name} ${error.message}`);
    }
  },
  "/early": (_req, res) => res.send(403, "text/plain", "no"),
  async "/early-later"(_req, res) {
    await sleep(50);
    return res.send(403, "text/plain", "no");
  },
  "/begin-early"(_req, res) {
    res.begin(403, "text/plain");
    res.write("no");
    return res.end();
  },
  "/throw"() {
    throw new Error("as asked");
  },
  async "/first"(req, res) {
    let first = 0;
    for await (const piece of req.stream()) {
      first = piece.length;
      break;
    }
    return json(res, { first: first > 0 });
  },
  /** Takes a piece, waits, takes the rest. */
  async "/pause"(req, res) {
    const pieces = req.stream();
    const { value } = await pieces.next();
    let bytes = value.length;
    log.push("paused");
    await wait();
    for await (const piece of pieces) bytes += piece.length;
    return json(res, { bytes });
  },
  /** Waits before it reads. */
  async "/wait"(req, res) {
    log.push("waiting");
    await wait();
    return json(res, await read(req));
  },
  /** Says how the body ended. */
  async "/aborted"(req, res) {
    let bytes = 0;
    try {
      for await (const piece of req.stream()) {
        bytes += piece.length;
        log.push(["bytes", bytes]);
      }
      log.push(["whole", bytes]);
    } catch (error) {
      log.push([error.name, error.cause, bytes, res.sent, res.send(200)]);
      throw error;
    }
    return res.send(200);
  },
  /** Begins its answer, then says how the body ended. */
  async "/aborted-echo"(req, res) {
    try {
      await res.stream(200, "text/plain", req.stream());
      log.push(["whole"]);
    } catch (error) {
      log.push([error.name, error.cause, res.sent]);
      throw error;
    }
  },
  /** Answers, then reads on. */
  async "/answered"(req, res) {
    const pieces = req.stream();
    await pieces.next();
    res.send(200, "text/plain", "enough");
    try {
      for await (const piece of pieces) log.push(["piece", piece.length]);
      log.push("whole");
    } catch (error) {
      log.push([error.name, error.cause]);
    }
  },
  async "/misuse"(req, res) {
    const results = [
      thrownBy(() => req.body),
      thrownBy(() => req.text()),
      thrownBy(() => req.json()),
      await req.collect(-1).catch((error) => error.message),
    ];
    const { bytes } = await read(req);
    results.push(thrownBy(() => req.stream()));
    results.push(await req.collect().catch((error) => error.message));
    return json(res, { bytes, results, type: req.header("content-type"), url: req.url });
  },
  "/go"(_req, res) {
    for (const resolve of waiting) resolve();
    waiting.clear();
    return res.send(200);
  },
  "/log": (_req, res) => json(res, log.splice(0)),
};

export default (server) => ({
  streams(req) {
    if (req.path === "/streams-throws") throw new Error("as asked");
    return req.path !== "/whole" && req.path !== "/stats";
  },
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    if (req.path === "/stats") return json(res, server.stats());
    return (routes[req.path] ?? (() => res.send(404)))(req, res);
  },
});
