// A handler of tests that ends its thread when it is asked to.

export default {
  request(req, res) {
    if (req.path === "/thread") return res.send(200, "text/plain", `thread ${req.query}`);
    if (req.path === "/empty") return res.send(404);
    if (req.path === "/exit") process.exit(3);
    return res.send(200, "text/plain", "hello\n");
  },
};
