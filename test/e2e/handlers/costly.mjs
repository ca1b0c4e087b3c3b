// Each request and each message takes 30 µs. A WebSocket that says "end" receives the number of messages it sent.

function spin() {
  const end = performance.now() + 0.03;
  while (performance.now() < end);
}

export default {
  request(req, res) {
    if (req.upgrade) return res.upgrade({ data: { messages: 0 } });
    spin();
    return res.send(200, "text/plain", req.query);
  },
  message(ws, data) {
    if (data === "end") {
      ws.send(String(ws.data.messages));
      return;
    }
    spin();
    ws.data.messages++;
  },
};
