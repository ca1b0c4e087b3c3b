// A handler that keeps requests longer than it may, and says what each of their members does then.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Requests by the way in which they were kept. */
const kept = new Map();
/** Values that were read in time, by the same. */
const seen = new Map();

/** Returns the outcome of a member: a value as JSON, or the code of its error. */
async function outcome(request, name) {
  try {
    const member = request[name];
    const value = await (typeof member === "function"
      ? member.apply(request, name === "header" ? ["cookie"] : [])
      : member);
    return value === undefined ? "undefined" : `value ${JSON.stringify(value)}`;
  } catch (error) {
    return error.code ?? `${error.name}: ${error.message}`;
  }
}

/** Names of all members, inherited ones included. */
function membersOf(request) {
  const names = new Set();
  for (let at = request; at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  names.delete("constructor");
  return [...names].sort();
}

/** Members that only the server calls come last, because some of them end a request. */
async function probe(request) {
  const outcomes = {};
  const open = ["header", "url", "body", "collect", "stream"];
  for (const name of [...open, ...membersOf(request)])
    outcomes[name] ??= await outcome(request, name);
  return outcomes;
}

const ways = {
  answered(_req, res) {
    res.send(200, "text/plain", "kept");
  },
  async "answered first"(_req, res) {
    res.send(200, "text/plain", "kept");
    await sleep(1);
  },
  async "answered last"(_req, res) {
    await sleep(1);
    return res.send(200, "text/plain", "kept");
  },
  thrown() {
    throw new Error("thrown");
  },
  async rejected() {
    await sleep(1);
    throw new Error("rejected");
  },
  streamed: (_req, res) => res.stream(200, "text/plain", ["ke", "pt"]),
  static: (_req, res, body) => res.static(body),
  // A pool's thread has to settle with an answer.
  timer(req, res) {
    setTimeout(() => {
      seen.set("timer", [req.header("cookie"), req.text()]);
      res.send(200, "text/plain", "kept");
    }, 5);
  },
  async "settles last"(req, res) {
    res.send(200, "text/plain", "kept");
    await sleep(5);
    seen.set("settles last", [req.header("cookie"), req.text()]);
  },
  // Never answered: the client leaves.
  lost(req, res) {
    res.signal.addEventListener("abort", () => seen.set("lost", [req.path]));
  },
};

const questions = {
  "/probe": (way) => probe(kept.get(way)),
  "/peek": (way) => (kept.has(way) ? outcome(kept.get(way), "header") : "none"),
  "/seen": (way) => seen.get(way) ?? null,
};

async function tell(req, res) {
  const found = await questions[req.path](decodeURIComponent(req.query));
  return res.send(200, "application/json", JSON.stringify(found));
}

/** Bodies are not streamed, so `streams` sees a request that no `request` gets. */
const streams = Object.assign(
  (req) => {
    kept.set("streams", req);
    return false;
  },
  { optional: true },
);

export default (server) => {
  const body = server.body("kept", "text/plain");
  return {
    streams,
    request(req, res) {
      if (req.path !== "/keep") return tell(req, res);
      const way = decodeURIComponent(req.query);
      kept.set(way, req);
      return ways[way](req, res, body);
    },
  };
};
