// Answers late, sends to clients that it says goodbye to, and dies on request.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default {
  async request(req, res) {
    if (req.upgrade) return res.upgrade();
    const ms = Number(req.query);
    switch (req.path) {
      case "/exit":
        return process.exit(ms);
      case "/spin":
        for (;;);
      default:
        await sleep(ms);
    }
    res.send(200, "text/plain", `after ${ms}`);
  },
  message: (ws, data) => ws.send(data),
  shutdown: (ws) => ws.send("goodbye"),
};
