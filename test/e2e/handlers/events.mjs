// Event streams: at any path, with the topic that the query names. For every place.

const PAGE = `<!doctype html><link rel="icon" href="data:,"><title>events</title>`;

let closes = 0;

/** @type {import("ringcast").Handler} */
export default {
  request(req, res) {
    if (req.path === "/") return res.send(200, "text/html", PAGE);
    if (req.path === "/gone") return res.send(204);
    // A client that was closed comes back, and stays away after 204.
    if (req.path === "/closes" && closes++ > 0) return res.send(204);
    if (req.path === "/throws") throw new Error("as asked");
    const topics = req.query === "" ? [] : [req.query];
    return res.events({ data: { path: req.path }, topics });
  },
  open(ws) {
    if (ws.data.path === "/closes") return void ws.close(4001, "enough");
    ws.send(`${ws.kind} ${ws.data.path}\nwelcome`);
  },
};
