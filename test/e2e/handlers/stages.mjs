// A handler that answers with staged bytes, and upgrades with or without compression.

const ways = {
  text: (stage) => stage.text("staged ").text(7),
  bytes: (stage) => stage.bytes(Uint8Array.of(0xff, 0, 0xfe)),
  empty: (stage) => stage,
  large: (stage) => stage.text("x".repeat(300_000)),
  overflown: (stage) => stage.text("x".repeat(2_000_000)),
};

/** Returns the outcome of a call. */
function outcome(fn) {
  try {
    return String(fn());
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

export default (server) => {
  /** Outcome of the last stage. */
  let last = "";
  return {
    async request(req, res) {
      if (req.upgrade) return res.upgrade(req.query === "plain" ? { compress: false } : {});
      if (req.path === "/last") return res.send(200, "text/plain", last);
      const stage = ways[req.query](server.stage());
      if (req.path === "/later") await new Promise((resolve) => setTimeout(resolve, 5));
      last = outcome(() => res.send(200, "text/plain", stage, { "x-staged": "yes" }));
      last += ` ${stage.length} ${outcome(() => stage.text("more").length)}`;
      if (!res.sent) res.send(500, "text/plain", last);
    },
    message: (ws, data) => ws.send(data),
  };
};
