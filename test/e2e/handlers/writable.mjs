// A handler whose WebSockets are sent messages as fast as they are read. A client says which, by the name of a command.

import { fetchHandler } from "ringcast/fetch";

const MESSAGE = new Uint8Array(10_000);
const log = [];

/** Waits for something that does not happen. */
const never = () => new Promise(() => undefined);

/** Yields `count` messages, and notes how many it was asked for, and its end. */
async function* counted(ws, count) {
  ws.data = { produced: 0 };
  try {
    for (; ws.data.produced < count; ws.data.produced++) {
      yield `${ws.data.produced}`.padStart(10_000);
      // Values of other sources come in other turns.
      if (ws.data.produced % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  } finally {
    log.push(["ended", ws.data.produced < count]);
  }
}

function* failing() {
  yield "before";
  throw new Error("the source fails");
}

/** A source whose second message never comes. */
const stuck = () => ({
  first: true,
  [Symbol.asyncIterator]() {
    return this;
  },
  next() {
    if (!this.first) return never();
    this.first = false;
    return { done: false, value: "first" };
  },
  return() {
    log.push(["return"]);
    return {};
  },
});

/**
 * Sends until the client's queue is full and the network takes no more of it.
 * @returns the number of messages, and the wait for room
 */
async function fill(ws) {
  for (let sent = 0; ; ) {
    for (; ws.send(MESSAGE); sent++);
    const ready = ws.ready();
    const pause = new Promise((resolve) => setTimeout(resolve, 100, true));
    if (await Promise.race([ready, pause])) return { sent, ready };
  }
}

async function noteResult(name, promise) {
  try {
    log.push([name, await promise]);
  } catch (error) {
    log.push([name, `${error.name}: ${error.message}`]);
  }
}

const commands = {
  log: (ws) => ws.send(JSON.stringify(log.splice(0))),
  /** Fills the queue, and waits for room. */
  async ready(ws) {
    await ws.ready();
    const { sent, ready } = await fill(ws);
    log.push(["full", sent]);
    await ready;
    log.push(["ready", ws.open, ws.send(`ready ${sent}`)]);
  },
  /** Never waits for the promise. */
  async forget(ws) {
    await fill(ws);
    for (let i = 0; i < 10; i++) void ws.ready();
    log.push(["forgotten"]);
  },
  many: (ws) => noteResult("many", ws.stream(counted(ws, 500))),
  produced: (ws) => log.push(["produced", ws.data.produced]),
  kinds(ws) {
    const own = new Uint8Array([1, 2, 3, 4]);
    const kinds = ["text", own.subarray(1, 3), own.buffer, Promise.resolve("later"), ""];
    return noteResult("kinds", ws.stream(kinds));
  },
  large: (ws) => void noteResult("large", ws.stream([new Uint8Array(65537)])),
  two(ws) {
    const numbers = (name) => Array.from({ length: 50 }, (_, i) => `${name}${i}`);
    void noteResult("a", ws.stream(numbers("a")));
    void noteResult("b", ws.stream(numbers("b")));
    ws.send("at once");
  },
  stuck: (ws) => void noteResult("stuck", ws.stream(stuck())),
  closed(ws) {
    void noteResult("closed", ws.stream(stuck()));
    setTimeout(() => ws.close(4000, "enough"), 5);
  },
  late(ws) {
    ws.close();
    void noteResult("late", ws.stream(stuck()));
  },
  unawaited: (ws) => void ws.stream(failing()),
  returned: (ws) => ws.stream(failing()),
  async caught(ws) {
    await noteResult("caught", ws.stream(failing()));
    ws.send("caught");
  },
  /** Waits for it only after it has failed. */
  async belated(ws) {
    const streamed = ws.stream(failing());
    await new Promise((resolve) => setTimeout(resolve, 5));
    await streamed;
  },
  async wrong(ws) {
    const source = stuck();
    source.next = () => ({ done: false, value: 5 });
    await noteResult("wrong", ws.stream(source));
    try {
      ws.stream(5);
    } catch (error) {
      log.push([error.name, error.message]);
    }
    ws.send("wrong");
  },
};

const events = {
  open: (ws) => void ws.stream(["welcome"]),
  message: (ws, name) => commands[name](ws),
  drain: () => log.push(["drain"]),
};

const fetched = fetchHandler((_request, info) => info.upgrade({ data: {} }), events);

export default () => ({
  ...fetched,
  request: (req, res) =>
    req.path === "/fetch" ? fetched.request(req, res) : res.upgrade({ data: {} }),
});
