// Answers with the certificate that the client has shown.

export default {
  request: (req, res) =>
    req.upgrade
      ? res.upgrade({ data: req.peerCertificate })
      : res.send(200, "application/json", JSON.stringify(req.peerCertificate ?? null)),
  open: (ws) => ws.send(JSON.stringify(ws.data ?? null)),
  message: (ws, data) => ws.send(data),
};
