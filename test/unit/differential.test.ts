// The engine beside the `ws` of npm, both as echo servers: from the same octets, cut anywhere, come the same messages,
// pings and close codes, and go the same echoes, pongs and Close. RINGCAST_SEED tries other inputs.
//
// 1. A stream of frames is made from a seed, valid or with one fault in it, and cut at random.
// 2. Both servers read it; everything that each saw and sent becomes a report.
// 3. The reports are compared. Where the two differ on purpose, FAULTS says how and why.

import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type WebSocket, WebSocketServer } from "ws";
import { BINARY, Drive } from "../lib/drive";
import { closeFrame, frame, received } from "../lib/frame";
import { cutRandomly } from "../fuzz/common";
import { Random } from "../../host/testing/random";
import { KEY } from "../lib/handshake";

const differential = suite("differential");
const SECONDS = 1.5;
const seed = Number(process.env.RINGCAST_SEED ?? 1);

/** The same limits on both sides. */
const PAYLOAD_BYTES = 1 << 17;
const FRAGMENTS = 64;

interface Report {
  /** Messages, pings, pongs and the peer's Close, in order. */
  readonly events: string[];
  /** Frames of messages that were sent, in order. */
  readonly echoes: string[];
  readonly pongs: string[];
  /** Code of the Close that was sent; 1005: an empty one, 0: none. */
  code: number;
}

const sum = (data: Uint8Array): string =>
  `${data.length} ${createHash("sha1").update(data).digest("hex")}`;

/**
 * Sees that two reports agree. The engine may answer only the newest of the pings that wait for their pongs
 * (RFC 6455 5.5.3) where `ws` queues them all.
 */
function assertSame(ours: Report, theirs: Report): void {
  assert.equal({ ...ours, pongs: [] }, { ...theirs, pongs: [] });
  assert.is(ours.pongs.at(-1), theirs.pongs.at(-1), "the newest ping is answered");
  let at = 0;
  for (const pong of theirs.pongs) if (pong === ours.pongs[at]) at++;
  assert.is(at, ours.pongs.length, "pongs are those of pings, in order");
}

/** Sorts what a server sent; pongs may overtake echoes. */
function reported(events: string[], sent: Uint8Array): Report {
  const report: Report = { events, echoes: [], pongs: [], code: 0 };
  for (const { final, opcode, payload } of received(sent)) {
    if (report.code !== 0) throw new Error("a frame follows a Close");
    if (opcode === 8) {
      report.code = payload.length === 0 ? 1005 : Buffer.from(payload).readUInt16BE(0);
    } else if (opcode === 10) {
      report.pongs.push(sum(payload));
    } else {
      report.echoes.push(`${opcode} ${final} ${sum(payload)}`);
    }
  }
  return report;
}

// ---- the engine ---------------------------------------------------------------------------------

const drive = new Drive({
  PayloadBytes: PAYLOAD_BYTES,
  Fragments: FRAGMENTS,
  WindowBytes: 65536,
  ScratchBytes: PAYLOAD_BYTES * 2,
  ReceivePoolBytes: 1 << 22,
  ReplyPoolBytes: 1 << 24,
  Backlog: 1 << 23,
});

function byEngine(pieces: readonly Uint8Array[]): Report {
  const events: string[] = [];
  const wire = drive.webSocket();
  wire.log.length = 0;
  drive.message = (_, data, isText) => {
    wire.log[wire.log.length - 1] = `${isText ? "text" : "binary"} ${sum(data)}`;
    wire.push(data, isText ? 0 : BINARY);
  };
  for (const piece of pieces) wire.send(piece);
  for (const line of wire.log) if (!line.startsWith("end ")) events.push(line);
  const report = reported(events, wire.take());
  if (!wire.dead) wire.lose();
  return report;
}

// ---- ws -----------------------------------------------------------------------------------------

/** A socket of `ws`: gets the pieces, keeps what is written. */
class Line extends Duplex {
  readonly sent: Buffer[] = [];
  override _read(): void {}
  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    this.sent.push(bytes);
    done();
  }
}

const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: PAYLOAD_BYTES,
  maxFragments: FRAGMENTS,
});

/** As `Wire.log` tells a control frame. */
function quoted(name: string, data: Buffer): string {
  const text = data.length > 40 ? `(${data.length})` : JSON.stringify(data.toString("latin1"));
  return `${name} ${text}`;
}

async function byWs(pieces: readonly Uint8Array[]): Promise<Report> {
  const events: string[] = [];
  const line = new Line();
  const headers = {
    upgrade: "websocket",
    "sec-websocket-key": KEY,
    "sec-websocket-version": "13",
  };
  const request = { method: "GET", url: "/", headers } as unknown as IncomingMessage;
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    server.handleUpgrade(request, line, Buffer.alloc(0), (ws: WebSocket) => {
      ws.on("message", (data: Buffer, isBinary) => {
        events.push(`${isBinary ? "binary" : "text"} ${sum(data)}`);
        ws.send(data, { binary: isBinary });
      });
      ws.on("ping", (data) => events.push(quoted("ping", data)));
      ws.on("pong", (data) => events.push(quoted("pong", data)));
      // A fault: the Close that is sent tells its code.
      ws.on("error", () => undefined);
      ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
  });
  // Copies: it unmasks in place.
  for (const piece of pieces) line.push(Buffer.from(piece));
  // An end that comes before all is read would be a FIN instead of the Close that reports a fault.
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 3 || line.readableLength > 0; i++) await turn();
  line.push(null);
  const { code, reason } = await closed;
  const sent = Buffer.concat(line.sent);
  const report = reported(events, sent.subarray(sent.indexOf("\r\n\r\n") + 4));
  if (code !== 1006) events.push(`peer close ${code} ${JSON.stringify(reason)}`);
  return report;
}

// ---- streams ------------------------------------------------------------------------------------

const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000];
const CODES = [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999];

/** Returns text of `size` octets. */
function textOf(size: number, random: Random): Uint8Array {
  const character = random.pick(["a", "é", "€", "語", "𝄞", "\0", "\u{10ffff}"]);
  const text = character.repeat(Math.floor(size / Buffer.byteLength(character)));
  return Buffer.from(text + "x".repeat(size - Buffer.byteLength(text)));
}

function controlFrame(random: Random): Uint8Array {
  const size = random.pick([0, 1, 40, 41, 125]);
  return frame(random.pick([9, 10]), random.bytes(size), { mask: [...random.bytes(4)] });
}

/** Returns one message, in frames with control frames between them. */
function messageFrames(random: Random): Uint8Array[] {
  const opcode = random.pick([1, 2]);
  const size = random.chance(0.4) ? random.pick(SIZES) : random.size(70000);
  const payload = opcode === 1 ? textOf(size, random) : random.bytes(size);
  const count = random.chance(0.5) ? 1 : random.int(2, 12);
  const cuts = Array.from({ length: count - 1 }, () => random.int(0, payload.length));
  const bounds = [0, ...cuts.sort((a, b) => a - b), payload.length];
  const frames: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    if (random.chance(0.2)) frames.push(controlFrame(random));
    const part = payload.subarray(bounds[i], bounds[i + 1]);
    const mask = random.chance(0.1) ? [0, 0, 0, 0] : [...random.bytes(4)];
    frames.push(frame(i === 0 ? opcode : 0, part, { final: i === count - 1, mask }));
  }
  return frames;
}

function someFrames(random: Random): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let i = random.int(0, 5); i > 0; i--) frames.push(...messageFrames(random));
  if (random.chance(0.3)) frames.push(controlFrame(random));
  return frames;
}

/** Cuts frames at random, as read from a socket. */
function pieced(frames: readonly Uint8Array[], random: Random): Uint8Array[] {
  const octets = Buffer.concat(frames);
  if (random.chance(0.2)) return [octets];
  if (octets.length > 20000) {
    const size = random.pick([1000, 4096, 65536]);
    const count = Math.ceil(octets.length / size);
    return Array.from({ length: count }, (_, i) => octets.subarray(i * size, (i + 1) * size));
  }
  return cutRandomly(octets.toString("latin1"), random).map((text) => Buffer.from(text, "latin1"));
}

/** Runs streams from `seed` on for a while. @throws with the seed of the first that differs */
async function forAWhile(check: (random: Random) => Promise<void>): Promise<number> {
  const until = Date.now() + SECONDS * 1000;
  let at = seed;
  for (; at === seed || Date.now() < until; at++) {
    try {
      await check(new Random(at));
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${at}: ${error.message}`;
      throw error;
    }
  }
  return at - seed;
}

differential("valid streams: the same messages, pings, close codes and answers", async () => {
  console.log(`seed ${seed}, ${SECONDS} s`);
  let octets = 0;
  const count = await forAWhile(async (random) => {
    const frames = someFrames(random);
    if (random.chance(0.6)) {
      const reason = Buffer.from(random.pick(["", "bye", "grün €", "r".repeat(31)]));
      frames.push(random.chance(0.2) ? frame(8) : closeFrame(random.pick(CODES), reason));
      // Both servers stop reading here.
      if (random.chance(0.3)) frames.push(...someFrames(random));
    }
    const pieces = pieced(frames, random);
    for (const piece of pieces) octets += piece.length;
    assertSame(byEngine(pieces), await byWs(pieces));
  });
  console.log(`${count} streams, ${octets} octets`);
});

// ---- faults -------------------------------------------------------------------------------------

interface Fault {
  readonly name: string;
  readonly octets: Uint8Array;
  /** Code of the Close of the engine. */
  readonly code: number;
  /** The one of `ws`, when it is another; 0: the connection stays open. */
  readonly ws?: { readonly code: number; readonly why: string };
}

const all = (...frames: Uint8Array[]): Uint8Array => Buffer.concat(frames);
const more = (opcode: number, payload: string): Uint8Array =>
  frame(opcode, payload, { final: false });
const anyLength = "RFC 6455 5.2 wants the shortest form of a length; ws takes any";
const whenWhole = "ws looks at a text when it is whole; the engine at each octet (RFC 6455 8.1)";

const FAULTS: readonly Fault[] = [
  { name: "no mask", octets: frame(1, "x", { masked: false }), code: 1002 },
  ...[1, 2, 3, 4, 7].map((reserved) => ({
    name: `reserved bits ${reserved}`,
    octets: frame(2, "x", { reserved }),
    code: 1002,
  })),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => ({
    name: `opcode ${opcode}`,
    octets: frame(opcode, "x"),
    code: 1002,
  })),
  { name: "a continuation of nothing", octets: frame(0, "x"), code: 1002 },
  { name: "a message within one", octets: all(more(1, "a"), frame(1, "b")), code: 1002 },
  { name: "a ping in fragments", octets: more(9, "p"), code: 1002 },
  { name: "a Close in fragments", octets: more(8, ""), code: 1002 },
  { name: "a ping of 126", octets: frame(9, "p".repeat(126)), code: 1002 },
  { name: "a Close of one octet", octets: frame(8, "\x03"), code: 1002 },
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map((code) => ({
    name: `a Close with ${code}`,
    octets: closeFrame(code),
    code: 1002,
  })),
  { name: "a reason that is no UTF-8", octets: closeFrame(1000, "\xff"), code: 1007 },
  { name: "a text that is no UTF-8", octets: frame(1, "ab\xc0\xafcd"), code: 1007 },
  { name: "a text that is cut", octets: frame(1, "ab\xe2\x82"), code: 1007 },
  { name: "a surrogate", octets: all(more(1, "\xed"), frame(0, "\xa0\x80")), code: 1007 },
  {
    name: "a text with more to come that is no UTF-8",
    octets: more(1, "ab\xff"),
    code: 1007,
    ws: { code: 0, why: whenWhole },
  },
  {
    name: "a frame larger than a message may be",
    octets: frame(2, "", { length: BigInt(PAYLOAD_BYTES + 1) }),
    code: 1009,
  },
  {
    name: "a message larger than it may be",
    octets: all(more(2, "x".repeat(PAYLOAD_BYTES)), frame(0, "x")),
    code: 1009,
  },
  {
    name: "more fragments than there may be",
    octets: all(more(2, ""), ...Array.from({ length: FRAGMENTS }, () => more(0, "x"))),
    code: 1008,
  },
  ...[2, 8].map((form) => ({
    name: `a length of 5 in ${form} octets`,
    octets: frame(1, "Hello", { form }),
    code: 1002,
    ws: { code: 0, why: anyLength },
  })),
  {
    name: "a length of 1000 in 8 octets",
    octets: frame(2, "x".repeat(1000), { form: 8 }),
    code: 1002,
    ws: { code: 0, why: anyLength },
  },
  {
    name: "a length with the highest bit",
    octets: frame(2, "", { length: 1n << 63n }),
    code: 1002,
    ws: {
      code: 1009,
      why: "not a large length but none at all (RFC 6455 5.2); ws finds it too large",
    },
  },
];

for (const { name, octets, code, ws } of FAULTS) {
  const outcome = ws
    ? ws.code === 0
      ? "by the engine alone"
      : `with ${ws.code} by ws`
    : "by both";
  differential(`${name} is refused with ${code} ${outcome}`, async () => {
    for (let at = 0; at < 8; at++) {
      const random = new Random(seed + at);
      // Whole messages come before; octets after it are not read.
      const before = someFrames(random);
      const pieces = pieced([...before, octets, frame(9, "behind")], random);
      const ours = byEngine(pieces);
      const theirs = await byWs(pieces);
      assert.is(ours.code, code, `seed ${seed + at}`);
      assert.is(theirs.code, ws?.code ?? code, `seed ${seed + at}`);
      assert.not.ok(ours.events.includes('ping "behind"'), "what follows a fault is not read");
      if (ws?.code === 0) {
        assert.ok(theirs.events.includes('ping "behind"'), ws.why);
        assert.equal(theirs.events.slice(0, ours.events.length), ours.events);
      } else {
        assertSame(ours, { ...theirs, code });
      }
    }
  });
}

differential.after(() => {
  drive.end();
  server.close();
});

differential.run();
