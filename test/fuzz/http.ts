// HTTP/1.1 requests against a slow model. The model holds the whole input as one text, takes it
// apart with regular expressions from the grammars of RFC 9110 and 9112, and knows nothing of
// pieces: so whatever the split, the engine must come to the same.
//
// The octets of the input are the characters of a string, as Latin-1.

import { isIPv6 } from "node:net";
import { Arrival, CloseReason, Trait } from "../../assembly/abi";
import { type Asked, Drive, type Wire } from "../lib/drive";
import { upgradeFields } from "../lib/handshake";
import { type ServerResponse, fieldOf, responseHead, serverResponse } from "../lib/response";
import { Random } from "../../host/testing/random";
import { type Fuzzed, type Span, cutRandomly, escaped, fuzz, mutateOctets } from "./common";

interface Limits {
  readonly HeadBytes: number;
  readonly Headers: number;
  readonly TargetBytes: number;
  readonly BodyBytes: number;
}

/** How an input ends: with a refusal's status, or one of the others. "foreign": it need not be HTTP, and is not. */
type End = number | "last" | "clean" | "cut" | "foreign";

interface Outcome {
  /** The requests, a line each. */
  readonly asked: readonly string[];
  readonly end: End;
  /** Heads whose clients wait for a 100 (RFC 9110 10.1.1). */
  readonly waits: number;
}

// ---- the model --------------------------------------------------------------------------------

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const HOST_NAME = "(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+";
const IP_LITERAL = "\\[([0-9A-Fa-f:.]+)\\]";
const HOST = `(?:${IP_LITERAL}|${HOST_NAME})(?::(\\d*))?`;

const REQUEST_LINE = new RegExp(`^(${TOKEN}) ([\\x21-\\x7e]+) HTTP/(\\d)\\.(\\d)$`);
const FIELD = new RegExp(`^(${TOKEN}):[ \\t]*([^]*?)[ \\t]*$`);
const ABSOLUTE = new RegExp(`^(?:https?|wss?)://(${HOST})(?:[/?#].*)?$`, "i");
const HOST_VALUE = new RegExp(`^${HOST}$`);
const QUOTED = '"(?:[^"\\\\]|\\\\[^])*"';
const EXTENSION = `[ \\t]*;[ \\t]*${TOKEN}(?:[ \\t]*=[ \\t]*(?:${TOKEN}|${QUOTED}))?`;
const CHUNK = new RegExp(`^([0-9A-Fa-f]+)(?:${EXTENSION})*$`);
/** The longest start of a size line. The octet after it is allowed in no size line. */
const CHUNK_START = new RegExp(
  `^[0-9A-Fa-f]+(?:${EXTENSION})*` +
    `(?:[ \\t]*(?:;[ \\t]*(?:${TOKEN}[ \\t]*(?:=[ \\t]*(?:"(?:[^"\\\\]|\\\\[^])*\\\\?)?)?)?)?)?`,
);
const TRAILER_START = new RegExp(`^(?:${TOKEN}(?::[^]*)?)?`);
const PARAMETER = `[ \\t]*;[ \\t]*${TOKEN}[ \\t]*=[ \\t]*(?:${TOKEN}|${QUOTED})`;
const CODING = new RegExp(`^[ \\t]*(?:(${TOKEN})((?:${PARAMETER})*))?[ \\t]*(?:,|$)`);
const KEY = /^[A-Za-z0-9+/]{22}==$/;

/** IANA HTTP Method Registry without CONNECT, which a server of resources does not implement; and some in use. */
const METHODS = (
  "GET HEAD POST PUT DELETE OPTIONS PATCH TRACE ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY " +
  "LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH " +
  "PROPFIND PROPPATCH QUERY REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE " +
  "UPDATEREDIRECTREF VERSION-CONTROL M-SEARCH NOTIFY PURGE SOURCE SUBSCRIBE UNSUBSCRIBE"
).split(" ");

/** Octets of a chunk's size line. */
const CHUNK_LINE = 1024;
/** Octets that a request line has room for beside its target. */
const LINE_ROOM = 64;
/** Octets of a method. */
const METHOD_ROOM = 32;

/** Thrown by the model: the input is refused, or ends too early. */
class Ended extends Error {
  readonly end: End;
  constructor(end: End) {
    super(String(end));
    this.end = end;
  }
}

/** The input, and how far it has been read. */
class Reader {
  readonly text: string;
  at = 0;

  constructor(text: string) {
    this.text = text;
  }

  /**
   * A line up to CR LF: no other control octet but HTAB (RFC 9112 2.2, RFC 9110 5.5).
   * @param judge sees the octets up to the first control octet, and may refuse
   */
  line(judge: (octets: string) => void, partial: (octets: string) => void = () => {}): string {
    const rest = this.text.slice(this.at);
    const octets = (/^[\t\x20-\x7e\x80-\xff]*/.exec(rest) as RegExpExecArray)[0];
    const after = rest.slice(octets.length, octets.length + 2);
    judge(octets);
    if (after === "" || after === "\r") {
      partial(octets);
      throw new Ended("cut");
    }
    if (after !== "\r\n") throw new Ended(400);
    this.at += octets.length + 2;
    return octets;
  }
}

/** Returns the elements of a comma-separated list without the empty ones (RFC 9110 5.6.1). */
function listOf(value: string): string[] {
  const words = value.split(",").map((word) => word.replace(/^[ \t]+|[ \t]+$/g, ""));
  return words.filter((word) => word !== "");
}

/** Returns the codings of a Transfer-Encoding (RFC 9112 6.1, 7). */
function codingsOf(value: string): string[] {
  const codings: string[] = [];
  for (let rest = value; rest !== ""; ) {
    const parts = CODING.exec(rest);
    if (!parts) throw new Ended(400);
    const [whole, name, parameters] = parts;
    const coding = name?.toLowerCase();
    if (coding === "chunked" && parameters !== "") throw new Ended(400);
    if (coding !== undefined) codings.push(coding);
    rest = rest.slice(whole.length);
  }
  if (codings.length === 0) throw new Ended(400);
  return codings;
}

/** Returns true for uri-host [ ":" port ] (RFC 9110 7.2), with the port in range. */
function isHost(text: string): boolean {
  const parts = HOST_VALUE.exec(text);
  if (parts === null || Number(parts[2] ?? 0) > 65535) return false;
  return parts[1] === undefined || isIPv6(parts[1]);
}

function requestLine(
  reader: Reader,
  limits: Limits,
): { method: string; target: string; minor: number } {
  const line = reader.line((octets) => {
    // The line has no end yet. The part of it that is too long decides the status.
    if (octets.length <= Math.min(limits.TargetBytes + LINE_ROOM, limits.HeadBytes)) return;
    const method = (new RegExp(`^(?:${TOKEN})?`).exec(octets) as RegExpExecArray)[0];
    if (method.length > METHOD_ROOM) throw new Ended(501);
    throw new Ended(octets[method.length] === " " ? 414 : 400);
  });
  const start = new RegExp(`^${TOKEN} ([\\x21-\\x7e]*)`).exec(line);
  if (start && (start[1] as string).length > limits.TargetBytes) throw new Ended(414);
  const parts = REQUEST_LINE.exec(line);
  if (!parts) throw new Ended(400);
  const [, method = "", target = "", major, minor] = parts;
  if (major !== "1") throw new Ended(505);
  if (!METHODS.includes(method)) throw new Ended(501);
  const star = target === "*" && method === "OPTIONS";
  if (!target.startsWith("/") && !star) {
    const authority = ABSOLUTE.exec(target)?.[1];
    if (authority === undefined || !isHost(authority)) throw new Ended(400);
  }
  return { method, target, minor: minor === "0" ? 0 : 1 };
}

/** Reads fields up to the empty line. Each is judged where it is. */
function fieldLines(reader: Reader, start: number, limits: Limits): [string, string][] {
  const fields: [string, string][] = [];
  const codings: string[] = [];
  const seen = (name: string): boolean => fields.some(([other]) => other.toLowerCase() === name);
  for (;;) {
    const line = reader.line((octets) => {
      if (reader.at + octets.length - start > limits.HeadBytes) throw new Ended(431);
    });
    if (line === "") {
      if (reader.at - start > limits.HeadBytes) throw new Ended(431);
      return fields;
    }
    const parts = FIELD.exec(line);
    if (!parts) throw new Ended(400);
    if (fields.length === limits.Headers) throw new Ended(431);
    const [, name = "", value = ""] = parts;
    const lower = name.toLowerCase();
    if (lower === "host" && (seen(lower) || !isHost(value))) throw new Ended(400);
    if (lower === "content-length") {
      if (seen(lower) || !/^\d+$/.test(value)) throw new Ended(400);
    }
    if (lower === "transfer-encoding") {
      codings.push(...codingsOf(value));
      if (codings.slice(0, -1).includes("chunked")) throw new Ended(400);
    }
    fields.push([name, value]);
  }
}

/** Judges the fields together (RFC 9112 6, RFC 9110 10.1.1, RFC 6455 4.2.1). */
function judgeHead(
  method: string,
  minor: number,
  fields: readonly [string, string][],
  limits: Limits,
): {
  length: number;
  chunked: boolean;
  persistent: boolean;
  upgrade: boolean;
  tunnels: boolean;
  waits: boolean;
} {
  const values = (name: string): string[] =>
    fields.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
  const words = (name: string): string[] =>
    values(name).flatMap((value) => listOf(value.toLowerCase()));
  if (minor === 1 && values("host").length === 0) throw new Ended(400);
  const codings = values("transfer-encoding").flatMap(codingsOf);
  const length = Number(values("content-length")[0] ?? 0);
  if (codings.length > 0) {
    if (values("content-length").length > 0 || minor === 0) throw new Ended(400);
    if (codings.at(-1) !== "chunked") throw new Ended(400);
    if (codings.length > 1) throw new Ended(501);
  }
  const expected = words("expect");
  if (expected.some((word) => word !== "100-continue")) throw new Ended(417);
  const connection = words("connection");
  const persistent =
    !connection.includes("close") && (minor === 1 || connection.includes("keep-alive"));
  let upgrade = false;
  const asks = [connection.includes("upgrade"), words("upgrade").includes("websocket")];
  if (minor === 1 && asks.includes(true)) {
    const keys = values("sec-websocket-key");
    if (!asks.includes(false)) {
      if (method !== "GET") throw new Ended(400);
      if (values("sec-websocket-version").join() !== "13") throw new Ended(426);
      if (keys.length !== 1 || !KEY.test(keys[0] as string)) throw new Ended(400);
      upgrade = true;
    } else if (keys.length > 0) {
      throw new Ended(400);
    }
  }
  if (length > limits.BodyBytes) throw new Ended(413);
  const chunked = codings.length > 0;
  const waits = minor === 1 && expected.length > 0 && (chunked || length > 0);
  // A proxy may tunnel on the request alone.
  const tunnels = !asks.includes(false);
  return { length, chunked, persistent, upgrade, tunnels, waits };
}

/** Reads a chunked body (RFC 9112 7.1). Its trailers are checked and dropped. */
function chunkedBody(reader: Reader, limits: Limits): string {
  let body = "";
  for (;;) {
    const line = reader.line(
      (octets) => {
        if (octets.length > CHUNK_LINE) throw new Ended(400);
      },
      (octets) => {
        // Octets that cannot become a size line are refused at once.
        if (octets === "") return;
        if (CHUNK_START.exec(octets)?.[0] !== octets) throw new Ended(400);
        if (BigInt(`0x${/^[0-9A-Fa-f]+/.exec(octets)}`) > 0xffffffffffffn) throw new Ended(400);
      },
    );
    const parts = CHUNK.exec(line);
    if (!parts) throw new Ended(400);
    const size = BigInt(`0x${parts[1]}`);
    if (size > 0xffffffffffffn) throw new Ended(400);
    if (size === 0n) break;
    if (BigInt(body.length) + size > BigInt(limits.BodyBytes)) throw new Ended(413);
    const data = reader.text.slice(reader.at, reader.at + Number(size));
    if (data.length < Number(size)) throw new Ended("cut");
    body += data;
    reader.at += data.length;
    const end = reader.text.slice(reader.at, reader.at + 2);
    if (!"\r\n".startsWith(end)) throw new Ended(400);
    if (end.length < 2) throw new Ended("cut");
    reader.at += 2;
  }
  const start = reader.at;
  for (;;) {
    const line = reader.line((octets) => {
      // An octet that no trailer field can have is refused where it is, if the limit is not reached before.
      const room = limits.HeadBytes - (reader.at - start);
      const good = (TRAILER_START.exec(octets) as RegExpExecArray)[0].length;
      if (good < octets.length && good < room) throw new Ended(400);
      if (octets.length > room) throw new Ended(431);
    });
    if (line === "") return body;
    if (!FIELD.test(line)) throw new Ended(400);
  }
}

function oneRequest(
  reader: Reader,
  limits: Limits,
  waits: () => void,
): { asked: string; persistent: boolean } {
  const start = reader.at;
  const { method, target, minor } = requestLine(reader, limits);
  const fields = fieldLines(reader, start, limits);
  const head = judgeHead(method, minor, fields, limits);
  if (head.waits) waits();
  let body = "";
  if (head.chunked) {
    body = chunkedBody(reader, limits);
  } else {
    body = reader.text.slice(reader.at, reader.at + head.length);
    if (body.length < head.length) throw new Ended("cut");
    reader.at += body.length;
  }
  const { persistent, upgrade, tunnels } = head;
  const absolute = !target.startsWith("/") && target !== "*";
  const asked = JSON.stringify({
    method,
    target,
    minor,
    fields,
    body,
    persistent,
    upgrade,
    absolute,
  });
  return { asked, persistent: persistent && !tunnels };
}

/** Returns the expected outcome of an input. */
function model(text: string, limits: Limits): Outcome {
  const reader = new Reader(text);
  const asked: string[] = [];
  let waits = 0;
  const count = (): void => {
    waits++;
  };
  try {
    for (;;) {
      // Empty lines before a request are ignored (RFC 9112 2.2).
      while (text.startsWith("\r\n", reader.at)) reader.at += 2;
      if (reader.at === text.length) return { asked, end: "clean", waits };
      const one = oneRequest(reader, limits, count);
      asked.push(one.asked);
      if (!one.persistent) return { asked, end: "last", waits };
    }
  } catch (error) {
    if (!(error instanceof Ended)) throw error;
    return { asked, end: error.end, waits };
  }
}

// ---- the first bytes of connections that need not be HTTP ---------------------------------------

const BEGUN = new RegExp(`^(?:\\r\\n)*${TOKEN} [\\x21-\\x7e]+ HTTP/`);
const BEGINNING = new RegExp(
  `^(?:\\r\\n)*(?:\\r|(${TOKEN})(?: (?:[\\x21-\\x7e]+(?: (?:H(?:T(?:TP?)?)?)?)?)?)?)?$`,
);
/** Octets of a method that need not be a known one. */
const FREE_OCTETS = 7;

/** Judges a start of the input. @returns undefined when more octets are needed */
function verdictOf(start: string, limits: Limits): "http" | "foreign" | undefined {
  const limit = Math.min(limits.TargetBytes + LINE_ROOM, limits.HeadBytes);
  if (BEGUN.test(start)) return "http";
  const found = BEGINNING.exec(start);
  if (!found) return "foreign";
  const [, method] = found;
  if (method === undefined) return start.length > limit ? "foreign" : undefined;
  const isKnown = [...METHODS, "CONNECT"].some((known) => known.startsWith(method));
  if (method.length > FREE_OCTETS && !isKnown) return "foreign";
  return start.replace(/^(?:\r\n)*/, "").length > limit ? "http" : undefined;
}

/** Returns the expected outcome of an input on a connection that need not be HTTP. */
function modelAny(text: string, limits: Limits): Outcome {
  const foreign: Outcome = { asked: [], end: "foreign", waits: 0 };
  for (let n = 1; n <= text.length; n++) {
    const verdict = verdictOf(text.slice(0, n), limits);
    if (verdict === "http") return model(text, limits);
    if (verdict === "foreign") return foreign;
  }
  // The end of the client's side decides.
  return text === "" ? model(text, limits) : foreign;
}

// ---- the engine -------------------------------------------------------------------------------

function line({ method, target, minor, traits, fields, body }: Asked): string {
  const has = (trait: Trait): boolean => (traits & trait) !== 0;
  const persistent = has(Trait.Persistent);
  const upgrade = has(Trait.Upgrade);
  const absolute = has(Trait.Absolute);
  return JSON.stringify({ method, target, minor, fields, body, persistent, upgrade, absolute });
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Parses the responses of a connection that has ended, and counts 100 Continue. Each has one Content-Length. */
function answersOf(text: string, methods: readonly string[]): { answers: Answer[]; waits: number } {
  const bytes = Buffer.from(text, "latin1");
  const answers: Answer[] = [];
  let waits = 0;
  for (let at = 0; at < bytes.length; ) {
    const head = responseHead(bytes, at);
    // A refusal is the last: whether it refuses a HEAD is not always known.
    const isLast = at + (head?.head.length ?? 0) === bytes.length;
    const method = methods[answers.length] ?? (isLast ? "HEAD" : "GET");
    const found = serverResponse(bytes, at, { method, ended: true }) as ServerResponse<Buffer>;
    at += found.size;
    if (found.status === 100) {
      waits++;
      continue;
    }
    if (!/^\d+$/.test(fieldOf(found, "content-length") ?? ""))
      throw new Error(`no length in ${escaped(found.head)}`);
    answers.push({ status: found.status, body: Buffer.from(found.body).toString("latin1") });
  }
  return { answers, waits };
}

/** Error pages, for one of the sizes. Its bytes are in the engine's hands only by their length. */
const PAGES: ReadonlyMap<number, string> = new Map(
  [400, 413, 414, 417, 426, 431, 501, 505].map((status, i) => [status, "p".repeat(1 + i * 700)]),
);

/** Drives that have the pages. */
const paged = new WeakSet<Drive>();

function setPages(drive: Drive): void {
  paged.add(drive);
  for (const [status, page] of PAGES) {
    const fields = `Content-Length: ${page.length}\r\n\r\n`;
    drive.loop.setPage(status, Buffer.from(fields + page), fields.length);
  }
}

/** Returns the engine's outcome for the bytes of a wire that has ended. @param input its octets */
function outcome(wire: Wire, input: string): Outcome {
  if (wire.isReleased) {
    if (wire.taken !== input) throw new Error(`taken out with ${escaped(wire.taken)}`);
    if (wire.text !== "") throw new Error(`answered ${escaped(wire.text)}`);
    return { asked: wire.asked.map(line), end: "foreign", waits: 0 };
  }
  const asked = wire.asked.map(line);
  const methods = wire.asked.map(({ method }) => method);
  const { answers: finals, waits } = answersOf(wire.text, methods);
  const ends = wire.log.filter((entry) => /^(?:end|closed) /.test(entry));
  const reason = (ends[0] ?? "").replace(/^\w+ /, "");
  const answers = finals.splice(0, asked.length);
  answers.forEach(({ status, body }, i) => {
    const wanted = methods[i] === "HEAD" ? "" : `answer ${i + 1}`;
    if (status !== 200 || body !== wanted) throw new Error(`answer ${i + 1}: ${status} ${body}`);
  });
  if (answers.length < asked.length) {
    throw new Error(`${answers.length} answers to ${asked.length} requests`);
  }
  if (finals.length > 1) throw new Error("two refusals");
  const [refusal] = finals;
  const page = paged.has(wire.drive) && refusal ? PAGES.get(refusal.status) : undefined;
  if (refusal && page !== undefined && refusal.body !== "" && refusal.body !== page)
    throw new Error(`${refusal.status} with ${refusal.body.length} of ${page.length} bytes`);
  if (refusal) return { asked, end: refusal.status, waits };
  const ended: Record<string, End> = { Ok: "last", PeerClosed: "clean", PeerEnded: "cut" };
  const end = ended[reason];
  if (end === undefined) throw new Error(`ended with ${wire.log.join(", ")}`);
  return { asked, end, waits };
}

/** Answers a request with a body that tells its number. */
function respond(wire: Wire): void {
  wire.respond(200, { body: `answer ${wire.asked.length}` });
}

/** How the host behaves while it feeds. */
type Manner = "prompt" | "late" | "held" | "streamed" | "some";

function feed(
  drive: Drive,
  inputs: readonly string[][],
  manner: Manner,
  random: Random,
  flags: number,
): Outcome[] {
  const wires = inputs.map(() => drive.connect("", flags));
  drive.answer = (wire) => {
    if (manner !== "late") respond(wire);
  };
  if (manner === "streamed") drive.streamed(() => true);
  else drive.streamed(manner === "some" ? () => random.chance(0.5) : undefined);
  const longest = Math.max(...inputs.map((pieces) => pieces.length));
  const answer = (wire: Wire): void => {
    respond(wire);
    drive.turn();
  };
  for (let i = 0; i < longest; i++) {
    wires.forEach((wire, w) => {
      const piece = inputs[w]?.[i];
      if (piece === undefined) return;
      if (manner === "held" && !wire.dead && random.chance(0.3)) drive.hold(wire, !wire.held);
      if (!wire.dead) wire.send(piece);
      if (wire.open && !wire.upload && random.chance(0.4)) answer(wire);
    });
  }
  const early = random.chance(0.3);
  for (const wire of wires) {
    // A transport reads nothing while bytes are kept, so it reports the end of the client's side after them.
    if (early && !wire.dead && !wire.rest) wire.finish();
    if (wire.held && !wire.dead) drive.hold(wire, false);
    while (wire.open && !wire.upload) answer(wire);
    if (!wire.dead) wire.finish();
    if (wire.isReleased) drive.loop.finish(wire, CloseReason.Ok);
    drive.turn();
    if (!wire.dead) throw new Error(`does not end: ${wire.log.join(", ")}`);
  }
  return wires.map((wire, i) => outcome(wire, (inputs[i] ?? []).join("")));
}

/** Resets a client at some point. Its requests until then must be the start of the expected ones. */
function reset(drive: Drive, pieces: readonly string[], expected: Outcome, random: Random): void {
  const wire = drive.connect();
  drive.answer = (asking) => {
    if (random.chance(0.5)) respond(asking);
  };
  const last = random.int(0, pieces.length);
  for (const piece of pieces.slice(0, last)) {
    if (!wire.dead) wire.send(piece);
    if (wire.open && random.chance(0.5)) respond(wire);
  }
  if (!wire.dead) wire.lose();
  const asked = wire.asked.map(line);
  if (JSON.stringify(asked) === JSON.stringify(expected.asked.slice(0, asked.length))) return;
  throw new Error(`lost after ${JSON.stringify(asked)}`);
}

/** Small limits are reached by short inputs. */
const SIZES: readonly (Limits & { readonly WindowBytes: number })[] = [
  { HeadBytes: 4096, Headers: 32, TargetBytes: 1024, BodyBytes: 16384, WindowBytes: 4096 },
  { HeadBytes: 512, Headers: 8, TargetBytes: 64, BodyBytes: 64, WindowBytes: 4096 },
  { HeadBytes: 256, Headers: 6, TargetBytes: 300, BodyBytes: 2000, WindowBytes: 512 },
];

class Subject {
  readonly limits: Limits;
  readonly #isPaged: boolean;
  readonly #params: Limits & { readonly WindowBytes: number };
  #drive: Drive | undefined;

  constructor(index: number) {
    this.#params = SIZES[index] as Limits & { readonly WindowBytes: number };
    this.limits = this.#params;
    this.#isPaged = index === 2;
  }

  #start(): Drive {
    const drive = new Drive({ ...this.#params, StreamBytes: this.#params.BodyBytes });
    if (this.#isPaged) setPages(drive);
    return drive;
  }

  /**
   * Feeds an input in several ways.
   * @returns what differs from the model; empty when nothing does
   */
  judge(input: string): string {
    const asHttp = model(input, this.limits);
    const asAny = modelAny(input, this.limits);
    const random = new Random(input.length);
    const bytewise = Array.from(input);
    const ways: [string, Manner, string[][]][] = [
      ["whole", "prompt", [[input]]],
      ["octet by octet", "prompt", [bytewise]],
      ["cut", "prompt", [cutRandomly(input, random)]],
      ["two cut, together", "prompt", [cutRandomly(input, random), cutRandomly(input, random)]],
      ["answered late", "late", [cutRandomly(input, random), cutRandomly(input, random)]],
      ["held", "held", [cutRandomly(input, random), cutRandomly(input, random)]],
      ["streamed", "streamed", [[input], cutRandomly(input, random), cutRandomly(input, random)]],
      ["streamed octet by octet", "streamed", [bytewise]],
      ["some streamed", "some", [cutRandomly(input, random), cutRandomly(input, random)]],
      ["any, whole", "prompt", [[input]]],
      ["any, octet by octet", "prompt", [bytewise]],
      ["any, cut", "late", [cutRandomly(input, random), cutRandomly(input, random)]],
      ["any, held", "held", [cutRandomly(input, random), cutRandomly(input, random)]],
    ];
    for (const [name, manner, inputs] of ways) {
      const isAny = name.startsWith("any");
      const expected = isAny ? asAny : asHttp;
      let failure = "";
      try {
        this.#drive ??= this.#start();
        const flags = isAny ? Arrival.Any : 0;
        for (const got of feed(this.#drive, inputs, manner, random, flags)) {
          // A client that sends its body without asking gets no 100 (Continue).
          const exact = name === "octet by octet";
          const waits = exact ? got.waits : Math.max(got.waits, expected.waits);
          const same = JSON.stringify({ ...got, waits }) === JSON.stringify(expected);
          if (!same) failure ||= `got ${JSON.stringify(got)}`;
        }
        if (!isAny) reset(this.#drive, inputs[0] ?? [], expected, random);
        this.#drive.end();
      } catch (error) {
        failure ||= error instanceof Error ? (error.stack ?? error.message) : String(error);
      }
      if (failure === "") continue;
      this.#drive = undefined;
      const pieces = inputs.map((one) => one.map(escaped).join(" "));
      return [
        `limits ${JSON.stringify(this.#params)}`,
        `${name}: ${pieces.join("\n  and ").slice(0, 2000)}`,
        `expected ${JSON.stringify(expected)}`,
        failure,
      ].join("\n");
    }
    return "";
  }
}

// ---- inputs -----------------------------------------------------------------------------------

const NAMES = [
  ..."Accept User-Agent Cookie X-A x!#$%&'*+.^_`|~-y Hosts Connection Upgrade Expect TE".split(" "),
  ..."Content-Length Transfer-Encoding Host Sec-WebSocket-Key Sec-WebSocket-Version".split(" "),
  ..."Keep-Alive Proxy-Connection Trailer Range Content-Type Origin HTTP2-Settings".split(" "),
  ..."content-length TRANSFER-ENCODING Content_Length Transfer-Encodin Content-Length-X".split(" "),
];
const VALUES = [
  ..."a chunked close keep-alive 100-continue 0 3 007 13 websocket upgrade a:80 [::1]".split(" "),
  ..."gzip gzip,chunked chunked, ,chunked chunked,chunked a@b a,b a/b 99999999999999999999".split(
    " ",
  ),
  ..."18446744073709551616 +1 -1 0x1 1,1 Upgrade,close 200-ok a:65536 a:99 %41 %4 [::1 []".split(
    " ",
  ),
  ..."dGhlIHNhbXBsZSBub25jZQ== dGhlIHNhbXBsZSBub25jZQ=".split(" "),
  ..."xchunked chunkedx chunke closed close;a keep-alivex upgrades websockets".split(" "),
  ...'"chunked" chunked; identity,chunked chunked,identity chunked,,, h2c,websocket a: a:+1'.split(
    " ",
  ),
  ..."100-Continue 100-continue,x 5,5 0005 1e1 0b1 9007199254740991 9007199254740992".split(" "),
  ..."[1:2:3:4:5:6:7:8] [::1]:80 [::1]: [::1]x a..b 1.2.3.4:5 a%20b %zz _ ~ ; a;b a=b".split(" "),
  "",
  "a b",
  "a\tb",
  "\xe9\xff",
  "Keep-Alive , Upgrade",
  "100-Continue ,, 100-continue",
  "chunked ;q=1",
  "gzip;q=1, chunked",
  'gzip ; q = "a,\\"b" ,chunked',
  "gzip;q, chunked",
  "[1:2:]",
  "[1::2:3.4.5.6]",
  "[:::]:1",
  "chunked chunked",
];
const TARGETS = [
  ..."/ /a /a?b=c#d * http://a/ https://a:80?x http://a@b/ HTTP://[::1]:8/ http:///x".split(" "),
  ...'a:80 a ws://a#f ://a http://a:65536/ http://% http://%41 /%zz /" //'.split(" "),
  ..."http://a?b http://a:/ http://a:80:80/ http://[::1] http://[::1/ http:/a http:a".split(" "),
  ..."** *? /* . .. /../.. /%00 /#a ?a # HTTP://A h.t+t-p://a 1http://a http://a\\b".split(" "),
];
const EXTENSIONS = [
  "",
  "",
  "",
  ";a",
  " ; a = b",
  ';a="b\\"c"',
  ';a="',
  ";a=",
  ";",
  " ",
  ";a ",
  "; a=b;c",
];
const ODD_LINES = [
  " folded",
  "A : b",
  ": b",
  "A",
  "A\r: b",
  "A: b\n",
  "A: \0",
  "\tA: b",
  "\xe9: b",
];

const HOSTS = ["a", "a:80", "[::1]", "[::1]:8080", "1.2.3.4", "a.b-c:", "[fe80::1:2]", "%41"];
/** Octets that are no request, before and after valid requests. */
const GARBAGE = [
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "SSH-2.0-x\r\n",
  "\r\n\r\nSSH-2.0-x\r\n",
  "EHLO a\r\n",
  "SUBSCRIB / HTTP/1.1\r\n\r\n",
  "SUBSCRIBED / HTTP/1.1\r\n\r\n",
  "OPTIONSX / HTTP/1.1\r\n\r\n",
  "GET",
  "GET / HTTP/1.1",
  "get / http/1.1\r\n\r\n",
  "GET / HTTP/0.9\r\n\r\n",
  "GET /\r\n\r\n",
  "0\r\n\r\n",
  "\n\n\n",
  "\r",
  "\r\n\r\n\r\n",
  " \r\n",
  "\0",
];

/** Requests that reach a limit exactly, or miss it by one. */
function atLimit(random: Random): string {
  const { HeadBytes, Headers, TargetBytes, BodyBytes } = random.pick(SIZES);
  const near = (limit: number): number => Math.max(0, limit + random.int(-1, 1));
  const host = "Host: a";
  const pad = (length: number): string => "p".repeat(Math.max(0, length));
  switch (random.int(0, 6)) {
    case 0: {
      const head = `GET / HTTP/1.1\r\n${host}\r\nX: \r\n\r\n`;
      return head.replace("X: ", `X: ${pad(near(HeadBytes) - head.length)}`);
    }
    case 1: {
      const fields = Array.from({ length: near(Headers) - 1 }, () => "a:b\r\n");
      return `GET / HTTP/1.1\r\n${host}\r\n${fields.join("")}\r\n`;
    }
    case 2:
      return `GET /${pad(near(TargetBytes) - 1)} HTTP/1.1\r\n${host}\r\n\r\n`;
    case 3: {
      const body = octetsOf(random, near(BodyBytes));
      return `PUT / HTTP/1.1\r\n${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    }
    case 4: {
      const length = near(BodyBytes);
      const first = random.int(1, length - 1);
      const chunk = (n: number): string => `${n.toString(16)}\r\n${octetsOf(random, n)}\r\n`;
      const body = `${chunk(first)}${chunk(length - first)}0\r\n\r\n`;
      return `PUT / HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
    }
    case 5: {
      const size = `1;a=${pad(near(CHUNK_LINE) - 4)}`;
      const trailer = `T: ${pad(near(HeadBytes) - 7)}\r\n`;
      const body = `${size}\r\nx\r\n0\r\n${trailer}\r\n`;
      return `PUT / HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
    }
    default:
      return `${"M".repeat(near(METHOD_ROOM))} / HTTP/1.1\r\n${host}\r\n\r\n`;
  }
}

function fieldsFor(random: Random): string[] {
  const fields: string[] = [];
  for (let n = random.int(0, 3); n > 0; n--) {
    const blank = random.pick(["", " ", " ", " ", "\t", "  "]);
    const name = random.chance(0.95) ? random.pick(NAMES.slice(0, 6)) : random.pick(NAMES);
    const value = random.chance(0.9) ? "v".repeat(random.size(40)) : random.pick(VALUES);
    fields.push(`${name}:${blank}${value}${random.pick(["", "", " ", "\t"])}`);
  }
  return fields;
}

function octetsOf(random: Random, length: number): string {
  return Buffer.from(random.bytes(length)).toString("latin1");
}

function chunks(random: Random): string {
  let body = "";
  for (let n = random.int(0, 4); n > 0; n--) {
    const data = octetsOf(random, 1 + random.size(random.pick([4, 20, 100])));
    let size = data.length.toString(16);
    if (random.chance(0.3)) size = size.toUpperCase().padStart(random.int(1, 20), "0");
    const extension = random.chance(0.85) ? "" : random.pick(EXTENSIONS);
    body += `${size}${extension}\r\n${data}\r\n`;
  }
  body += `0${random.chance(0.8) ? "" : random.pick(EXTENSIONS)}\r\n`;
  for (let n = random.chance(0.3) ? random.int(1, 3) : 0; n > 0; n--) {
    body += `${random.pick(NAMES)}: ${"t".repeat(random.size(60))}\r\n`;
  }
  return `${body}\r\n`;
}

function request(random: Random): string {
  const method = random.chance(0.6) ? random.pick(["GET", "POST", "HEAD"]) : random.pick(METHODS);
  let target = random.chance(0.95) ? random.pick(["/", "/a", "/b?c"]) : random.pick(TARGETS);
  if (target === "*" && random.chance(0.3)) target = "/*";
  if (random.chance(0.05)) target += "x".repeat(random.size(1200));
  const version = random.chance(0.85) ? "HTTP/1.1" : random.pick(["HTTP/1.0", "HTTP/1.2"]);
  const fields = [...fieldsFor(random)];
  const add = (field: string): void => {
    fields.splice(random.int(0, fields.length), 0, field);
  };
  if (version !== "HTTP/1.0" || random.chance(0.3)) {
    add(`${random.pick(["Host", "host", "HOST"])}: ${random.pick(HOSTS)}`);
  }
  if (random.chance(0.1))
    add(`Connection: ${random.pick(["close", "keep-alive", "Keep-Alive, x", "closed"])}`);
  if (random.chance(0.1)) add(`Expect: ${random.pick(["100-continue", "100-Continue"])}`);
  if (random.chance(0.1)) {
    for (const field of upgradeFields().trimEnd().split("\r\n")) add(field);
  }
  let body = "";
  if (random.chance(0.3)) {
    const size = random.chance(0.9) ? random.size(80) : random.size(20000);
    body = octetsOf(random, size);
    add(`Content-Length: ${random.chance(0.9) ? "" : "00"}${size}`);
  } else if (random.chance(0.5) && version !== "HTTP/1.0") {
    body = chunks(random);
    add(`Transfer-Encoding: ${random.pick(["chunked", "Chunked", ", chunked ,"])}`);
  }
  const empty = random.chance(0.9) ? "" : "\r\n".repeat(random.int(1, 3));
  const lines = [`${method} ${target} ${version}`, ...fields, "", body];
  return empty + lines.join("\r\n");
}

/** Mutates lines, digits and line ends. */
function mutateLines(input: string, random: Random): string {
  const lines = input.split("\r\n");
  const at = random.int(0, lines.length - 1);
  const from = random.int(0, lines.length - 1);
  switch (random.int(0, 9)) {
    case 0:
      lines.splice(at, 1);
      return lines.join("\r\n");
    case 1:
      lines.splice(at, 0, lines[from] as string);
      return lines.join("\r\n");
    case 2:
      [lines[at], lines[from]] = [lines[from] as string, lines[at] as string];
      return lines.join("\r\n");
    case 3: {
      const end = random.pick([
        "\n",
        "\r",
        "\r\r\n",
        "\n\r",
        "\r\n\r\n",
        "\r\n ",
        " \r\n",
        "\0\r\n",
      ]);
      const head = lines.slice(0, at + 1).join("\r\n");
      return at + 1 < lines.length ? `${head}${end}${lines.slice(at + 1).join("\r\n")}` : head;
    }
    case 4:
      return input.replace(/\d/g, (d) => (random.chance(0.1) ? String(random.int(0, 9)) : d));
    case 5:
      lines.splice(at, 0, `${random.pick(NAMES)}: ${random.pick(VALUES)}`);
      return lines.join("\r\n");
    case 6:
      lines.splice(at, 0, random.pick(ODD_LINES));
      return lines.join("\r\n");
    case 7: {
      const line = lines[at] as string;
      const cut = random.int(0, line.length);
      const stuff = random.pick([" ", "\t", ",", ":", "x", "0", ";", '"']);
      lines[at] = line.slice(0, cut) + stuff.repeat(1 + random.size(1500)) + line.slice(cut);
      return lines.join("\r\n");
    }
    case 8: {
      const line = lines[at] as string;
      lines[at] = random.chance(0.5) ? line.toLowerCase() : line.replace(" ", "  ");
      return lines.join("\r\n");
    }
    default:
      return input.slice(0, random.int(0, input.length));
  }
}

function generate(seed: number): string {
  const random = new Random(seed);
  let input = "";
  for (let n = random.int(1, 4); n > 0; n--) {
    input += random.chance(0.1) ? atLimit(random) : request(random);
  }
  if (random.chance(0.15)) input += random.pick(GARBAGE);
  if (random.chance(0.1)) input = random.pick(GARBAGE) + input;
  if (random.chance(0.03)) input += octetsOf(random, random.size(200));
  const mutations = random.chance(0.3) ? 0 : random.int(0, 3);
  for (let i = 0; i < mutations; i++) {
    const mutate = random.chance(0.5) ? mutateOctets : mutateLines;
    input = mutate(input, random);
  }
  return input;
}

/**
 * Requests from a seed on, for a while.
 * @throws Error at the first difference between engine and model
 */
export function fuzzHttp(span: Span): Fuzzed {
  const subjects = SIZES.map((_, index) => new Subject(index));
  const ends: Record<string, number> = {};
  const inputs = fuzz("http", span, generate, (input) => {
    for (const subject of subjects) {
      const { end } = model(input, subject.limits);
      ends[end] = (ends[end] ?? 0) + 1;
      const difference = subject.judge(input);
      if (difference !== "") return difference;
    }
    return "";
  });
  return { inputs, ends };
}
