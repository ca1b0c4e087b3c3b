// Chooses subprotocols: the one that the field X-Choose names; for "bad" one that was never offered.

export default {
  request(req, res) {
    return req.upgrade ? res.upgrade() : res.send(200, "text/plain", "plain");
  },
  protocol(req) {
    if (req.header("x-choose") === "bad") return "never offered";
    return req.protocols.find((name) => name === req.header("x-choose"));
  },
};
