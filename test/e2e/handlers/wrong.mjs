// A handler that does everything wrong, and notes what becomes of it.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Events since the last look. */
const notes = [];

const LARGE = { "X-Large": "x".repeat(66000) };

async function* failing(what) {
  yield "begun";
  await sleep(1);
  throw new Error(what);
}

/** Returns a source that yields a piece, then none, and notes that it was left. */
function quiet(leave = () => ({ done: true })) {
  let isBegun = false;
  return {
    [Symbol.asyncIterator]: () => ({
      next() {
        if (isBegun) return new Promise(() => undefined);
        isBegun = true;
        return Promise.resolve({ done: false, value: "begun" });
      },
      return() {
        notes.push("left");
        return leave();
      },
    }),
  };
}

async function noteEnd(promise) {
  await promise;
  notes.push("settled");
}

const routes = {
  "/hello": (_req, res) => res.send(200, "text/plain", "hello"),
  "/notes": (_req, res) => res.send(200, "application/json", JSON.stringify(notes.splice(0))),

  "/end-text": (_req, res) => res.end("hi €"),
  "/end-bytes": (_req, res) => res.end(new Uint8Array([1, 2, 3])),
  "/end-nothing": (_req, res) => res.end(),
  "/end-typed": (_req, res) => res.header("content-type", "text/html").end("<p>"),
  "/end-number": (_req, res) => res.end(5),
  "/end-twice"(_req, res) {
    res.end("once");
    res.end("twice");
  },

  "/unreturned"(_req, res) {
    res.stream(200, "text/plain", failing("unreturned"));
  },
  "/returned": (_req, res) => res.stream(200, "text/plain", failing("returned")),
  "/bad-status"(_req, res) {
    res.stream(99, "text/plain", ["a"]);
  },
  "/no-iterable"(_req, res) {
    res.stream(200, "text/plain", 5);
  },
  "/bad-piece": (_req, res) => res.stream(200, "text/plain", [5]),
  "/no-step": (_req, res) =>
    res.stream(200, "text/plain", { [Symbol.iterator]: () => ({ next: () => undefined }) }),
  "/sync-throw": (_req, res) =>
    res.stream(200, "text/plain", {
      [Symbol.asyncIterator]: () => ({
        next() {
          throw new Error("next failed");
        },
      }),
    }),
  "/large-stream": (_req, res) => res.stream(200, "text/plain", quiet(), LARGE),
  "/large-send": (_req, res) => res.send(200, "text/plain", "", LARGE),
  "/after-throw"(_req, res) {
    res.stream(200, "text/plain", quiet());
    throw new Error("thrown behind it");
  },

  async "/collect"(req, res) {
    req.stream();
    req.collect();
    await sleep(5);
    res.send(200, "text/plain", "collected");
  },
  async "/upload"(req, res) {
    const body = req.collect();
    const next = req.path === "/upload" ? undefined : req.stream().next();
    notes.push("uploading");
    // The client resets meanwhile.
    while (!res.sent) await sleep(1);
    await sleep(5);
    notes.push(await body.catch(({ name }) => name), next);
  },

  "/quiet": (_req, res) => noteEnd(res.stream(200, "text/plain", quiet())),
  "/return-throws": (_req, res) =>
    noteEnd(
      res.stream(
        200,
        "text/plain",
        quiet(() => {
          throw new Error("return threw");
        }),
      ),
    ),
  "/return-rejects": (_req, res) =>
    noteEnd(
      res.stream(
        200,
        "text/plain",
        quiet(async () => {
          throw new Error("return rejected");
        }),
      ),
    ),
  "/return-hangs": (_req, res) =>
    noteEnd(
      res.stream(
        200,
        "text/plain",
        quiet(() => new Promise(() => undefined)),
      ),
    ),

  async "/listeners"(_req, res) {
    const throws = (what) => () => {
      throw new Error(what);
    };
    const removed = throws("removed");
    res.signal.addEventListener("abort", throws("function"));
    res.signal.addEventListener("abort", removed);
    res.signal.removeEventListener("abort", removed);
    res.signal.addEventListener("abort", { handleEvent: throws("object") }, { once: true });
    res.signal.addEventListener("abort", async () => throws("async")());
    res.signal.onabort = throws("onabort");
    res.signal.addEventListener("abort", () => notes.push("last"));
    res.begin(200, "text/plain");
    res.write("begun");
    while (!res.sent) await sleep(1);
  },
};

/** `/upload` is streamed where that can be. */
const streams = Object.assign((req) => req.path === "/upload", { optional: true });

export default (server) => {
  const own = server.body("own", "text/plain");
  // Of the first server of this thread.
  globalThis.ringcastForeign ??= own;
  return {
    streams,
    request(req, res) {
      if (req.path === "/own") return res.static(own);
      if (req.path === "/foreign") return res.static(globalThis.ringcastForeign);
      return routes[req.path](req, res);
    },
  };
};
