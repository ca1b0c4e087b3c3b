// Counts the pieces of each message and says so at its end; "slow" pauses at every piece.

import { createHash } from "node:crypto";

export default {
  request: (req, res) => (req.upgrade ? res.upgrade({ data: req.path }) : res.send(404)),
  fragment(ws, data, info) {
    if (info.first) {
      ws.state = { pieces: 0, bytes: 0, hash: createHash("sha1"), wrong: false };
    }
    const { state } = ws;
    state.pieces++;
    state.bytes += data.length;
    state.hash.update(data);
    if (ws.data === "/slow") {
      ws.pause();
      setTimeout(() => ws.resume(), 1);
    }
    if (!info.last) return;
    const { pieces, bytes } = state;
    const sum = state.hash.digest("hex");
    ws.send(JSON.stringify({ pieces, bytes, sum, isBinary: info.isBinary, left: info.remaining }));
  },
};
