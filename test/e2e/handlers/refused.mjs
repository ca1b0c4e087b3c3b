// Tells of upgrades that failed by throwing what it knows.

export default {
  request: (req, res) => res.upgrade({ data: req.query }),
  close(ws, info) {
    if (ws.data === "first") return;
    throw new Error(`${ws.data} ${info.code} ${info.cause} ${ws.open}`);
  },
};
