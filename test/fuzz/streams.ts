// WebSocket streams of clients, from seeds: valid ones, ones that are wrong in a property of a frame, and
// ones whose octets are mutated. Messages may be compressed, in every way a compressor may lay out its
// blocks and in some that it may not.

import { constants, type ZlibOptions, deflateRawSync } from "node:zlib";
import { closeFrame, frame } from "../lib/frame";
import { Random } from "../../host/testing/random";
import { mutateOctets } from "./common";

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const PARTS = [
  "a",
  "Grüße ",
  "κόσμε",
  "日本",
  "😀",
  "\u07ff\u0800\uffff\u{10000}\u{10ffff}",
  "\ufeff",
];
/** Overlong forms, surrogates, numbers above U+10FFFF, octets that lead nothing. */
const BAD_UTF8 = [
  ..."c080 c1bf e08080 e09fbf f0808080 f08fbfbf eda080 edbfbf f4908080 f5808080 f8888080".split(
    " ",
  ),
  ..."ff fe 80 bf c2 e282 f09f98 c241 e28241 f09f9841".split(" "),
];
const CODES = [999, 1000, 1003, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999, 5000];

function textOf(random: Random): string {
  let text = "";
  for (let n = random.size(30); n > 0; n--) text += random.pick(PARTS);
  if (random.chance(0.05)) text = text.repeat(random.int(1, 20));
  let octets = Buffer.from(text).toString("latin1");
  if (random.chance(0.1)) {
    const at = random.int(0, octets.length);
    const bad = Buffer.from(random.pick(BAD_UTF8), "hex").toString("latin1");
    octets = octets.slice(0, at) + bad + octets.slice(at);
  }
  return octets;
}

function binaryOf(random: Random): string {
  const edge = random.pick([125, 126, 127, 199, 200, 201, 4096]);
  let length = random.chance(0.8) ? random.size(60) : edge;
  if (random.chance(0.01)) length = random.pick([65535, 65536, 65537, 70000, 70001]);
  return latin(random.bytes(length));
}

/** Draws a frame of a client; `odd` is the chance that one of its properties is wrong. */
function oneFrame(
  opcode: number,
  payload: string,
  final: boolean,
  odd: number,
  random: Random,
  reserved = 0,
): string {
  const wrong = (): boolean => random.chance(odd);
  return latin(
    frame(wrong() ? random.int(0, 15) : opcode, payload, {
      final: final !== wrong(),
      reserved: wrong() ? random.int(1, 7) : reserved,
      masked: !wrong(),
      mask: [...random.bytes(4)],
      ...(wrong() && payload.length < 65536 ? { form: random.pick([2, 8]) } : {}),
      ...(wrong() ? { length: wideLength(random), form: 8 } : {}),
    }),
  );
}

function wideLength(random: Random): bigint {
  return BigInt(random.int(0, 255)) << BigInt(random.int(0, 56));
}

function controlFrame(odd: number, random: Random): string {
  const length = random.chance(odd) ? random.int(126, 130) : random.pick([0, 1, 5, 60, 124, 125]);
  return oneFrame(random.int(9, 10), latin(random.bytes(length)), true, odd, random);
}

function closing(odd: number, random: Random): string {
  if (random.chance(0.2)) return oneFrame(8, "", true, odd, random);
  if (random.chance(odd)) return oneFrame(8, "x", true, odd, random);
  const code = random.chance(0.4) ? random.pick([1000, 1001, 3000, 4000]) : random.pick(CODES);
  const reason = Buffer.from(textOf(random), "latin1").subarray(0, 123);
  const plain = latin(closeFrame(code, reason));
  return random.chance(0.5)
    ? plain
    : oneFrame(8, codeOctets(code) + latin(reason), true, odd, random);
}

const codeOctets = (code: number): string => String.fromCharCode(code >> 8, code & 255);

/** Blocks by hand: stored ones, of whatever lengths. */
function storedBlocks(data: Buffer, random: Random): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < data.length; ) {
    const part = data.subarray(at, at + 1 + random.size(Math.min(65534, data.length)));
    const head = Buffer.alloc(5);
    head.writeUInt16LE(part.length, 1);
    head.writeUInt16LE(part.length ^ 0xffff, 3);
    blocks.push(head, part);
    at += part.length;
  }
  return Buffer.concat(blocks);
}

const STRATEGIES = [
  constants.Z_DEFAULT_STRATEGY,
  constants.Z_FIXED,
  constants.Z_HUFFMAN_ONLY,
  constants.Z_RLE,
];

/** Compresses data into some blocks, up to an octet boundary. The last one may be final. */
function blocks(data: Buffer, before: Buffer, random: Random): Buffer {
  if (random.chance(0.2)) return storedBlocks(data, random);
  const options: ZlibOptions = {
    finishFlush: random.pick([
      constants.Z_SYNC_FLUSH,
      constants.Z_SYNC_FLUSH,
      constants.Z_FULL_FLUSH,
      constants.Z_FINISH,
    ]),
    level: random.int(0, 9),
    windowBits: random.int(9, 15),
    strategy: random.pick(STRATEGIES),
  };
  // Earlier data of the same message may be referred to.
  const known = before.subarray(-(1 << (options.windowBits as number)));
  if (known.length > 0 && random.chance(0.5)) options.dictionary = known;
  return deflateRawSync(data, options);
}

const TAIL = Buffer.from([0, 0, 255, 255]);
/** Invalid deflate: a kind of block that does not exist, lengths that differ, no words, a reference to nothing. */
const BAD_BLOCKS = ["07", "06", "0001000000", "04c0810800000000", "4b04a200", "62ff", "05e0"];

/** Compresses a message's octets. @param earlier a context that the receiver has not kept */
function compress(octets: string, earlier: string, odd: number, random: Random): string {
  const data = Buffer.from(octets, "latin1");
  const parts: Buffer[] = [];
  const pieces = random.chance(0.6) ? 1 : random.int(2, 4);
  for (let i = 0, at = 0; i < pieces; i++) {
    const end = i === pieces - 1 ? data.length : random.int(at, data.length);
    parts.push(blocks(data.subarray(at, end), data.subarray(0, at), random));
    at = end;
  }
  if (random.chance(odd)) parts.push(Buffer.from(random.pick(BAD_BLOCKS), "hex"));
  if (random.chance(odd) && earlier !== "") {
    const dictionary = Buffer.from(earlier, "latin1").subarray(-32768);
    const finishFlush = constants.Z_SYNC_FLUSH;
    parts.push(deflateRawSync(dictionary, { dictionary, finishFlush }));
  }
  let whole = Buffer.concat(parts);
  if (whole.subarray(-4).equals(TAIL)) whole = whole.subarray(0, -4);
  else if (random.chance(0.8)) whole = Buffer.concat([whole, Buffer.alloc(1)]);
  let packed = latin(whole);
  if (random.chance(odd)) packed = packed.slice(0, random.int(0, packed.length));
  if (random.chance(odd)) packed = mutateOctets(packed, random);
  return packed;
}

/** Draws octets that inflate to a multiple of their size. */
function bombOf(random: Random): string {
  return "\0".repeat(random.pick([199, 200, 201, 70000, 70001, 300000]));
}

/** How a stream's messages are made. */
interface Manner {
  /** The chance that a property is wrong. */
  readonly odd: number;
  /** The chance that a message is compressed. */
  readonly packed: number;
  /** The chance that a message takes a buffer of some size. */
  readonly bulky: number;
}

function oneMessage({ odd, packed, bulky }: Manner, earlier: string, random: Random): string {
  const isText = random.chance(0.6);
  const reserved = random.chance(packed) ? 4 : 0;
  let payload = isText ? textOf(random) : binaryOf(random);
  if (random.chance(bulky)) {
    const length = random.int(1000, 5000);
    payload = isText ? "b".repeat(length) : latin(random.bytes(length));
  }
  if (reserved !== 0) {
    if (random.chance(0.02)) payload = bombOf(random);
    payload = compress(payload, earlier, odd * 2, random);
  }
  let stream = "";
  const pieces = random.chance(0.5) ? 1 : random.int(2, 6);
  for (let i = 0; i < pieces; i++) {
    const final = i === pieces - 1;
    const piece = final ? payload : payload.slice(0, random.int(0, payload.length));
    payload = payload.slice(piece.length);
    const opcode = i > 0 ? 0 : isText ? 1 : 2;
    stream += oneFrame(opcode, piece, final, odd, random, i > 0 ? 0 : reserved);
    if (!final && random.chance(0.3)) stream += controlFrame(odd, random);
  }
  return stream;
}

/** Generates a client's octets after its opening handshake, up to the end of the connection. */
export function generate(seed: number): string {
  const random = new Random(seed);
  const odd = random.chance(0.5) ? 0 : 0.03;
  const bulky = random.chance(0.15) ? 0.8 : 0;
  const manner = { odd, packed: random.pick([0, 0, 0.3, 0.9]), bulky };
  let stream = "";
  let last = "";
  for (let n = random.int(1, 6); n > 0; n--) {
    last = random.chance(0.75) ? oneMessage(manner, last, random) : controlFrame(odd, random);
    stream += last;
  }
  if (random.chance(0.4)) {
    stream += closing(odd, random);
    // The server ignores octets after a Close.
    for (let n = random.int(-3, 2); n > 0; n--) stream += oneMessage(manner, "", random);
    if (random.chance(0.1)) stream += latin(random.bytes(random.size(5000)));
  }
  const mutations = random.chance(0.5) ? 0 : random.int(1, 3);
  for (let i = 0; i < mutations; i++) stream = mutateOctets(stream, random);
  return random.chance(0.1) ? stream.slice(0, random.int(0, stream.length)) : stream;
}
