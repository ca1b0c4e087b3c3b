// Upstreams over Node's sockets, TCP and Unix: the events of each connection, and that nothing is left of it.

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Upstream, UpstreamAddress } from "../../worker/net/transport";
import { connectTo } from "../../worker/net/behind/upstream";
import { sleep, standstill, until, within } from "../lib/wait";

const connects = suite("connects");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-connects-"));

/** An upstream that was connected, its events, and the program's side of it. */
interface Connected {
  readonly upstream: Upstream;
  readonly events: string[];
  readonly received: () => Buffer;
  readonly program: () => Promise<net.Socket>;
}

/** Runs a test with a listening program, at each kind of address. */
function both(
  name: string,
  body: (connect: () => Connected, isTcp: boolean) => Promise<void>,
): void {
  for (const kind of ["TCP", "Unix"]) {
    connects(`${name}: ${kind}`, async () => {
      const sockets: net.Socket[] = [];
      const all: net.Socket[] = [];
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on("error", () => undefined);
        sockets.push(socket);
        all.push(socket);
      });
      const file = path.join(folder, "program.sock");
      server.listen(kind === "TCP" ? { port: 0, host: "127.0.0.1" } : { path: file });
      await once(server, "listening");
      const address: UpstreamAddress =
        kind === "TCP"
          ? { host: "127.0.0.1", port: (server.address() as net.AddressInfo).port }
          : { path: file };
      const connect = (): Connected => {
        const events: string[] = [];
        const parts: Uint8Array[] = [];
        const upstream = connectTo(address)({
          opened: () => void events.push("opened"),
          received: (bytes) => void parts.push(bytes),
          written: () => void events.push("written"),
          ended: () => void events.push("ended"),
          lost: (error) => {
            events.push(`lost ${(error as NodeJS.ErrnoException | undefined)?.code ?? ""}`);
          },
        });
        assert.equal(events, [], "nothing within the call");
        const program = async (): Promise<net.Socket> => {
          await until("a connection", () => sockets.length > 0);
          return sockets.shift() as net.Socket;
        };
        return { upstream, events, received: () => Buffer.concat(parts), program };
      };
      try {
        await body(connect, kind === "TCP");
      } finally {
        for (const socket of all) socket.destroy();
        server.close();
        await within(once(server, "close"), "every connection is closed");
      }
    });
  }
}

both("bytes and ends pass both ways", async (connect) => {
  const { upstream, events, received, program } = connect();
  const socket = await program();
  await until("open", () => events.includes("opened"));
  assert.is(upstream.write(Buffer.from("to")), true);
  const [bytes] = (await once(socket, "data")) as [Buffer];
  assert.is(bytes.toString(), "to");
  upstream.end();
  await once(socket, "end");
  socket.end("back");
  await until("the end", () => events.includes("ended"));
  assert.is(received().toString(), "back");
  await until("the close", () => events.length === 3);
  assert.equal(events, ["opened", "ended", "lost "]);
  upstream.destroy();
});

both("a write that is not complete on return is reported once", async (connect) => {
  const { upstream, events, program } = connect();
  const socket = await program();
  await until("open", () => events.length === 1);
  assert.is(upstream.write(Buffer.alloc(32 << 20)), false);
  // It is not complete while the program does not read.
  await sleep(50);
  assert.equal(events, ["opened"]);
  socket.resume();
  await until("written", () => events.length === 2);
  assert.equal(events, ["opened", "written"]);
  upstream.destroy();
});

both("while it is paused little is read", async (connect) => {
  const { upstream, events, received, program } = connect();
  const socket = await program();
  await until("open", () => events.length === 1);
  upstream.pause();
  socket.end(Buffer.alloc(32 << 20));
  const held = await standstill("bytes", () => socket.bytesWritten);
  assert.is(received().length, 0);
  upstream.resume();
  await until("the end", () => events.includes("ended"));
  assert.is(received().length, 32 << 20);
  assert.ok(held <= 32 << 20);
  upstream.destroy();
});

both("a reset by the program is a loss", async (connect, isTcp) => {
  const { upstream, events, program } = connect();
  const socket = await program();
  await until("open", () => events.length === 1);
  if (isTcp) socket.resetAndDestroy();
  else socket.destroy();
  if (!isTcp) upstream.end();
  await until("the loss", () => events.some((event) => event.startsWith("lost")));
  if (isTcp) assert.equal(events, ["opened", "lost ECONNRESET"]);
  upstream.reset();
});

both("reset and destroy close it, and report nothing more", async (connect, isTcp) => {
  for (const how of ["reset", "destroy"] as const) {
    const { upstream, events, program } = connect();
    const socket = await program();
    let code = "";
    socket.on("error", (error: NodeJS.ErrnoException) => {
      code = error.code ?? "";
    });
    socket.resume();
    socket.on("end", () => socket.end());
    await until("open", () => events.length === 1);
    upstream[how]();
    await until("the close", () => socket.closed);
    assert.is(code, how === "reset" && isTcp ? "ECONNRESET" : "");
    assert.is(upstream.write(Buffer.from("x")), false);
    assert.equal(events, ["opened"]);
  }
});

both("a reset after its end, and before it is open, closes it", async (connect) => {
  const early = connect();
  early.upstream.reset();
  const { upstream, events, program } = connect();
  await until("open", () => events.length === 1);
  upstream.end();
  upstream.reset();
  const socket = await program();
  socket.resume();
  assert.equal(early.events, []);
  socket.destroy();
});

connects("an address that refuses, or is not there, is a loss with its code", async () => {
  for (const [address, code] of [
    [{ path: path.join(folder, "none.sock") }, "ENOENT"],
    [{ host: "127.0.0.1", port: 1 }, "ECONNREFUSED"],
  ] as const) {
    const events: string[] = [];
    const note = (what: string) => () => void events.push(what);
    const rest = { opened: note("o"), received: note("r"), written: note("w"), ended: note("e") };
    const upstream = connectTo(address)({
      ...rest,
      lost: (error) => void events.push(String((error as NodeJS.ErrnoException).code)),
    });
    await until("the loss", () => events.length > 0);
    assert.equal(events, [code]);
    upstream.destroy();
  }
});

connects.after(() => rmSync(folder, { recursive: true, force: true }));
connects.run();
