// A server that takes the place of another: on a listening socket that both were given, and with clients that are sent
// over one after the other.

import { closeSync, openSync, renameSync, rmSync } from "node:fs";
import {
  type AddressInfo,
  type Server as NetServer,
  type Socket,
  connect,
  createServer,
} from "node:net";
import os from "node:os";
import path from "node:path";
import * as tls from "node:tls";
import { type Options, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Child } from "./child";
import {
  CERTIFICATE,
  Wire,
  WsWire,
  closeOf,
  fileUrl,
  serving,
  sleep,
  takeAnswer,
  until,
  within,
} from "./peer";

const restart = suite("restart");

const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/** Returns a listening socket that accepts nothing here once it is closed, and its descriptor. */
async function listening(where: string | number = 0): Promise<{ server: NetServer; fd: number }> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    if (typeof where === "string") server.listen(where, resolve);
    else server.listen(where, "127.0.0.1", resolve);
  });
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  return { server, fd };
}

/** Starts children that have the descriptor; this process has it no more. */
async function children(names: readonly string[]) {
  const { server, fd } = await listening();
  const { port } = server.address() as AddressInfo;
  const all = names.map((name) => new Child("restart", { args: [name], fds: [fd] }));
  await new Promise((resolve) => void server.close(resolve));
  return { all, port };
}

async function said(port: number): Promise<string> {
  const wire = await Wire.open(port);
  try {
    return (await takeAnswer(wire.write(GET))).body.toString();
  } finally {
    wire.destroy();
  }
}

restart(
  "a server listens on a socket it was given; earlier clients wait in the kernel",
  async () => {
    const { all, port } = await children(["first"]);
    const [child] = all as [Child];
    try {
      // No process accepts yet.
      const early = await Promise.all(Array.from({ length: 20 }, () => Wire.open(port)));
      for (const wire of early) wire.write(GET);
      child.tell({ order: "serve" });
      assert.equal(await child.next(20000), { hostname: "127.0.0.1", port });
      for (const wire of early) assert.is((await takeAnswer(wire)).body.toString(), "first");
      child.tell({ order: "shutdown" });
      assert.is(await within(child.ended, "its end"), 0, child.errors);
    } finally {
      child.end();
    }
  },
);

restart(
  "one server takes over from another: no client is refused, no message is missed",
  async () => {
    const { all, port } = await children(["first", "second"]);
    const [first, second] = all as [Child, Child];
    try {
      first.tell({ order: "serve" });
      await first.next(20000);
      const clients = await Promise.all(Array.from({ length: 40 }, () => WsWire.open(port)));
      for (const ws of clients) assert.is(await ws.text(), "first");
      second.tell({ order: "serve" });
      await second.next(20000);
      const drainMs = 1500;
      first.tell({ order: "shutdown", options: { drainMs } });
      const start = performance.now();
      // Clients come back as they are sent away.
      const moved = clients.map(async (ws) => {
        assert.is(closeOf(await ws.next()).code, 1012);
        const at = performance.now() - start;
        ws.send(8, Buffer.from([3, 244]));
        await ws.gone();
        const again = await WsWire.open(port);
        assert.is(await again.text(), "second");
        again.destroy();
        return at;
      });
      let asked = 0;
      const asking = (async () => {
        while (performance.now() - start < drainMs) {
          assert.match(await said(port), /^(first|second)$/);
          asked++;
          // The pace of a client.
          await sleep(5);
        }
      })();
      const times = await within(Promise.all(moved), "all have moved");
      await asking;
      assert.is(await within(first.ended, "its end"), 0, first.errors);
      for (let i = 0; i < 10; i++) assert.is(await said(port), "second");
      const early = times.filter((at) => at < drainMs / 2).length;
      assert.ok(early > 10 && early < 30, `${early} of 40 in the first half`);
      console.log(
        `moved over: 40 clients in ${Math.max(...times).toFixed(0)} ms, ${asked} requests meanwhile`,
      );
      second.tell({ order: "shutdown" });
      assert.is(await within(second.ended, "its end"), 0, second.errors);
    } finally {
      for (const child of all) child.end();
    }
  },
);

/** Returns a server's response over a stream. */
function answered(socket: Socket): Promise<string> {
  const answer = new Promise<string>((resolve, reject) => {
    socket.on("error", reject);
    socket.on("data", (bytes) => resolve(String(bytes)));
    socket.write(GET);
  });
  return within(answer, "an answer").finally(() => socket.destroy());
}

restart("a Unix socket that was given is served", async () => {
  const file = path.join(os.tmpdir(), `ringcast-${process.pid}-given`);
  const { server, fd } = await listening(file);
  const child = new Child("restart", { args: ["unix"], fds: [fd] });
  try {
    // The process that closes it removes its name.
    renameSync(file, `${file}-still`);
    await new Promise((resolve) => void server.close(resolve));
    child.tell({ order: "serve" });
    assert.equal(await child.next(20000), { hostname: "", path: "" });
    assert.match(await answered(connect(`${file}-still`)), /^HTTP\/1\.1 200 .*unix$/s);
  } finally {
    child.end();
    rmSync(`${file}-still`);
  }
});

restart("TLS is served on a socket that was given", async () => {
  const { all, port } = await children(["secure"]);
  const [child] = all as [Child];
  try {
    child.tell({ order: "serve", options: { tls: CERTIFICATE } });
    await child.next(20000);
    const socket = tls.connect({ port, host: "127.0.0.1", ca: CERTIFICATE.cert });
    assert.match(await answered(socket), /^HTTP\/1\.1 200 .*secure$/s);
  } finally {
    child.end();
  }
});

restart("a descriptor serves one server of a process at a time, whatever its thread", async () => {
  const { server, fd } = await listening();
  const child = new Child("descriptor", { fds: [fd] });
  server.close();
  try {
    const { refusals, answers } = await child.next<{
      refusals: [string, string][];
      answers: string[];
    }>(20000);
    assert.equal(answers, Array(4).fill("first"));
    const refusal = ["EADDRINUSE", "fd: 4 is used by another server of this process: EADDRINUSE"];
    assert.equal(refusals, Array(4).fill(refusal));
    assert.is(await within(child.ended, "it exits by itself"), 0, child.errors);
  } finally {
    child.end();
  }
});

restart("a descriptor of no listening socket is an error that names it", async () => {
  const file = openSync("package.json", "r");
  const pair = await listening();
  const { port } = pair.server.address() as AddressInfo;
  const client = await Wire.open(port);
  const { fd } = (client.socket as unknown as { _handle: { fd: number } })._handle;
  const cases: readonly [Options, RegExp][] = [
    [{ fd: file }, new RegExp(`^fd: ${file} is not a listening socket: `)],
    [{ fd: 99999 }, /^fd: 99999 is not a listening socket: /],
    [{ fd }, new RegExp(`^fd: ${fd} is not a listening socket: `)],
    [{ fd: -1 }, /^fd: -1 is not a whole number from 0 to 2147483647$/],
    [{ fd: 1.5 }, /^fd: 1\.5 is not a whole number/],
    [{ fd: "3" } as never, /^fd: "3" is not a number$/],
    [{ fd: 3, path: "/tmp/a" }, /^fd: 3 and path "\/tmp\/a" exclude each other$/],
  ];
  for (const [options, message] of cases) {
    const error = await within(
      serve(options).then(
        () => new Error("it started"),
        (thrown: Error) => thrown,
      ),
      "serve",
    );
    assert.match(error.message, message);
    if (/listening/.test(error.message)) assert.is((error as { code?: string }).code, "EINVAL");
  }
  closeSync(file);
  client.destroy();
  pair.server.close();
});

const goodbye = fileUrl("handlers/lifecycle.mjs");
const PLACES: readonly [string, Options][] = [
  ["in the worker", { handler: goodbye }],
  ["with a pool", { handler: goodbye, pool: { threads: 1 } }],
  [
    "on the application's thread",
    {
      handler: {
        request: (_, res) => res.upgrade(),
        message: (ws, data) => ws.send(data),
        shutdown: (ws) => ws.send("goodbye"),
      },
    },
  ],
];

for (const [where, options] of PLACES) {
  restart(`clients of a handler ${where} are closed one after the other, served until then`, () =>
    serving("", options, async (server, port) => {
      const clients = await Promise.all(Array.from({ length: 50 }, () => WsWire.open(port)));
      const drainMs = 2000;
      const start = performance.now();
      const ended = server.shutdown({ drainMs, timeout: 5000 });
      const closed: number[] = [];
      const gone = clients.map(async (ws) => {
        const texts: string[] = [];
        for (;;) {
          const frame = await ws.next();
          if (frame.opcode === 8) {
            assert.is(closeOf(frame).code, 1012);
            closed.push(performance.now() - start);
            ws.send(8, frame.payload);
            await ws.gone();
            return texts;
          }
          texts.push(frame.payload.toString());
        }
      });
      await until("the tenth", () => closed.length >= 10);
      assert.is(await Wire.open(port).catch(() => "nobody listens"), "nobody listens");
      const before = closed.length;
      assert.ok(server.broadcast("in the middle"));
      const texts = await within(Promise.all(gone), "all are closed");
      await within(ended, "the shutdown");
      await within(server.finished, "finished");
      for (const all of texts) {
        assert.is(all.at(-1), "goodbye");
        assert.ok(all.length <= 2, all.join());
      }
      // However late this thread is, the pauses between them are the server's own.
      const late = texts.filter((all) => all.includes("in the middle")).length;
      assert.ok(late >= 1 && late <= 50 - before, `${late} got what was sent after ${before}`);
      const took = Math.max(...closed) - Math.min(...closed);
      assert.ok(took >= drainMs / 2, `all within ${took} ms`);
      assert.is(server.broadcast("too late"), false);
    }),
  );
}

restart.run();
