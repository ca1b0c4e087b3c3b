// WebSocket streams against the slow decoder of decoder.ts: fed to the engine alone, in every way a
// stream may be cut, and to whole servers (session.ts).

import { Drive, type Wire } from "../lib/drive";
import { lines, received } from "../lib/frame";
import { Random } from "../../host/testing/random";
import { type Fuzzed, type Span, cutRandomly, escaped, fuzz } from "./common";
import { type Decoded, type Happened, type Rules, decode } from "./decoder";
import { SESSIONS, Sessions } from "./session";
import { generate } from "./streams";

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Throws the differences between a wire's result and the expected one. */
function compare(wire: Wire, log: readonly Happened[], expected: Decoded): void {
  const differ = (what: string, got: unknown, wanted: unknown): void => {
    if (JSON.stringify(got) === JSON.stringify(wanted)) return;
    throw new Error(`${what}: got ${JSON.stringify(got)}\nexpected ${JSON.stringify(wanted)}`);
  };
  differ("log", log, expected.events);
  const messages = expected.messages.map(({ octets }) => octets);
  differ("messages", wire.messages.map(latin), messages);
  const out = received(wire.out);
  const pongs = out.filter(({ opcode }) => opcode === 10).map(({ payload }) => latin(payload));
  differ("pongs", pongs, expected.pings);
  const closes = lines(wire.out).filter((line) => line.startsWith("close"));
  const { code } = expected;
  const close = code === 1005 ? "close" : `close ${code} ${expected.text}`.trimEnd();
  differ("close frames", closes, code === 0 ? [] : [close]);
  differ("frames", out.length, pongs.length + closes.length);
  if (closes.length > 0) differ("the last frame", out.at(-1)?.opcode, 8);
  wire.finish();
  if (!wire.dead) throw new Error(`does not end: ${wire.log.join(", ")}`);
  differ("reason", wire.log.at(-1), `closed ${expected.reason || "PeerEnded"}`);
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

const SIZES: readonly (Rules & { readonly WindowBytes: number })[] = [
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

/**
 * Streams from a seed on, for a while.
 * @throws Error at the first difference between server and decoder
 */
export function fuzzWs(span: Span): Fuzzed {
  const subjects = [
    ...SIZES.map((limits) => new Subject(limits)),
    ...SESSIONS.map((rules) => new Sessions(rules)),
  ];
  const ends: Record<string, number> = {};
  const inputs = fuzz("ws", span, generate, (input) => {
    for (const subject of subjects) {
      const end = decode(input, subject.limits).reason || "open";
      ends[end] = (ends[end] ?? 0) + 1;
      const difference = subject.judge(input);
      if (difference !== "") return difference;
    }
    return "";
  });
  return { inputs, ends };
}
