// Responses of every form, each at a path of its own.

const large = "x".repeat(200000);

export default (server) => {
  const body = server.body("fixed", "text/plain");
  return {
    request(req, res) {
      if (req.upgrade) return req.path === "/denied" ? res.send(401) : res.upgrade();
      switch (req.path) {
        case "/text":
          return res.send(200, "text/plain", "hello\n");
        case "/large":
          return res.send(200, "text/plain", large);
        case "/static":
          return res.static(body);
        case "/pieces":
          res.begin(200, "text/plain");
          res.write("a");
          return res.end();
        case "/known":
          res.header("Content-Length", 4).begin(200, "text/plain");
          res.write("four");
          return res.end();
        case "/throw":
          throw new Error("thrown");
        default:
          return res.send(204);
      }
    },
  };
};
