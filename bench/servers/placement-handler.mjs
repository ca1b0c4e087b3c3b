// What each placement runs: a short answer that depends on the request.

export default {
  request: (req, res) => res.send(200, "text/plain", `hello ${req.path}\n`),
};
