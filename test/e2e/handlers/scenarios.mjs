// A handler for clients to be compared on. The path chooses the scenario. It imports nothing, so it runs anywhere.

/** Its actions when a WebSocket opens, by the path. */
const OPEN = {
  "/close": (ws) => ws.close(4001, "bye €"),
  "/close-plain": (ws) => ws.close(),
  "/reset": (ws) => setTimeout(() => ws.terminate(), 20),
  "/burst": (ws) => {
    for (let i = 0; i < 5; i++) ws.send(`message ${i}`);
    ws.close(1000, "done");
  },
  "/binary": (ws) => ws.send(new Uint8Array([1, 2, 250])),
  "/ping": (ws) => ws.ping("are you there"),
  "/talk": (ws) => {
    ws.data.timer = setInterval(() => ws.send("again"), 1);
  },
};

export default (server) => {
  const page = server.body("<!doctype html><p>static</p>", "text/html");
  return {
    streams: (req) => req.path === "/upload",
    async request(req, res) {
      const { path } = req;
      if (req.upgrade) {
        if (path === "/refused") return res.send(403, "text/plain", "no\n");
        if (path === "/protocol") return res.upgrade({ protocol: "b", data: { path } });
        return res.upgrade({ data: { path } });
      }
      if (path === "/static") return res.static(page);
      if (path === "/slow") {
        await new Promise((resolve) => setTimeout(resolve, 30));
        return res.send(200, "text/plain", "slow");
      }
      if (path === "/never") return new Promise(() => undefined);
      if (path === "/break") {
        res.begin(200, "text/plain");
        res.write("some");
        await new Promise((resolve) => setTimeout(resolve, 20));
        throw new Error("breaks off");
      }
      if (path === "/close") return res.close().send(200, "text/plain", "last");
      if (path === "/empty") return res.send(204);
      if (path === "/redirect") {
        return res.send(Number(req.query), "", "", { Location: "/inspect?redirected" });
      }
      if (path === "/loop") return res.send(302, "", "", { Location: "/loop" });
      if (path === "/away") return res.send(302, "", "", { Location: req.query });
      if (path === "/chunks") {
        const count = Number(req.query);
        return res.stream(200, "application/octet-stream", pieces(count));
      }
      if (path === "/upload") {
        let bytes = 0;
        for await (const piece of req.stream()) bytes += piece.length;
        return res.send(200, "text/plain", `${bytes}`);
      }
      if (path === "/echo") {
        return res.send(200, req.header("content-type") ?? "", req.body);
      }
      if (path === "/stats")
        return res.send(200, "text/plain", `${(await server.stats()).bytesOut}`);
      const { method, url, headers } = req;
      const body = JSON.stringify({ method, url, headers, text: req.text() });
      return res.send(200, "application/json", body, { "X-Answer": "yes" });
    },
    open(ws) {
      ws.subscribe("all");
      OPEN[ws.data.path]?.(ws);
    },
    message(ws, data) {
      if (data === "close me") ws.close(4002, "as you wish");
      else ws.send(data);
    },
    pong(ws, data) {
      ws.send(`pong ${new TextDecoder().decode(data)}`);
    },
    close(ws, { code, reason }) {
      clearInterval(ws.data.timer);
      server.publish("all", JSON.stringify({ code, reason }));
    },
  };
};

/** Yields `count` pieces of 64 KiB. */
function* pieces(count) {
  for (let i = 0; i < count; i++) yield new Uint8Array(65536).fill(i);
}
