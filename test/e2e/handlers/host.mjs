// Says which module handles a request or WebSocket, by the name in its own URL: a parameter, or part of the file's.

const { searchParams, pathname } = new URL(import.meta.url);
const name = searchParams.get("name") ?? /-(\w+)\.mjs$/.exec(pathname)?.[1] ?? "main";

export default {
  streams: Object.assign((req) => req.path === "/streamed", { optional: true }),
  async request(req, res) {
    if (req.upgrade) return res.upgrade({ data: req.path });
    const body = req.method === "POST" ? (await req.collect()).length : 0;
    const client = req.peerCertificate?.subject.CN ?? "";
    return res.json({ module: name, host: req.host, secure: req.secure, body, client });
  },
  open: (ws) => ws.send(`${name} opens ${ws.data}`),
  message(ws, data) {
    if (data === "close") ws.close(4000, name);
    else ws.send(`${name} got ${data}`);
  },
};
