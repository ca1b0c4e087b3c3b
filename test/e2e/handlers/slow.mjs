// Content for slow clients: a response of 10 MB, the same as a stream, an upload, a WebSocket.

const BYTES = 1e7;
const PIECE = 62500;

function* pieces() {
  for (let sent = 0; sent < BYTES; sent += PIECE) yield new Uint8Array(PIECE);
}

export default {
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    if (req.path === "/stream") return res.stream(200, "", pieces());
    if (req.method === "GET") return res.send(200, "", new Uint8Array(BYTES));
    return res.send(200, "", String(req.body.length));
  },
};
