// Mistakes of a handler in the worker, and damage to the engine beside it.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** A module of the handler's own, whose function `f` traps. */
const OWN = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0],
  ...[7, 5, 1, 1, 0x66, 0, 0, 10, 5, 1, 3, 0, 0, 0x0b],
]);

export default (server) => {
  // Users cannot see it: the server that a handler gets is the pump, and the pump has the engine.
  const { engine } = server;
  /** Lets the engine believe that its connections lie beyond its memory. */
  const damage = () => {
    const from = engine.control.byteOffset >>> 2;
    const at = engine.u32.indexOf(engine.slots, from);
    if (at < 0 || at > from + 4096) throw new Error("the engine keeps its slots elsewhere");
    engine.u32[at] = 0xffff0000;
  };
  const faults = {
    "/never": () => new Promise(() => {}),
    "/own-trap": () => new WebAssembly.Instance(new WebAssembly.Module(OWN)).exports.f(),
    /** A trap within the handler's run. */
    "/trap": () => engine.x.checkUtf8(0xffffff00, 64, 0),
    /** A trap that no code catches. */
    "/damage": () => setImmediate(damage),
    /** The same, with a listener that swallows all errors. */
    "/deaf": () => {
      process.on("uncaughtException", () => {});
      setImmediate(damage);
    },
    /** The host's next call finds it. */
    "/stats": () => {
      server.stats = () => engine.x.checkUtf8(0xffffff00, 64, 0);
    },
    "/allocate": () => {
      const all = [];
      for (;;) all.push(new Array(1000).fill({}));
    },
    "/spin": (ms) => {
      const end = Date.now() + ms;
      while (Date.now() < end);
    },
    "/late": sleep,
    "/throw": () => {
      throw new Error("thrown by the handler");
    },
    /** An error of the pump's own: the bytes that it is to write cannot be read. */
    "/pump": () => {
      engine.view = () => {
        throw new Error("within the pump");
      };
    },
    "/exit": (code) => process.exit(code),
  };
  return {
    async request(req, res) {
      if (req.upgrade) return res.upgrade();
      await faults[req.path]?.(Number(req.query));
      return res.send(200, "text/plain", "answered");
    },
    message: (ws, data) => ws.send(data),
  };
};
