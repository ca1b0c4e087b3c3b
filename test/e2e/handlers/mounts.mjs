// Answers with the path that reached it. `/login` lets files of the mount /private through.

export default {
  request(req, res) {
    if (req.path === "/login") {
      const target = new URLSearchParams(req.query).get("to") ?? "/private/a.txt";
      res.header("X-User", "ann").header("Cache-Control", "private");
      res.header("Vary", "Cookie").header("ETag", '"mine"');
      res.pass(target);
      return;
    }
    if (req.upgrade) res.upgrade();
    else res.send(200, "text/plain", `handler ${req.method} ${req.path}`);
  },
  message(ws, data) {
    ws.send(`handler ${data}`);
  },
};
