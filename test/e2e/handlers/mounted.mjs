// The handler of a mount: it says that it is one.

export default {
  request(req, res) {
    if (req.upgrade) res.upgrade();
    else res.send(200, "text/plain", `mounted ${req.method} ${req.path} ${req.text()}`);
  },
  message(ws, data) {
    ws.send(`mounted ${data}`);
  },
};
