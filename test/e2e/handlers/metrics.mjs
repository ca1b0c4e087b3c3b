// Counts its requests, fails when asked to, and gives the metrics that its server gives it.

let requests = 0;

export default (server) => ({
  async request(req, res) {
    if (req.upgrade) return res.upgrade();
    requests++;
    if (req.path === "/throw") throw new Error("thrown on purpose");
    if (req.path === "/own") return res.send(200, "text/plain", await server.metrics());
    return res.send(200, "text/plain", String(requests));
  },
});
