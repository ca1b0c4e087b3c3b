// Publishes a number every 10 ms, from the worker.

export default (server) => {
  let n = 0;
  setInterval(() => server.broadcast(`${n++}`), 10);
  return { request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200)) };
};
