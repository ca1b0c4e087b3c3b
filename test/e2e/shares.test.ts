// Clients that send little which takes long: each has its share of the worker's loop, and no more.

import { deflateRawSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { PING, TEXT, Wire, WsWire, clientFrame, serving, within } from "./peer";

const shares = suite("shares");
/** Of each client, all at once: a third of a second of the worker's time. */
const COUNT = 12000;
const CLIENTS = 3;
/** ms: half of what a client that is let in between waits, at most. */
const LATE = 50;

/** How long a ping takes while something goes on, ms, in order. */
async function timesOf(port: number, work: Promise<unknown>): Promise<number[]> {
  const ws = await WsWire.open(port);
  const times: number[] = [];
  let isOver = false;
  const over = work.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const began = performance.now();
    ws.send(PING);
    await ws.next();
    times.push(performance.now() - began);
  }
  await over;
  ws.destroy();
  return times.sort((a, b) => a - b);
}

async function askMuch(port: number): Promise<void> {
  const wire = await Wire.open(port);
  const asked = Array.from({ length: COUNT }, (_, i) => `GET /?${i} HTTP/1.1\r\nHost: a\r\n\r\n`);
  wire.write(`${asked.join("")}GET /?end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  const text = (await wire.takeAll()).toString("latin1");
  const bodies = text.split("\r\n\r\n").slice(1);
  assert.is(bodies.length, COUNT + 1);
  for (const [i, body] of bodies.entries()) {
    assert.ok(body.startsWith(i === COUNT ? "end" : `${i}HTTP/1.1 200 `), `answer ${i}: ${body}`);
  }
  wire.destroy();
}

async function sayMuch(port: number, message: Uint8Array): Promise<void> {
  const fields = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
  const ws = await WsWire.open(port, "/", undefined, fields);
  ws.socket.write(Buffer.concat(new Array<Uint8Array>(COUNT).fill(message)));
  ws.send(TEXT, "end");
  assert.is(await ws.text(), String(COUNT));
  ws.destroy();
}

/** "x", compressed (RFC 7692 7.2.1). */
function packed(): Buffer {
  const frame = clientFrame(TEXT, deflateRawSync("x"));
  frame[0] = 0x40 | (frame[0] as number);
  return frame;
}

for (const [name, flood] of [
  ["requests", askMuch],
  ["messages", (port) => sayMuch(port, clientFrame(TEXT, "x"))],
  ["compressed messages", (port) => sayMuch(port, packed())],
] as const satisfies readonly (readonly [string, (port: number) => Promise<void>])[]) {
  shares(`many small ${name} whose handler takes long keep nobody waiting`, async () => {
    await serving("costly", { perMessageDeflate: true }, async (server, port) => {
      const work = Promise.all(Array.from({ length: CLIENTS }, () => flood(port)));
      const times = await within(timesOf(port, work), name, 60000);
      const median = times[times.length >> 1] as number;
      console.log(
        `\n  ${name}: ${times.length} pings, half of them within ${median.toFixed(1)} ms`,
      );
      assert.ok(median < LATE, `half of ${times.length} pings took longer than ${median} ms`);
      assert.is((await server.stats()).handlerErrors, 0);
    });
  });
}

shares.run();
