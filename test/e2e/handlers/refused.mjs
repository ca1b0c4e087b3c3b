// Reports failed upgrades, by throwing an error with their data.

export default {
  request: (req, res) => res.upgrade({ data: req.query }),
  close(ws, info) {
    if (ws.data === "first") return;
    throw new Error(`${ws.data} ${info.code} ${info.cause} ${ws.open}`);
  },
};
