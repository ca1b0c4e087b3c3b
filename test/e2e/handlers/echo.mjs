// Accepts every upgrade and echoes every message.

export default {
  request(req, res) {
    return req.upgrade ? res.upgrade() : res.send(200, "text/plain", req.body);
  },
  message(ws, data) {
    ws.send(data);
  },
};
