// A module of a subprotocol, named by a parameter of its URL. With `decides` it decides about upgrades by the path.

const { searchParams } = new URL(import.meta.url);
const name = searchParams.get("name");

/** Names of the members that were called, with their WebSockets' data. */
const log = [];

function shown(value) {
  try {
    return JSON.stringify(value);
  } catch (error) {
    return error.name;
  }
}

const decision = {
  request(req, res) {
    if (req.path === "/no") return res.send(403, "text/plain", `${name} refuses`);
    if (req.path === "/throw") throw new Error(`${name} throws`);
    if (req.path === "/other") return res.upgrade({ handler: "plain", data: "moved" });
    return res.upgrade({ data: req.path });
  },
};

export default (server) => ({
  ...(searchParams.has("decides") ? decision : {}),
  open: (ws) => void ws.send(`${name} opens ${ws.protocol} ${shown(ws.data)}`),
  async message(ws, data) {
    if (data === "log") return void ws.send(JSON.stringify(log.splice(0)));
    if (data === "close") return void ws.close(4000, name);
    if (data === "fail") throw new Error(`${name} fails`);
    if (data === "all") return void server.broadcast(`from ${name}`);
    return void ws.send(`${name} got ${data}`);
  },
  close: (ws, { code, cause }) => void log.push(`close ${shown(ws.data)} ${code} ${cause}`),
});
