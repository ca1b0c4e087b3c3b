// The main handler of a server whose subprotocols have modules. It gives WebSockets to modules by name, too.

const cyclic = {};
cyclic.self = cyclic;

/** Upgrades whose arguments are wrong, or right only where nothing leaves the thread. */
const data = {
  none: undefined,
  plain: { user: "ada", list: [1, null, { deep: "é\n" }] },
  date: new Date(0),
  map: new Map([["a", 1]]),
  function: () => 1,
  cyclic,
  large: "x".repeat(70000),
  nan: { n: Number.NaN },
};

export default {
  request(req, res) {
    if (!req.upgrade) return res.send(200, "text/plain", "main");
    const query = new URLSearchParams(req.query);
    const options = {};
    if (query.has("handler")) options.handler = query.get("handler");
    if (query.has("protocol")) options.protocol = query.get("protocol");
    if (query.has("data")) options.data = data[query.get("data")];
    if (query.has("large")) options.maxPayloadLength = 2 ** 31;
    try {
      return res.upgrade(options);
    } catch (error) {
      return res.send(422, "text/plain", `${error.name}: ${error.message}`);
    }
  },
  open: (ws) => void ws.send(`main opens ${ws.protocol} ${JSON.stringify(ws.data)}`),
  message: (ws, data) => void ws.send(`main got ${data}`),
  protocol: (req) => (req.path === "/chosen" ? req.protocols.at(-1) : undefined),
};
