// A handler that makes mistakes on request. A request's path, or a message, is a list of steps, "throw.3/wait/send.0";
// each step is one mistake, or one right thing between two mistakes. All that a client sends bears its tag, "<<7>>".
// The handler checks that nothing of it ever reads another client's tag, and writes a line to the file that the `leaks`
// parameter of its URL names where it does.

import { appendFileSync } from "node:fs";

const leaks = new URL(import.meta.url).searchParams.get("leaks");
const PUBLIC = "PUBLIC ".repeat(6);
const TAG = /<<\d+>>/g;
const LATER = Symbol("later");

const port = await import("node:worker_threads")
  .then(({ parentPort }) => parentPort)
  .catch(() => null);

/** Reports a tag in `text` that is not the client's own. */
function look(where, tag, text) {
  for (const found of String(text).match(TAG) ?? [])
    if (found !== tag) appendFileSync(leaks, `${where}: ${tag} read ${found}\n`);
}

/** Calls a function and ignores its errors. */
function attempt(fn) {
  try {
    return fn();
  } catch {
    return undefined;
  }
}

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

class Spiteful extends Error {
  get message() {
    throw this;
  }
  get stack() {
    throw this;
  }
}

/** Things to throw. */
const THROWN = [
  () => new Error("misuse"),
  () => "misuse",
  () => undefined,
  () => null,
  () => Symbol("misuse"),
  () => Object.create(null),
  () => Object.freeze({ message: "misuse" }),
  () => ({ toString: 1, message: {} }),
  () => new Spiteful(),
  revoked,
  () => 10n,
  () => new Proxy(new Error("misuse"), { get: () => revoked() }),
  () => Object.assign(new Error("misuse"), { code: Symbol("code"), cause: revoked() }),
];

/** Data that is none, and data of unusual types, which bystanders recognise. */
const DATA = [
  () => ({ length: 100 }),
  () => 16000000,
  () => null,
  () => undefined,
  () => new Date(),
  () => [1, 2, 3],
  () => Symbol("data"),
  () => new Float64Array(new TextEncoder().encode(PUBLIC.slice(0, 40)).buffer),
  () => new DataView(new TextEncoder().encode(PUBLIC).buffer),
  () => new Uint16Array(new TextEncoder().encode(PUBLIC.slice(0, 40)).buffer),
  () => {
    const bytes = new TextEncoder().encode(PUBLIC);
    Object.defineProperty(bytes, "length", { value: 100000 });
    Object.defineProperty(bytes, "byteLength", { value: 100000 });
    return bytes;
  },
  () => {
    const bytes = new TextEncoder().encode(PUBLIC);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    return bytes;
  },
  () => revoked(),
  () => new Proxy(new Uint8Array(10), {}),
  () => new (class extends String {})(PUBLIC),
  () => () => PUBLIC,
];

const OPTIONS = [
  () => ({ binary: true }),
  () => ({ binary: false }),
  () => ({ except: 3 }),
  () => ({ except: Number.NaN }),
  () => null,
  () => 7,
];

const NAMES = [
  () => "room",
  () => "",
  () => "x".repeat(300),
  () => "\ud800",
  () => 5,
  () => undefined,
  () => revoked(),
];

const STATUSES = [99, 100, 101, 199, 204, 205, 304, 600, 200.5, Number.NaN, "200", undefined];

const FIELDS = [
  ["X-A", "a\r\nX-B: b"],
  ["X A", "a"],
  ["X-A", undefined],
  ["X-A", Symbol("a")],
  ["X-A", { toString: revoked }],
  ["Content-Length", 3],
  ["Transfer-Encoding", "chunked"],
  ["Connection", "upgrade"],
  ["X-A", "x".repeat(100000)],
  [undefined, "a"],
];

const pick = (list, arg) => {
  const made = list[arg % list.length];
  return typeof made === "function" ? made() : made;
};

function fail(arg) {
  throw pick(THROWN, arg);
}

/** Members of a request that are read long after it. */
const MEMBERS = [
  (req) => req.header("cookie"),
  (req) => JSON.stringify(req.headers),
  (req) => req.text(),
  (req) => Buffer.from(req.body).toString("latin1"),
  (req) => JSON.stringify(req.json()),
  (req) => req.url + req.query,
  (req) => req.protocols.join(),
  (req) => req.path + req.method + req.remoteAddress + req.id,
];

const lates = [
  (fn) => setImmediate(fn),
  (fn) => setTimeout(fn, 1),
  (fn) => queueMicrotask(fn),
  (fn) => setTimeout(fn, 20),
];

/** Reads all of a request, later; it must be its own client's. */
function readLater({ req, tag }, arg) {
  pick(
    lates.map((late) => () => late),
    arg,
  )(() => {
    for (const read of MEMBERS) look("kept request", tag, attempt(() => read(req)) ?? "");
  });
}

/** Steps of a body or a message handler: `arg` chooses among the ways. */
const COMMON = {
  wait: () => LATER,
  throw: (_, arg) => fail(arg),
  reject: (_, arg) => Promise.reject(pick(THROWN, arg)),
  thenable: (_, arg) => ({
    // biome-ignore lint/suspicious/noThenProperty: that is the mistake
    then(resolve, reject) {
      if (arg % 4 === 0) fail(arg);
      if (arg % 4 === 1) reject(pick(THROWN, arg));
      if (arg % 4 === 2) resolve();
      reject(pick(THROWN, arg));
      resolve();
      fail(arg);
    },
  }),
  lateThrow: (_, arg) =>
    void pick(
      lates.map((late) => () => late),
      arg,
    )(() => fail(arg)),
  lateReject: (_, arg) => void Promise.reject(pick(THROWN, arg)),
  post: (_, arg) =>
    void attempt(() => port?.postMessage(pick([null, 0, "x", { ringcast: 1 }, {}, []], arg))),
  publishBad: ({ server }, arg) => void server.broadcast(pick(DATA, arg)),
  publishTopic: ({ server }, arg) => void server.publish(pick(NAMES, arg), PUBLIC),
  publishOptions: ({ server }, arg) => void server.broadcast(PUBLIC, pick(OPTIONS, arg)),
  publish: ({ server }) => void server.broadcast(PUBLIC),
  publishLate: ({ server }) => void setImmediate(() => server.broadcast(PUBLIC)),
  sendId: ({ server }, arg) =>
    void server.send(
      pick([0, -1, 1.5, Number.NaN, 2 ** 53, "1", undefined, 2 ** 20 + 1], arg),
      PUBLIC,
    ),
  stage: ({ server }) => void server.stage().text(PUBLIC).broadcast(),
  stageKept: async ({ server }) => {
    const stage = server.stage().text("PUBLIC ");
    await new Promise((resolve) => setImmediate(resolve));
    server.broadcast(PUBLIC);
    stage.text("kept").broadcast();
  },
  stageTimer: ({ server }, arg) =>
    void setImmediate(() => {
      const stage = server.stage().text("PUBLIC timer");
      if (arg % 2) fail(arg);
      stage.broadcast();
    }),
  stageOpen: ({ server }) => void server.stage().text("never published"),
  stageTwo: ({ server }) => {
    const one = server.stage().text("PUBLIC one");
    const two = server.stage().text("PUBLIC two");
    one.broadcast();
    two.broadcast();
  },
  stageBytes: ({ server }, arg) => void server.stage().bytes(pick(DATA, arg)).broadcast(),
  stageInvalid: ({ server }) => void server.stage().bytes(Uint8Array.of(0xff, 0xfe)).broadcast(),
  stageReserve: ({ server }, arg) => {
    const stage = server.stage().text("PUBLIC ");
    let kept;
    stage.reserve(100, (view) => {
      kept = view;
      if (arg % 3 === 0) stage.text("within");
      if (arg % 3 === 1) fail(arg);
      view.fill(46);
      return arg % 2 ? 100 : 1000;
    });
    stage.broadcast();
    kept?.fill(255);
  },
  stageLarge: ({ server }) => {
    const stage = server.stage();
    for (let i = 0; i < 40; i++) stage.text("PUBLIC ".repeat(5000));
    stage.broadcast();
  },
  each: ({ server }, arg) => void server.each(() => fail(arg)),
  misread: ({ server }, arg) => void server.subscriberCount(pick(NAMES, arg)),
  subscribeId: ({ server }, arg) =>
    void server.subscribe(pick([0, -1, "x", undefined], arg), pick(NAMES, arg)),
};

/** Yields pieces and ends in one of several ways. */
async function* pieces({ tag }, arg) {
  try {
    yield `${tag} one`;
    if (arg % 5 === 0) fail(arg);
    if (arg % 5 === 1) yield pick(DATA, arg);
    if (arg % 5 === 2) await new Promise(() => undefined);
    yield `${tag} two`;
  } finally {
    if (arg % 3 === 0) fail(arg);
  }
}

const REQUEST = {
  ...COMMON,
  send: ({ res, tag }, arg) => void res.send(200, "text/plain", tag.repeat(1 + (arg % 100))),
  sendLate: ({ res, tag }, arg) =>
    void pick(
      lates.map((late) => () => late),
      arg,
    )(() => attempt(() => res.send(200, "text/plain", tag))),
  sendBad: ({ res }, arg) => void res.send(200, "text/plain", pick(DATA, arg)),
  status: ({ res, tag }, arg) => void res.send(pick(STATUSES, arg), "text/plain", tag),
  streamStatus: ({ res, tag }, arg) => res.stream(pick(STATUSES, arg), "text/plain", [tag, tag]),
  field: ({ res }, arg) => void res.header(...pick(FIELDS, arg)),
  fields: ({ res, tag }, arg) =>
    void res.send(200, "", tag, Object.fromEntries([pick(FIELDS, arg)])),
  type: ({ res, tag }, arg) =>
    void res.send(200, pick(["a\nb", 5, null, revoked(), "é€"], arg), tag),
  end: ({ res, tag }) => res.end(tag),
  endBad: ({ res }, arg) => res.end(pick(DATA, arg)),
  begin: ({ res }, arg) => void res.begin(200 + (arg % 10), "text/plain"),
  write: ({ res, tag }) => void res.write(tag),
  writeBad: ({ res }, arg) => void res.write(pick(DATA, arg)),
  writeMuch: ({ res, tag }) => void res.write(tag.repeat(20000)),
  stream: (it, arg) => it.res.stream(200, "text/plain", pieces(it, arg)),
  streamUnreturned: (it, arg) => void it.res.stream(200, "text/plain", pieces(it, arg)),
  streamBad: ({ res }, arg) => res.stream(200, "text/plain", pick(DATA, arg)),
  static: ({ server, res, tag }) => void res.static(server.body(tag, "text/plain")),
  staticBad: ({ res }, arg) => void res.static(pick(DATA, arg)),
  upgrade: ({ res }) => void res.upgrade(),
  close: ({ res }) => void res.close(),
  collect: ({ req }) => void req.collect(),
  collectTwice: async ({ req, tag }) => {
    look("collect", tag, Buffer.from(await req.collect()).toString("latin1"));
    await req.collect(1);
  },
  streamBody: async ({ req, tag }) => {
    for await (const piece of req.stream())
      look("stream", tag, Buffer.from(piece).toString("latin1"));
  },
  streamBodyLeft: async ({ req }) => {
    for await (const _ of req.stream()) break;
  },
  streamAndCollect: ({ req }) => {
    req.stream();
    void req.collect();
  },
  json: ({ req }) => void req.json(),
  keep: readLater,
  keepBody: ({ req, tag }) => {
    const body = attempt(() => req.body);
    setTimeout(() => look("kept body", tag, Buffer.from(body ?? "").toString("latin1")), 5);
  },
  abort: ({ res }, arg) => void res.signal.addEventListener("abort", () => fail(arg)),
  ready: ({ res }) => void res.ready(),
};

const MESSAGE = {
  ...COMMON,
  send: ({ ws, tag }, arg) => void ws.send(tag.repeat(1 + (arg % 100))),
  sendBad: ({ ws }, arg) => void ws.send(pick(DATA, arg)),
  sendInvalid: ({ ws }) => void ws.send(Uint8Array.of(0xff), { binary: false }),
  sendOptions: ({ ws }, arg) => void ws.send(PUBLIC, pick(OPTIONS, arg)),
  ping: ({ ws }, arg) => void ws.ping(pick(DATA, arg)),
  pingLong: ({ ws }) => void ws.ping("x".repeat(126)),
  close: ({ ws }, arg) =>
    void ws.close(pick([1000, 1005, 1006, 0, 5000, "x", undefined], arg), "bye"),
  terminate: ({ ws }) => void ws.terminate(),
  subscribe: ({ ws }, arg) => void ws.subscribe(pick(NAMES, arg)),
  unsubscribe: ({ ws }, arg) => void ws.unsubscribe(pick(NAMES, arg)),
  publishWs: ({ ws }, arg) => void ws.publish("room", pick(DATA, arg)),
  pause: ({ ws }) => {
    ws.pause();
    setTimeout(() => ws.resume(), 2);
  },
  sendLate: ({ ws, tag }, arg) =>
    void pick(
      lates.map((late) => () => late),
      arg,
    )(() => ws.send(tag)),
};

/** Carries out steps one after the other; a step that waits makes the rest asynchronous. */
function run(actions, it, steps) {
  for (let i = 0; i < steps.length; i++) {
    const [word, arg] = steps[i].split(".");
    const isQuiet = word.startsWith("~");
    const act = actions[isQuiet ? word.slice(1) : word];
    if (!act) throw new Error(`no step ${word}`);
    const result = isQuiet ? attempt(() => act(it, Number(arg))) : act(it, Number(arg));
    if (result === undefined) continue;
    const rest = steps.slice(i + 1);
    if (result === LATER)
      return new Promise((resolve) => setImmediate(resolve)).then(() => run(actions, it, rest));
    if (rest.length === 0) return result;
    return Promise.resolve(result).then(() => run(actions, it, rest));
  }
  return undefined;
}

export const REQUEST_STEPS = Object.keys(REQUEST);
export const MESSAGE_STEPS = Object.keys(MESSAGE);

export default function misuse(server) {
  return {
    // Bodies to /streamed/… are streamed.
    streams: Object.assign((req) => req.path.startsWith("/streamed/"), { optional: true }),
    request(req, res) {
      const tag = req.header("cookie") ?? "";
      if (req.upgrade) return res.upgrade({ data: tag });
      if (req.path === "/tag") return res.send(200, "text/plain", tag + req.text());
      const [, , ...steps] = req.path.split("/");
      return run(REQUEST, { server, req, res, tag }, steps);
    },
    message(ws, text) {
      const [word, ...steps] = text.split("/");
      look("message", ws.data, text);
      if (word === "done") return void ws.send(`done ${ws.data}`);
      return run(MESSAGE, { server, ws, tag: ws.data }, steps);
    },
  };
}
