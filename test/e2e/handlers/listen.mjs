// Answers with what a request says about its listener.

export default {
  streams: Object.assign((req) => req.path === "/streamed", { optional: true }),
  request: (req, res) =>
    req.upgrade
      ? res.upgrade({ data: req.secure })
      : res.json({ secure: req.secure, address: req.remoteAddress, path: req.path }),
  message: (ws) => ws.send(`${ws.data}`),
};
