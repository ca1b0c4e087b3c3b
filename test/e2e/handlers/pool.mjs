// A handler for a pool's threads: it blocks, dies, or sends values that cannot be cloned.

import { threadId } from "node:worker_threads";

function block(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

export default (server) => ({
  request(req, res) {
    const { path, query } = req;
    if (req.upgrade) return res.upgrade({ data: path === "/bad" ? () => 1 : { thread: threadId } });
    if (path === "/block") block(Number(query));
    if (path === "/spin") for (;;);
    if (path === "/exit") process.exit(3);
    if (path === "/heap") {
      const kept = [];
      for (;;) kept.push(new Array(100000).fill({}));
    }
    if (path === "/strange") throw { toString: () => "strange", method: () => 1 };
    if (path === "/broadcast") server.broadcast("x");
    if (path === "/late-error") {
      res.send(200, "", "sent");
      throw new Error("behind the answer");
    }
    if (path === "/pieces") {
      const pieces = Array.from({ length: Number(query) }, () => new Uint8Array(50000));
      return res.stream(200, "", pieces);
    }
    if (path === "/begin-exit") {
      res.begin(200);
      res.write("a piece");
      setTimeout(() => process.exit(4), 50);
      return new Promise(() => undefined);
    }
    return res.send(200, "text/plain", `${threadId} ${path}`);
  },
  open: (ws) => ws.send(`${ws.data.thread === threadId}`),
  message: (_ws, data) => {
    server.broadcast(data);
  },
});
