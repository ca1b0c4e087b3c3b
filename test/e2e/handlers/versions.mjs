// Says which version of itself it is: the text after "v=" in its URL, or how often it was imported.

const url = new URL(import.meta.url);
const version = url.searchParams.get("v") ?? `reload ${url.searchParams.get("reload") ?? 0}`;
if (version === "bad") throw new Error("a bad module");

let held;

export default {
  async request(req, res) {
    if (req.upgrade) {
      const limit = Number(req.query || "NaN");
      return res.upgrade({
        data: { version },
        ...(limit ? { maxPayloadLength: limit, idleTimeout: 1 } : {}),
      });
    }
    if (req.path === "/later") {
      await new Promise((resolve) => {
        held = resolve;
      });
    } else if (req.path === "/now") {
      held?.();
    }
    return res.send(200, "text/plain", version);
  },
  open(ws) {
    ws.send(`opened by ${version}`);
  },
  message(ws, data) {
    ws.send(`${data} to ${version}, opened by ${ws.data.version}`);
  },
};
