// Clients that download one file at a time and check each byte of it, in a process of their own: its arguments are a
// port, a path, the length of the file and the number of connections. The file repeats the digits 0 to f.

import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { start } from "./child.mjs";
import { LOAD_CORE } from "./servers.mjs";
import { cpuOf } from "./usage.mjs";

const SELF = fileURLToPath(import.meta.url);
const PATTERN = Buffer.alloc(65536 + 16, "0123456789abcdef");

/** Downloads a file, and checks its bytes. @throws {Error} when they are not the right ones */
async function take(port, path, bytes) {
  const socket = connect(port, "127.0.0.1");
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
  let head = Buffer.alloc(0);
  let received = -1;
  for await (let piece of socket) {
    if (received < 0) {
      head = Buffer.concat([head, piece]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) continue;
      const fields = head.latin1Slice(0, end + 2);
      const length = Number(/^content-length: (\d+)\r$/im.exec(fields)?.[1]);
      if (!fields.startsWith("HTTP/1.1 200 ") || length !== bytes)
        throw new Error(`wrong answer: ${fields}`);
      piece = head.subarray(end + 4);
      received = 0;
    }
    const at = received % 16;
    for (let from = 0; from < piece.length; from += 65536) {
      const part = piece.subarray(from, from + 65536);
      if (part.compare(PATTERN, at, at + part.length) !== 0)
        throw new Error(`wrong bytes at ${received + from}`);
    }
    received += piece.length;
    if (received >= bytes) break;
  }
  socket.destroy();
  if (received !== bytes) throw new Error(`${received} bytes of ${bytes}`);
}

/**
 * Downloads a file over some connections at a time, in another process.
 * @param {{ child: import("./child.mjs").Child, port: number }} server
 * @param {{ path: string, bytes: number, connections: number }} job
 * @throws {Error} when not every byte was the right one
 */
export async function download({ child, port }, { path, bytes, connections }) {
  const before = cpuOf(child.pid);
  const args = [SELF, port, path, bytes, connections].map(String);
  const clients = start(LOAD_CORE, [process.execPath, ...args]);
  const [printed] = await Promise.all([text(clients.stdout), once(clients, "close")]);
  const after = cpuOf(child.pid);
  const [, micros, loadMicros] = /^downloaded (\d+) (\d+)$/m.exec(printed) ?? [];
  if (micros === undefined) throw new Error(`${child.name}: the clients failed: ${printed}`);
  const cpu = after.all - before.all;
  const all = bytes * connections;
  return {
    rate: (connections / Number(micros)) * 1e6,
    bytesPerSecond: (all / Number(micros)) * 1e6,
    serverNanos: (cpu / connections) * 1e3,
    kibNanos: (cpu / (all / 1024)) * 1e3,
    serverShare: cpu / Number(micros),
    loadShare: Number(loadMicros) / Number(micros),
    p99: Number.NaN,
  };
}

if (process.argv[1] === SELF) {
  const [, , port, path, bytes, connections] = process.argv;
  const began = performance.now();
  const { user, system } = process.cpuUsage();
  const all = Array.from({ length: Number(connections) }, () =>
    take(Number(port), path, Number(bytes)),
  );
  await Promise.all(all);
  const used = process.cpuUsage();
  const micros = Math.round((performance.now() - began) * 1000);
  console.log(`downloaded ${micros} ${used.user - user + used.system - system}`);
}
