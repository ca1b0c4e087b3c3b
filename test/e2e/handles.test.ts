// The transport of a server: handles of Node without its streams, or sockets. Handles serve by default, under all flags
// of node that concern undocumented parts, and leave nothing after any kind of end.

import { type SpawnSyncReturns, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import * as http from "node:http";
import type * as net from "node:net";
import * as os from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CERTIFICATE, Wire, WsWire, fileUrl, serving, until, within } from "./peer";

const handles = suite("handles");

handles("serve by default, on TCP and on Unix sockets", async () => {
  await serving("echo", {}, async (server) => {
    assert.is((await server.stats()).transport, "handles");
    assert.match(await server.metrics(), /^ringcast_transport\{name="handles"\} 1$/m);
  });
  const socketPath = path.join(os.tmpdir(), `ringcast-handles-${process.pid}.sock`);
  await serving("echo", { path: socketPath }, async (server) => {
    assert.is((await server.stats()).transport, "handles");
    const status = await new Promise((resolve, reject) => {
      const request = http.request({ socketPath, method: "POST" }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.on("error", reject);
      request.end("unix");
    });
    assert.is(status, 200);
  });
});

handles("are not used where sockets are asked for, and under TLS", async () => {
  await serving("echo", { transport: "sockets" }, async (server) => {
    assert.is((await server.stats()).transport, "sockets");
    assert.match(await server.metrics(), /^ringcast_transport\{name="sockets"\} 1$/m);
  });
  await serving("echo", { tls: CERTIFICATE }, async (server) => {
    assert.is((await server.stats()).transport, "sockets");
  });
});

const PROGRAM = `
import { serve } from "ringcast";
const server = await serve({ port: 0, handler: new URL(${JSON.stringify(fileUrl("handlers/echo.mjs").href)}) });
const response = await fetch("http://127.0.0.1:" + server.address.port, { method: "POST", body: "hello" });
const { transport } = await server.stats();
console.log(await response.text(), transport);
await server.close();
`;

/** Runs node with flags. */
function run(
  flags: readonly string[],
): Promise<Pick<SpawnSyncReturns<string>, "stdout" | "stderr">> {
  const child = spawn(process.execPath, [...flags, "--input-type=module", "-e", PROGRAM], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const all = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (bytes) => {
      all[name] += bytes;
    });
  }
  return within(new Promise((resolve) => child.once("close", () => resolve(all))), "node");
}

for (const flags of [
  ["--pending-deprecation"],
  ["--throw-deprecation"],
  ["--throw-deprecation", "--pending-deprecation"],
  ["--no-deprecation"],
  ["--frozen-intrinsics"],
]) {
  handles(`serve with node ${flags.join(" ")}, and without a warning of theirs`, async () => {
    const { stdout, stderr } = await run(flags);
    assert.is(stdout, "hello handles\n", stderr);
    assert.not.match(stderr, /deprecat|DEP0/i);
  });
}

// Node denies the binding on its main thread alone so far. A unit test denies it.
handles("serve under the permission model, or sockets do where it denies them", async () => {
  const isNew = Number.parseInt(process.versions.node, 10) >= 24;
  const flags = ["--allow-fs-read=*", "--allow-worker", ...(isNew ? ["--allow-net"] : [])];
  const { stdout, stderr } = await run([
    isNew ? "--permission" : "--experimental-permission",
    ...flags.filter((flag) => process.allowedNodeEnvironmentFlags.has(flag.replace(/=.*/, ""))),
  ]);
  assert.match(stdout, /^hello (?:handles|sockets)\n$/, stderr);
});

/** Descriptors of this process, which has the server's. */
const descriptors = (): number => readdirSync("/proc/self/fd").length;

handles("leave no descriptor, however connections end", () =>
  serving("echo", {}, async (server, port) => {
    const request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    const ends: Record<string, () => Promise<net.Socket>> = {
      "a FIN": async () => {
        const { socket } = await Wire.open(port);
        socket.end();
        return socket;
      },
      "a reset": async () => {
        const { socket } = await Wire.open(port);
        socket.resetAndDestroy();
        return socket;
      },
      "a half-close after a request": async () => {
        const { socket } = await Wire.open(port);
        socket.resume();
        socket.end(request);
        return socket;
      },
      "a reset after a request": async () => {
        const { socket } = await Wire.open(port);
        await new Promise((resolve) => socket.write(request, resolve));
        socket.resetAndDestroy();
        return socket;
      },
      "a refused request": async () => {
        const { socket } = await Wire.open(port);
        socket.resume();
        socket.write("?\r\n\r\n");
        return socket;
      },
      "a WebSocket that leaves": async () => {
        const { socket } = await WsWire.open(port);
        socket.destroy();
        return socket;
      },
      "a WebSocket that is closed": async () => {
        const { socket } = await WsWire.open(port);
        socket.resume();
        socket.on("end", () => socket.end());
        socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
        return socket;
      },
    };
    const before = descriptors();
    const { accepted } = await server.stats();
    const clients: net.Socket[] = [];
    for (const end of Object.values(ends)) {
      for (let i = 0; i < 10; i++) clients.push((await end()).on("error", () => undefined));
    }
    await until("the connections to end", async () => {
      const { connections, webSockets } = await server.stats();
      return connections + webSockets === 0;
    });
    for (const client of clients) client.destroy();
    await until("the descriptors to be closed", () => descriptors() <= before);
    assert.is((await server.stats()).accepted, accepted + 10 * Object.keys(ends).length);
  }),
);

handles.run();
