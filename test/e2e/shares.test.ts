// Clients that send little which takes long: each has its share of the worker's loop, and no more.

import { deflateRawSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { PING, TEXT, Wire, WsWire, clientFrame, serving, within } from "./peer";

const shares = suite("shares");
/** Of all clients together: a second of the worker's time. */
const ALL = 36000;
/** ms: most that the median wait may be for a client that is let in between. */
const LATE = 100;
/** ms: longer than any wait. */
const LONGEST = 1000;

/** Returns how long pings take while something runs, ms, in order. */
async function timesOf(port: number, work: () => Promise<unknown>): Promise<number[]> {
  const ws = await WsWire.open(port);
  const times: number[] = [];
  let isOver = false;
  const over = work().finally(() => {
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

async function askMuch(port: number, count: number): Promise<void> {
  const wire = await Wire.open(port);
  const asked = Array.from({ length: count }, (_, i) => `GET /?${i} HTTP/1.1\r\nHost: a\r\n\r\n`);
  wire.write(`${asked.join("")}GET /?end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  const text = (await wire.takeAll()).toString("latin1");
  const bodies = text.split("\r\n\r\n").slice(1);
  assert.is(bodies.length, count + 1);
  for (const [i, body] of bodies.entries()) {
    assert.ok(body.startsWith(i === count ? "end" : `${i}HTTP/1.1 200 `), `answer ${i}: ${body}`);
  }
  wire.destroy();
}

async function sayMuch(port: number, count: number, message: Uint8Array): Promise<void> {
  const fields = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
  const ws = await WsWire.open(port, "/", undefined, fields);
  ws.socket.write(Buffer.concat(new Array<Uint8Array>(count).fill(message)));
  ws.send(TEXT, "end");
  assert.is(await ws.text(), String(count));
  ws.destroy();
}

/** Returns "x", compressed (RFC 7692 7.2.1). */
function packed(): Buffer {
  const frame = clientFrame(TEXT, deflateRawSync("x"));
  frame[0] = 0x40 | (frame[0] as number);
  return frame;
}

const plain = clientFrame(TEXT, "x");
for (const [name, clients, flood] of [
  ["requests", 3, askMuch],
  ["messages", 3, (port, count) => sayMuch(port, count, plain)],
  ["compressed messages", 3, (port, count) => sayMuch(port, count, packed())],
  ["requests of many clients", 60, askMuch],
  ["messages of many clients", 60, (port, count) => sayMuch(port, count, plain)],
] as const satisfies readonly (readonly [
  string,
  number,
  (port: number, count: number) => Promise<void>,
])[]) {
  shares(`many small ${name} whose handler takes long delay no other client`, async () => {
    await serving("costly", { perMessageDeflate: true }, async (server, port) => {
      const each = Array.from({ length: clients }, () => ALL / clients);
      const work = () => Promise.all(each.map((count) => flood(port, count)));
      const times = await within(timesOf(port, work), name, 60000);
      const [median = 0, longest = 0] = [times[times.length >> 1], times.at(-1)];
      const seen = `${times.length} pings: ${median.toFixed(1)} ms, at most ${longest.toFixed(1)}`;
      console.log(`\n  ${name}: ${seen}`);
      assert.ok(median < LATE && longest < LONGEST, seen);
      assert.is((await server.stats()).handlerErrors, 0);
    });
  });
}

shares.run();
