// Answers that come piece by piece.

const left = [];

export default (server) => ({
  async request(req, res) {
    const { path } = req;
    const n = Number(req.query || 3);
    switch (path) {
      case "/pieces": {
        res.begin(200, "text/plain");
        for (let i = 0; i < n; i++) {
          while (!res.sent && !res.write(`piece ${i}\n`)) await res.ready();
        }
        return res.end();
      }
      case "/iterable":
        return res.stream(
          200,
          "text/plain",
          (function* () {
            for (let i = 0; i < n; i++) yield new Uint8Array(100000).fill(65 + (i % 26));
          })(),
        );
      case "/throws":
        return res.stream(
          200,
          "text/plain",
          (async function* () {
            yield "one";
            await new Promise((resolve) => setTimeout(resolve, 20));
            throw new Error("as asked");
          })(),
        );
      case "/forever":
        return res.stream(
          200,
          "text/plain",
          (async function* () {
            try {
              for (;;) {
                yield "x".repeat(50000);
                await new Promise((resolve) => setImmediate(resolve));
              }
            } finally {
              left.push(path);
            }
          })(),
        );
      case "/left":
        return res.send(200, "application/json", JSON.stringify({ left, stats: server.stats() }));
      case "/empty":
        res.begin(204);
        return res.end();
      default:
        return res.send(404);
    }
  },
});
