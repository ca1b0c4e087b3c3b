// WebSockets whose path says how they behave. GET /log answers with what happened since the last;
// GET /pause pauses those on /hold, GET /resume resumes every paused WebSocket.

const log = [];
const paused = new Set();
const holdable = new Set();

function pause(ws) {
  ws.pause();
  paused.add(ws);
}

let release = () => undefined;

const behaviours = {
  "/echo": {
    message: (ws, data) => ws.send(data),
  },
  "/protocol": {
    open: (ws) => ws.send(JSON.stringify([ws.protocol, ws.data, ws.remoteAddress, ws.open])),
  },
  "/slow": {
    async open(ws) {
      await new Promise((resolve) => {
        release = resolve;
      });
      ws.send("opened");
    },
    message: (ws, data) => ws.send(data),
  },
  "/later": {
    async message(ws, data) {
      log.push(["begin", data]);
      await new Promise((resolve) => setTimeout(resolve, Number(data)));
      ws.send(data);
      log.push(["end", data]);
    },
    ping: (_ws, data) => log.push(["ping", Buffer.from(data).toString()]),
  },
  "/wait": {
    async message(ws, data) {
      log.push(["begin", data]);
      while (ws.open) {
        while (ws.send(new Uint8Array(10000)));
        await new Promise((resolve) => {
          ws.resolve = resolve;
        });
      }
      log.push(["end", data, ws.open]);
    },
    drain: (ws) => ws.resolve?.(),
    close: (ws) => ws.resolve?.(),
  },
  "/throw": {
    message(_ws, data) {
      throw new Error(`thrown for ${data}`);
    },
  },
  "/reject": {
    async message(_ws, data) {
      await null;
      throw new Error(`rejected for ${data}`);
    },
  },
  "/open-throws": {
    open() {
      throw new Error("thrown in open");
    },
  },
  "/open-rejects": {
    async open() {
      await null;
      throw new Error("rejected in open");
    },
  },
  "/close": {
    message(ws, data) {
      const [count, code, reason] = data.split(" ");
      for (let i = 0; i < Number(count); i++) ws.send(`${i}`.padStart(1000, "."));
      const closed = code === "" ? ws.close() : ws.close(Number(code), reason);
      log.push(["closing", closed, ws.close(), ws.send("after"), ws.ping(), ws.open]);
    },
  },
  "/terminate": {
    message: (ws) => log.push(["terminate", ws.terminate(), ws.terminate(), ws.send("x"), ws.open]),
  },
  "/flood": {
    message(ws, data) {
      const message = new Uint8Array(Number(data)).fill(9);
      let count = 1;
      while (ws.send(message) && count < 10000) count++;
      ws.data = count;
      log.push(["flood", count, ws.lag.queued]);
    },
    drain: (ws) => ws.send(`drained ${ws.data}`),
  },
  "/pause": {
    message(ws, data) {
      if (data === "pause") pause(ws);
      ws.seen = (ws.seen ?? 0) + 1;
      if (data === "count") ws.send(`${ws.seen}`);
    },
  },
  "/hold": {
    open: (ws) => void holdable.add(ws),
    message: (ws, data) => (data === "pause" ? pause(ws) : ws.send(data)),
  },
  "/ping": {
    message(ws, data) {
      try {
        ws.send(`${ws.ping(data)}`);
      } catch (error) {
        ws.send(error.name);
      }
    },
    ping: (_ws, data) => log.push(["ping", Buffer.from(data).toString()]),
    pong: (_ws, data) => log.push(["pong", Buffer.from(data).toString()]),
  },
  "/bad-close": {
    message(ws) {
      for (const args of [[1005], [1006], [999], [5000], [1000, "x".repeat(124)], [1000.5]]) {
        try {
          ws.close(...args);
          ws.send("closed");
        } catch (error) {
          ws.send(error.name);
        }
      }
    },
  },
};

export default {
  request(req, res) {
    if (req.upgrade) {
      if (req.path === "/refuse") return res.send(403, "text/plain", "not you\n");
      if (req.path === "/wrong-protocol") return res.upgrade({ protocol: "never offered" });
      const options = { data: { path: req.path } };
      if (req.path === "/protocol") {
        options.protocol = req.protocols.find((name) => name === "b") ?? "";
        options.data = req.protocols;
        options.headers = { "X-Who": "ringcast" };
      }
      if (!res.upgrade({ ...options, data: { path: req.path, user: options.data } }))
        log.push(["no upgrade", res.sent]);
      return;
    }
    if (req.path === "/log") {
      const answer = JSON.stringify(log.splice(0));
      return res.send(200, "application/json", answer);
    }
    if (req.path === "/release") release();
    if (req.path === "/pause") for (const ws of holdable) pause(ws);
    if (req.path === "/resume") {
      for (const ws of paused) ws.resume();
      paused.clear();
    }
    return res.send(200, "text/plain", "ok\n");
  },
  open(ws) {
    const { path, user } = ws.data;
    ws.behaviour = behaviours[path] ?? {};
    ws.data = user;
    return ws.behaviour.open?.(ws);
  },
  message: (ws, data, isBinary) => ws.behaviour.message?.(ws, data, isBinary),
  drain: (ws) => ws.behaviour.drain?.(ws),
  ping: (ws, data) => ws.behaviour.ping?.(ws, data),
  pong: (ws, data) => ws.behaviour.pong?.(ws, data),
  close(ws, info) {
    paused.delete(ws);
    holdable.delete(ws);
    ws.behaviour.close?.(ws);
    log.push(["close", info.code, info.reason, info.cause, ws.open, ws.send("x")]);
  },
};
