// WebSocket frames against a slow decoder written from RFC 6455 5 and 7.4. The decoder takes the
// whole stream, and tells for everything that happens, failures included, at which octet it is
// certain: fed octet by octet, the engine must say the same at the same octet.
//
// What is certain when: a reserved bit, an opcode, its place and its FIN at the first octet of a
// head; the mask bit and a control frame's length at the second; an extended length when it is
// whole; the number of fragments when the head is whole; text at each octet; a Close when it is
// whole.

import { Drive, type Wire } from "../drive";
import { closeFrame, frame, lines, received } from "../frame";
import { Random } from "../random";
import { type Fuzzed, type Span, cutRandomly, escaped, fuzz, mutateOctets } from "./common";

interface Limits {
  readonly PayloadBytes: number;
  readonly Fragments: number;
}

interface Happened {
  /** The octet, from 0, with which it did. */
  readonly at: number;
  /** As `Wire.log` tells it. */
  readonly line: string;
}

interface Decoded {
  readonly events: readonly Happened[];
  readonly messages: readonly string[];
  readonly pings: readonly string[];
  /** Code of the Close that the server sends; 0: none, 1005: an empty one. */
  readonly code: number;
}

// ---- the model --------------------------------------------------------------------------------

/** Thrown by the model at the octet with which the stream has failed, or closed. */
class Ended extends Error {
  readonly reason: string;
  readonly code: number;
  constructor(reason: string, code: number) {
    super(reason);
    this.reason = reason;
    this.code = code;
  }
}

/** The input ended: no more octets. */
class More extends Error {}

/**
 * True when octets can begin a UTF-8 text: each sequence but the last whole, the last one
 * completable. The numbers that a lead octet and some of those behind it can still become are one
 * interval; it must meet those that have this length and are no surrogates (RFC 3629 3, 4).
 * @param whole nothing may be missing
 */
function isUtf8(text: string, whole: boolean): boolean {
  for (let at = 0; at < text.length; ) {
    const lead = text.charCodeAt(at);
    const length = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length === 0 || lead >= 0xf8) return false;
    const octets = Array.from(text.slice(at, at + length), (c) => c.charCodeAt(0));
    if (octets.slice(1).some((octet) => octet >> 6 !== 2)) return false;
    const missing = length - octets.length;
    if (missing > 0 && whole) return false;
    let value = length === 1 ? lead : lead & (0x7f >> length);
    for (const octet of octets.slice(1)) value = value * 64 + (octet & 63);
    const low = value * 64 ** missing;
    const high = low + 64 ** missing - 1;
    const least = [0, 0, 0x80, 0x800, 0x10000][length] as number;
    if (high < least || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff)) return false;
    at += length;
  }
  return true;
}

/** Codes that an endpoint may send: RFC 6455 7.4 and the IANA registry of close codes. */
function isCloseCode(code: number): boolean {
  const registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
  return registered.includes(code) || (code >= 3000 && code <= 4999);
}

function quote(octets: string, isText: boolean): string {
  const bytes = Buffer.from(octets, "latin1");
  if (bytes.length > 40) return `(${bytes.length})`;
  return JSON.stringify(isText ? bytes.toString("utf8") : octets);
}

/** What is to be made of a stream of octets. */
export function decode(input: string, limits: Limits): Decoded {
  const events: Happened[] = [];
  const messages: string[] = [];
  const pings: string[] = [];
  let at = 0;
  let code = 0;
  const tell = (line: string): void => {
    events.push({ at: at - 1, line });
  };
  const octet = (): number => {
    if (at === input.length) throw new More();
    return input.charCodeAt(at++);
  };
  const number = (octets: number): bigint => {
    let value = 0n;
    for (let i = 0; i < octets; i++) value = value * 256n + BigInt(octet());
    return value;
  };
  // The message under way: its opcode, 0 when there is none.
  let opcode = 0;
  let message = "";
  let fragments = 0;

  const oneFrame = (): void => {
    const first = octet();
    const kind = first & 15;
    const final = first >= 128;
    if (first & 0x70) throw new Ended("WsReservedBits", 1002);
    if (![0, 1, 2, 8, 9, 10].includes(kind)) throw new Ended("WsUnknownOpcode", 1002);
    if (kind >= 8 && !final) throw new Ended("WsFragmentedControl", 1002);
    if (kind === 0 && opcode === 0) throw new Ended("WsExpectedText", 1002);
    if ((kind === 1 || kind === 2) && opcode !== 0) throw new Ended("WsExpectedCont", 1002);
    const second = octet();
    if (second < 128) throw new Ended("WsBadMask", 1002);
    let length = BigInt(second & 127);
    if (kind >= 8 && length > 125n) throw new Ended("WsControlFrameTooLarge", 1002);
    if (kind === 8 && length === 1n) throw new Ended("WsBadClosePayload", 1002);
    if (length === 126n) {
      length = number(2);
      if (length < 126n) throw new Ended("WsBadLength", 1002);
    } else if (length === 127n) {
      // The octet that proves it is the first of eight, or the sixth.
      const high = number(1);
      if (high >= 128n) throw new Ended("WsBadLength", 1002);
      const upper = high * 256n ** 5n + number(5);
      if (upper === 0n) throw new Ended("WsBadLength", 1002);
      length = upper * 65536n + number(2);
    }
    if (kind < 8) {
      const limit = BigInt(limits.PayloadBytes);
      if (length > limit) throw new Ended("WsOversizeFrame", 1009);
      if (length + BigInt(message.length) > limit) throw new Ended("WsMessageTooLarge", 1009);
    }
    const mask = [octet(), octet(), octet(), octet()];
    if (kind < 8) {
      fragments++;
      if (fragments > limits.Fragments) throw new Ended("WsTooManyFragments", 1008);
      if (kind !== 0) opcode = kind;
    }
    let payload = "";
    // Only what follows the last whole character is looked at again.
    let checked = message.length;
    while (
      checked > 0 &&
      !isUtf8(message.slice(0, checked), true) &&
      checked > message.length - 3
    ) {
      checked--;
    }
    for (let i = 0; i < Number(length); i++) {
      const plain = octet() ^ (mask[i % 4] as number);
      payload += String.fromCharCode(plain);
      if (kind >= 8 || opcode !== 1) continue;
      const tail = (message + payload).slice(checked);
      if (!isUtf8(tail, false)) throw new Ended("WsBadUtf8", 1007);
      if (isUtf8(tail, true)) checked = message.length + payload.length;
    }
    if (kind === 8) {
      const told =
        payload.length === 0 ? 1005 : payload.charCodeAt(0) * 256 + payload.charCodeAt(1);
      const valid = payload.length === 0 || (payload.length >= 2 && isCloseCode(told));
      if (!valid) throw new Ended("WsBadClosePayload", 1002);
      if (!isUtf8(payload.slice(2), true)) throw new Ended("WsBadUtf8", 1007);
      tell(`peer close ${told} ${quote(payload.slice(2), true)}`);
      throw new Ended("PeerClosed", told);
    }
    if (kind === 9) pings.push(payload);
    if (kind >= 9) {
      tell(`${kind === 9 ? "ping" : "pong"} ${quote(payload, false)}`);
      return;
    }
    message += payload;
    if (!final) return;
    if (opcode === 1 && !isUtf8(message, true)) throw new Ended("WsBadUtf8", 1007);
    tell(`${opcode === 1 ? "text" : "binary"} ${quote(message, opcode === 1)}`);
    messages.push(message);
    opcode = 0;
    message = "";
    fragments = 0;
  };

  try {
    for (;;) oneFrame();
  } catch (error) {
    if (error instanceof Ended) {
      tell(`end ${error.reason}`);
      code = error.code;
    } else if (!(error instanceof More)) {
      throw error;
    }
  }
  return { events, messages, pings, code };
}

// ---- the engine -------------------------------------------------------------------------------

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Throws what differs between a wire that is fed and what should have come of it. */
function compare(wire: Wire, log: readonly Happened[], expected: Decoded): void {
  const differ = (what: string, got: unknown, wanted: unknown): void => {
    if (JSON.stringify(got) === JSON.stringify(wanted)) return;
    throw new Error(`${what}: got ${JSON.stringify(got)}\nexpected ${JSON.stringify(wanted)}`);
  };
  differ("log", log, expected.events);
  differ("messages", wire.messages.map(latin), expected.messages);
  const out = received(wire.out);
  const pongs = out.filter(({ opcode }) => opcode === 10).map(({ payload }) => latin(payload));
  differ("pongs", pongs, expected.pings);
  const closes = lines(wire.out).filter((line) => line.startsWith("close"));
  const { code } = expected;
  differ("close frames", closes, code === 0 ? [] : [code === 1005 ? "close" : `close ${code}`]);
  differ("frames", out.length, pongs.length + closes.length);
  if (closes.length > 0) differ("the last frame", out.at(-1)?.opcode, 8);
  wire.finish();
  if (!wire.dead) throw new Error(`does not end: ${wire.log.join(", ")}`);
  const ended = expected.events.at(-1)?.line ?? "";
  differ("reason", wire.log.at(-1), `closed ${/^end (.*)/.exec(ended)?.[1] ?? "PeerEnded"}`);
  // RFC 6455 7.1.5: the code that came, else the one with which it failed, else 1006.
  differ("code", wire.code, code === 0 ? 1006 : code);
}

const positionless = (events: readonly Happened[]): Happened[] =>
  events.map(({ line }) => ({ at: 0, line }));

/** Feeds the same stream to several wires, piece by piece in turn. */
function feed(
  drive: Drive,
  inputs: readonly string[][],
  expected: Decoded,
  held: Random | undefined,
): void {
  const wires = inputs.map(() => drive.webSocket());
  const longest = Math.max(...inputs.map((pieces) => pieces.length));
  for (const wire of wires) wire.log.length = 0;
  for (let i = 0; i < longest; i++) {
    wires.forEach((wire, w) => {
      if (held?.chance(0.3)) drive.hold(wire, !wire.held);
      const piece = inputs[w]?.[i];
      if (piece !== undefined) wire.send(piece);
    });
  }
  for (const wire of wires) {
    if (wire.held) drive.hold(wire, false);
    compare(wire, positionless(wire.log.map((line) => ({ at: 0, line }))), {
      ...expected,
      events: positionless(expected.events),
    });
  }
}

/** Feeds octet by octet, and sees with which octet each thing happens. */
function feedOctets(drive: Drive, input: string, expected: Decoded): void {
  const wire = drive.webSocket();
  wire.log.length = 0;
  const log: Happened[] = [];
  for (let at = 0; at < input.length; at++) {
    wire.send(input[at] as string);
    for (const line of wire.log.splice(0)) log.push({ at, line });
  }
  compare(wire, log, expected);
}

const SIZES: readonly (Limits & { readonly WindowBytes: number })[] = [
  { PayloadBytes: 70000, Fragments: 50, WindowBytes: 4096 },
  { PayloadBytes: 200, Fragments: 4, WindowBytes: 512 },
];

type Size = (typeof SIZES)[number];

class Subject {
  readonly limits: Size;
  #drive: Drive | undefined;

  constructor(limits: Size) {
    this.limits = limits;
  }

  #use(run: (drive: Drive) => void): string {
    try {
      this.#drive ??= new Drive({ ...this.limits, ReceivePoolBytes: 1 << 20, RingBytes: 1 << 17 });
      run(this.#drive);
      this.#drive.end();
      return "";
    } catch (error) {
      this.#drive = undefined;
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
  }

  /**
   * Feeds a stream in several ways.
   * @returns what differs from the model; empty when nothing does
   */
  judge(input: string): string {
    const expected = decode(input, this.limits);
    const random = new Random(input.length);
    const limits = JSON.stringify(this.limits);
    const bytewise = this.#use((drive) => feedOctets(drive, input, expected));
    if (bytewise !== "") return `${limits}\noctet by octet: ${bytewise}`;
    const cut = (): string[] => cutRandomly(input, random);
    for (const inputs of [[[input]], [cut()], [cut(), cut(), cut()], [cut(), cut()]]) {
      const held = inputs.length === 2 ? random : undefined;
      const failure = this.#use((drive) => feed(drive, inputs, expected, held));
      if (failure === "") continue;
      const pieces = inputs.map((one) => one.map(escaped).join(" ")).join("\n  and ");
      return `${limits}\n${held ? "held: " : "cut: "}${pieces.slice(0, 2000)}\n${failure}`;
    }
    return "";
  }
}

// ---- streams ----------------------------------------------------------------------------------

const PARTS = [
  "a",
  "Grüße ",
  "κόσμε",
  "日本",
  "😀",
  "\u07ff\u0800\uffff\u{10000}\u{10ffff}",
  "\ufeff",
];
/** Overlong forms, surrogates, what is above U+10FFFF, octets that lead nothing. */
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

/** A frame of a client; `odd` is the chance that one of its properties is wrong. */
function oneFrame(
  opcode: number,
  payload: string,
  final: boolean,
  odd: number,
  random: Random,
): string {
  const wrong = (): boolean => random.chance(odd);
  return latin(
    frame(wrong() ? random.int(0, 15) : opcode, payload, {
      final: final === wrong() ? 0 : 1,
      reserved: wrong() ? random.int(1, 7) : 0,
      masked: wrong() ? 0 : 1,
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

function oneMessage(odd: number, random: Random): string {
  const isText = random.chance(0.6);
  let payload = isText ? textOf(random) : binaryOf(random);
  let stream = "";
  const pieces = random.chance(0.5) ? 1 : random.int(2, 6);
  for (let i = 0; i < pieces; i++) {
    const final = i === pieces - 1;
    const piece = final ? payload : payload.slice(0, random.int(0, payload.length));
    payload = payload.slice(piece.length);
    stream += oneFrame(i > 0 ? 0 : isText ? 1 : 2, piece, final, odd, random);
    if (!final && random.chance(0.3)) stream += controlFrame(odd, random);
  }
  return stream;
}

function generate(seed: number): string {
  const random = new Random(seed);
  const odd = random.chance(0.5) ? 0 : 0.03;
  let stream = "";
  for (let n = random.int(1, 6); n > 0; n--) {
    stream += random.chance(0.75) ? oneMessage(odd, random) : controlFrame(odd, random);
  }
  if (random.chance(0.4)) stream += closing(odd, random);
  if (random.chance(0.1)) stream += oneMessage(odd, random);
  const mutations = random.chance(0.5) ? 0 : random.int(1, 3);
  for (let i = 0; i < mutations; i++) stream = mutateOctets(stream, random);
  return random.chance(0.1) ? stream.slice(0, random.int(0, stream.length)) : stream;
}

/**
 * Streams from a seed on, for a while.
 * @throws Error at the first difference between engine and model
 */
export function fuzzWs(span: Span): Fuzzed {
  const subjects = SIZES.map((limits) => new Subject(limits));
  const ends: Record<string, number> = {};
  const inputs = fuzz("ws", span, generate, (input) => {
    for (const subject of subjects) {
      const last = decode(input, subject.limits).events.at(-1)?.line ?? "";
      const end = /^end (.*)/.exec(last)?.[1] ?? "open";
      ends[end] = (ends[end] ?? 0) + 1;
      const difference = subject.judge(input);
      if (difference !== "") return difference;
    }
    return "";
  });
  return { inputs, ends };
}
