// Changes while the server runs: its handler, its limits and times, and those of one WebSocket.

import { type Handler, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  TEXT,
  Wire,
  WsWire,
  closeOf,
  fileUrl,
  handshake,
  reported,
  serving,
  takeAnswer,
  until,
  within,
} from "./peer";
import { portOf } from "../lib/port";

const changes = suite("changes");

const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const versions = (v: string): URL => new URL(`${fileUrl("handlers/versions.mjs").href}?v=${v}`);

async function said(wire: Wire, path = "/"): Promise<string> {
  return (await takeAnswer(wire.write(GET(path)))).body.toString();
}

for (const pool of [undefined, { threads: 2, backlog: 10 }]) {
  changes(`a handler module is swapped, ${pool ? "in a pool" : "inline"}`, () =>
    serving("", { handler: versions("one"), ...(pool ? { pool } : {}) }, async (server, port) => {
      const wire = await Wire.open(port);
      const ws = await WsWire.open(port);
      assert.is(await said(wire), "one");
      assert.is(await ws.text(), "opened by one");
      await server.reload(versions("two"));
      assert.is(await said(wire), "two", "the same connection goes on");
      ws.send(TEXT, "hi");
      assert.is(await ws.text(), "hi to two, opened by one", "open is not called again");
      const bad = await server.reload(versions("bad")).then(
        () => "",
        (error: Error) => error.message,
      );
      assert.match(bad, /a bad module/);
      assert.is(await said(wire), "two", "the handler before stays");
      await server.reload(fileUrl("handlers/versions.mjs"));
      assert.match(await said(wire), /^reload 3$/);
      await server.reload();
      assert.match(await said(wire), /^reload 4$/, "the same module again is imported anew");
      const late = await server.reload({} as Handler).then(
        () => "",
        (error: Error) => `${error.name}: ${error.message}`,
      );
      assert.match(late, /^TypeError: handler: the server's handler is a module/);
      wire.destroy();
      ws.destroy();
    }),
  );
}

changes("a pending request is answered by the handler that received it", () =>
  serving("", { handler: versions("one") }, async (server, port) => {
    const slow = await Wire.open(port);
    slow.write(GET("/later"));
    await until("it is out", async () => (await server.stats()).accepted === 1);
    const other = await Wire.open(port);
    await said(other);
    await server.reload(versions("two"));
    assert.is(await said(other), "two");
    // The module before still has it, and lets it go.
    await server.reload(versions("one"));
    assert.is(await said(other, "/now"), "one");
    slow.destroy();
    other.destroy();
  }),
);

changes("a handler on the application's thread is swapped", () => {
  const make = (name: string): Handler => ({
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "", name)),
    message: (ws, data) => ws.send(`${data} to ${name}`),
  });
  return serving("", { handler: make("one") }, async (server, port) => {
    const wire = await Wire.open(port);
    const ws = await WsWire.open(port);
    assert.is(await said(wire), "one");
    await server.reload(make("two"));
    assert.is(await said(wire), "two");
    ws.send(TEXT, "hi");
    assert.is(await ws.text(), "hi to two");
    await server.reload(() => make("three"));
    assert.is(await said(wire), "three");
    for (const wrong of [versions("one"), undefined]) {
      const error = await server.reload(wrong).then(
        () => undefined,
        (thrown: Error) => thrown,
      );
      assert.instance(error, TypeError);
    }
    assert.is(await said(wire), "three");
    wire.destroy();
    ws.destroy();
  });
});

changes("`configure` changes limits and times; WebSocket limits apply to those opened later", () =>
  serving("", { handler: versions("one"), idleTimeout: 0 }, async (server, port) => {
    const before = await WsWire.open(port);
    await before.text();
    await server.configure({ maxPayloadLength: 125, idleTimeout: 1, sendPings: false });
    const after = await WsWire.open(port);
    await after.text();
    const long = "x".repeat(126);
    before.send(TEXT, long);
    assert.match(await before.text(), /^x{126} to one/);
    after.send(TEXT, long.slice(1));
    assert.match(await after.text(), /^x{125} to one/);
    after.send(TEXT, long);
    assert.is(closeOf(await after.next()).code, 1009);
    const idle = await WsWire.open(port);
    await idle.text();
    await within(idle.gone(), "the idle timeout");
    before.send(TEXT, "still");
    assert.match(await before.text(), /^still to one/);
    // Limits of HTTP hold at once.
    await server.configure({ maxRequestsPerSocket: 1 });
    const wire = await Wire.open(port);
    assert.is((await takeAnswer(wire.write(GET("/")))).fields.get("connection"), "close");
    wire.destroy();
    before.destroy();
    after.destroy();
  }),
);

changes("`configure` refuses wrong or fixed options, and changes nothing then", () =>
  serving("", { handler: versions("one") }, async (server, port) => {
    const refused = async (options: object): Promise<string> =>
      server.configure(options).then(
        () => "",
        (error: Error) => `${error.name}: ${error.message}`,
      );
    assert.match(await refused({ ring: 65536 }), /^TypeError: ring: cannot change while/);
    assert.match(await refused({ nonsense: 1 }), /^TypeError: nonsense: there is no such option/);
    assert.match(
      await refused({ maxRequestsPerSocket: 1, idleTimeout: -1 }),
      /^RangeError: idleTimeout: -1 is not a whole number from 0 to 86400/,
    );
    assert.match(await refused({ maxPayloadLength: 2 ** 31 }), /^RangeError: maxPayloadLength/);
    const wire = await Wire.open(port);
    assert.is((await takeAnswer(wire.write(GET("/")))).fields.get("connection"), "keep-alive");
    wire.destroy();
  }),
);

const placed: readonly [string, object][] = [
  ["inline", { handler: versions("one") }],
  ["in a pool", { handler: versions("one"), pool: { threads: 1, backlog: 4 } }],
  [
    "on the application's thread",
    {
      handler: {
        request: (req, res) =>
          res.upgrade(req.query ? { maxPayloadLength: 5, idleTimeout: 1 } : {}),
        open: (ws) => ws.send("opened"),
        message: (ws, data) => ws.send(data),
      } satisfies Handler,
    },
  ],
];
for (const [where, options] of placed) {
  changes(`an upgrade gives its WebSocket limits of its own, ${where}`, () =>
    serving("", { ...options, sendPings: false }, async (_, port) => {
      const small = await WsWire.open(port, "/?5");
      const usual = await WsWire.open(port);
      const idle = await WsWire.open(port, "/?5");
      for (const ws of [small, usual, idle]) assert.match(await ws.text(), /^opened/);
      small.send(TEXT, "sixsix");
      assert.is(closeOf(await small.next()).code, 1009);
      usual.send(TEXT, "sixsix");
      assert.match(await usual.text(), /^sixsix/);
      await within(idle.gone(), "the idle timeout");
      usual.destroy();
      small.destroy();
    }),
  );
}

changes("`ws.data` is typed through, readable and writable; `each` and `count`", async () => {
  interface User {
    name: string;
    said: number;
  }
  const handler: Handler<User> = {
    request: (req, res) => res.upgrade({ data: { name: req.query, said: 0 } }),
    open: (ws) => ws.send(`hello ${ws.data.name}`),
    message(ws) {
      ws.data.said++;
      ws.send(`${ws.data.name} ${ws.data.said}`);
    },
  };
  const server = await serve<User>({ port: 0, handler });
  const port = portOf(server);
  const wires = [await WsWire.open(port, "/?ann"), await WsWire.open(port, "/?bob")];
  for (const [i, name] of ["ann", "bob"].entries()) {
    assert.is(await wires[i]?.text(), `hello ${name}`);
    wires[i]?.send(TEXT, "x").send(TEXT, "y");
    assert.is(await wires[i]?.text(), `${name} 1`);
    assert.is(await wires[i]?.text(), `${name} 2`);
  }
  const names: string[] = [];
  server.each((ws) => names.push(`${ws.data.name}:${ws.data.said}`));
  assert.equal(names, ["ann:2", "bob:2"]);
  assert.is(await server.count(), 2);
  for (const wire of wires) wire.destroy();
  await server.close();
  await serving("", { handler: versions("one") }, async (module, itsPort) => {
    const ws = await WsWire.open(itsPort);
    await ws.text();
    assert.is(await module.count(), 1);
    assert.throws(() => module.each(() => undefined), /^each: the handler is a module/);
    ws.destroy();
  });
});

for (const where of ["inline", "on the application's thread"]) {
  changes(`\`close\` is called after an upgrade that failed, ${where}`, async () => {
    const lines: string[] = [];
    const handler: Handler = {
      request: (req, res) => res.upgrade({ data: req.query }),
      close: (ws, info) => lines.push(`${ws.data} ${info.code} ${info.cause} ${ws.open}`),
    };
    const options = where === "inline" ? { handler: fileUrl("handlers/refused.mjs") } : { handler };
    const all = { ...options, maxWebSockets: 1, perMessageDeflate: true };
    await serving("", all, async (_, port) => {
      const first = await WsWire.open(port, "/?first");
      const second = await WsWire.open(port, "/?second").then(
        () => "",
        (error: Error) => error.message,
      );
      assert.match(second, /^not upgraded: HTTP\/1.1 503 /);
      const wire = await Wire.open(port);
      wire.write(handshake("/?third", "Sec-WebSocket-Extensions: ;bad\r\n"));
      assert.is((await takeAnswer(wire)).status, 400);
      wire.destroy();
      const expected = ["second 1006 NoRoom false", "third 1006 BadRequest false"];
      if (where === "inline") {
        await until("they are reported", () => reported.length >= 2);
        assert.equal(
          reported.map(({ message }) => message),
          expected,
        );
      } else {
        await until("they are reported", () => lines.length >= 2);
        assert.equal(lines, expected);
      }
      first.destroy();
    });
  });
}

changes("wrong limits of an upgrade are the handler's error", async () => {
  const handler: Handler = {
    request: (req, res) => {
      const [name, value] = req.query.split("=");
      return res.upgrade({ [name as string]: Number(value) });
    },
  };
  await serving("", { handler }, async (_, port) => {
    for (const query of ["idleTimeout=-1", "idleTimeout=86401", "maxPayloadLength=1.5"]) {
      reported.length = 0;
      const error = await WsWire.open(port, `/?${query}`).then(
        () => "",
        (thrown: Error) => thrown.message,
      );
      assert.match(error, /500 Internal/);
      assert.match(reported[0]?.message ?? "", /is not a whole number from 0 to/);
    }
  });
});

changes.run();
