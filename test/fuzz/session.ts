// Whole servers, pump and handler included, over sockets in memory: clients that send the same stream, cut in different
// ways, to handlers that pause, answer and open late; clients that end their side, reset, or wait.
//
// The expected output for each client follows from the decoder alone. Where buffers are scarce a client may be closed
// because there is no buffer (NoBuffer); then the events of its handler must be the start of the expected ones.

import { checkEngine } from "../lib/check";
import { Control } from "../../assembly/abi";
import type { CloseInfo, Handler, WebSocket } from "../../host/handler";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { zlibCodec } from "../../worker/net/zlib";
import { Pump } from "../../worker/pump/pump";
import { Random } from "../../host/testing/random";
import { handshake } from "../lib/handshake";
import { serverFrames } from "../lib/server-frame";
import { testEngine } from "../lib/wasm";
import { cutRandomly, escaped } from "./common";
import { type Decoded, type Rules, decode, quote } from "./decoder";
import { inflateMessage } from "./inflate";

interface SessionRules extends Rules {
  readonly WindowBytes: number;
  readonly ReceivePoolBytes: number;
  /** Clients at the same time. */
  readonly clients: number;
  /** There are too few buffers for all of them. */
  readonly scarce?: boolean;
}

const AMPLE = { WindowBytes: 4096, ReceivePoolBytes: 1 << 20, clients: 3 };

export const SESSIONS: readonly SessionRules[] = [
  { ...AMPLE, PayloadBytes: 70000, Fragments: 50, deflate: true },
  { ...AMPLE, PayloadBytes: 200, Fragments: 6, deflate: true, WindowBytes: 512 },
  { ...AMPLE, PayloadBytes: 5000, Fragments: 50, deflate: true, pieces: true },
  {
    PayloadBytes: 5000,
    Fragments: 50,
    deflate: true,
    WindowBytes: 1024,
    ReceivePoolBytes: 22528,
    clients: 8,
    scarce: true,
  },
];

/** How a client and its handler behave. */
interface Manner {
  /** The chance that a message's handler pauses. */
  readonly pauses: number;
  /** Messages are sent back. */
  readonly echoes: boolean;
  /** `open` settles later. */
  readonly opensLate: boolean;
  /** It ends its side when all is done, or at once after its last octet; or it is lost, at any time. */
  readonly end: "late" | "early" | "reset";
}

const PROMPT: Manner = { pauses: 0, echoes: false, opensLate: false, end: "late" };

/** A message in pieces. */
interface Pieces {
  readonly isText: boolean;
  octets: string;
  /** Remaining octets of its frame, as the last piece reported them. */
  remaining: number;
}

interface ServerFrame {
  readonly first: number;
  readonly payload: string;
}

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Parses a server's octets into frames. */
function framesOf(octets: string): ServerFrame[] {
  return serverFrames(Buffer.from(octets, "latin1")).map(({ first, payload }) => {
    return { first, payload: latin(payload) };
  });
}

/** One client, and the events that its handler received. */
class Client {
  readonly manner: Manner;
  readonly random: Random;
  socket: MemorySocket | undefined;
  ws: WebSocket | undefined;
  paused = false;
  readonly log: string[] = [];
  readonly messages: string[] = [];
  pieces: Pieces | undefined;
  /** Frames that the handler sent back. */
  readonly sent: ServerFrame[] = [];
  ended: CloseInfo | undefined;
  lost = false;
  received = "";

  constructor(manner: Manner, seed: number) {
    this.manner = manner;
    this.random = new Random(seed);
  }

  message(ws: WebSocket, isText: boolean, octets: string): void {
    if (this.ended) this.log.push("notified after its end");
    this.log.push(`${isText ? "text" : "binary"} ${quote(octets, isText)}`);
    this.messages.push(octets);
    if (this.manner.echoes) {
      const bytes = Buffer.from(octets, "latin1");
      const data = isText ? bytes.toString() : bytes;
      if (ws.send(data)) this.sent.push({ first: isText ? 0x81 : 0x82, payload: octets });
    }
    this.maybePause(ws);
  }

  maybePause(ws: WebSocket): void {
    if (!this.random.chance(this.manner.pauses)) return;
    ws.pause();
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.ws?.resume();
  }

  reset(): void {
    if (this.ended || this.socket?.gone) return;
    this.lost = true;
    this.socket?.reset();
  }

  /** Reads what has come; after the server's last octet it ends its side too. */
  read(): void {
    if (!this.socket) return;
    this.received += latin(this.socket.read());
    if (this.socket.ended) this.socket.end();
  }
}

const handler: Handler = {
  request(req, res) {
    return res.upgrade({ data: CLIENTS.get(req.path) });
  },
  open(ws) {
    const client = ws.data as Client;
    client.ws = ws;
    // As with an asynchronous `open`, messages wait. Promises settle too late for a run without turns.
    if (!client.manner.opensLate) return;
    ws.pause();
    client.paused = true;
  },
  message(ws, data, isBinary) {
    const octets = latin(Buffer.from(data as string));
    (ws.data as Client).message(ws, !isBinary, octets);
  },
  fragment(ws, data, { first, last, isBinary, remaining }) {
    const client = ws.data as Client;
    if (first !== (client.pieces === undefined)) client.log.push("a first piece out of order");
    client.pieces ??= { isText: !isBinary, octets: "", remaining: 0 };
    const { pieces } = client;
    if (pieces.isText === isBinary) client.log.push("a piece of another kind");
    const rest = pieces.remaining;
    if (rest > 0 && rest !== remaining + data.length)
      client.log.push("a remaining length is wrong");
    pieces.octets += latin(data);
    pieces.remaining = remaining;
    if (last) {
      if (remaining > 0) client.log.push("a last piece with something remaining");
      client.pieces = undefined;
      client.message(ws, pieces.isText, pieces.octets);
    } else {
      client.maybePause(ws);
    }
  },
  ping(ws, data) {
    (ws.data as Client).log.push(`ping ${quote(latin(data), false)}`);
  },
  pong(ws, data) {
    (ws.data as Client).log.push(`pong ${quote(latin(data), false)}`);
  },
  close(ws, info) {
    (ws.data as Client).ended = info;
  },
};

/** The clients of the sessions that run, by the path they ask for. */
const CLIENTS = new Map<string, Client>();

const OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

class Server {
  readonly #rules: SessionRules;
  readonly #clock = new VirtualClock();
  readonly #net = new MemoryNet(this.#clock);
  readonly #pump: Pump;
  #errors: string[] = [];

  constructor(rules: SessionRules) {
    this.#rules = rules;
    const { PayloadBytes, Fragments, WindowBytes, ReceivePoolBytes } = rules;
    const engine = testEngine({
      PayloadBytes,
      Fragments,
      WindowBytes,
      ReceivePoolBytes,
      Pieces: rules.pieces ? 1 : 0,
      DeflateRingBytes: 4096,
      DeflateThreshold: 20,
      Backlog: 1 << 17,
      ReplyPoolBytes: 1 << 21,
      IdleTimeout: 0,
    });
    this.#pump = new Pump({
      engine,
      clock: this.#clock,
      codec: zlibCodec,
      failed: (error) => this.#errors.push(error.stack ?? error.message),
    });
    this.#pump.setHandler(handler);
    void this.#net.listen({}, engine.windowView(), this.#pump.accept);
  }

  connect(client: Client, name: number): void {
    const socket = this.#net.connect(1 << 20);
    if (!socket) throw new Error("not connected");
    client.socket = socket;
    CLIENTS.set(`/${name}`, client);
    socket.send(Buffer.from(handshake(`/${name}`, OFFER), "latin1"));
    this.run([client]);
    const end = client.received.indexOf("\r\n\r\n") + 4;
    if (!client.received.startsWith("HTTP/1.1 101 ")) throw new Error(client.received);
    client.received = client.received.slice(end);
  }

  /** Everything that is under way happens, and is read. */
  run(clients: readonly Client[]): void {
    do {
      for (const client of clients) client.read();
    } while (this.#clock.run());
    checkEngine(this.#pump.engine);
    if (this.#errors.length > 0) throw new Error(this.#errors.join("\n"));
  }

  /** Resumes all clients until none is paused. */
  settle(clients: readonly Client[]): void {
    do {
      for (const client of clients) client.resume();
      this.run(clients);
    } while (clients.some(({ ended, paused }) => !ended && paused));
  }

  /** Ends the clients, and sees that nothing is left of them. */
  end(clients: readonly Client[]): void {
    this.settle(clients);
    for (const client of clients) {
      if (client.manner.end === "reset") client.reset();
      else client.socket?.end();
    }
    this.settle(clients);
    // A client that waits for a buffer has a time limit.
    for (let ms = 0; this.#rules.scarce && ms < 60000; ms += 1000) {
      if (clients.every(({ ended }) => ended)) break;
      this.#clock.advance(1000);
      this.settle(clients);
    }
    if (!clients.every(({ ended }) => ended)) throw new Error("a client does not end");
    const { engine } = this.#pump;
    engine.x.gauge();
    if (engine.get(Control.ReceivePoolUsed) > 0) throw new Error("the receive pool leaks");
    if (engine.get(Control.ReplyPoolUsed) > 0) throw new Error("the reply pool leaks");
    if (engine.get(Control.DeadCount) > 0) throw new Error("dead slots are left");
    if (this.#pump.count() > 0) throw new Error("WebSockets are left");
  }
}

function differ(what: string, got: unknown, wanted: unknown): void {
  if (JSON.stringify(got) === JSON.stringify(wanted)) return;
  throw new Error(`${what}: got ${JSON.stringify(got)}\nexpected ${JSON.stringify(wanted)}`);
}

/** Throws when a list is not the start of another. */
function startsWith(what: string, got: readonly string[], wanted: readonly string[]): void {
  differ(what, got, wanted.slice(0, got.length));
}

/** Returns the events that a handler receives one by one. */
function eventsOf({ events }: Decoded): string[] {
  return events.map(({ line }) => line).filter((line) => !/^(?:end|peer close) /.test(line));
}

/** Returns the data frames, inflated. */
function dataOf(frames: readonly ServerFrame[]): ServerFrame[] {
  return frames
    .filter(({ first }) => (first & 15) < 8)
    .map(({ first, payload }) => {
      if (!(first & 0x40)) return { first, payload };
      const { octets, bad } = inflateMessage(payload, 1 << 20);
      if (bad) throw new Error("a frame of the server does not inflate");
      return { first: first & ~0x40, payload: octets };
    });
}

/** Pongs: those before the newest ping may have one (RFC 6455 5.5.3). */
function comparePongs(pongs: readonly string[], pings: readonly string[]): void {
  let at = 0;
  for (const pong of pongs) {
    at = pings.indexOf(pong, at) + 1;
    if (at === 0) throw new Error(`a pong to no ping: ${escaped(pong)}`);
  }
}

/** Throws what differs between what a client saw and what is due. */
function compare(client: Client, expected: Decoded, rules: SessionRules): void {
  const { log, messages, ended, manner } = client;
  const due = expected.messages.map(({ octets }) => octets);
  const starved = rules.scarce && ended?.cause === "NoBuffer";
  if (client.lost || starved) {
    startsWith("log", log, eventsOf(expected));
    startsWith("messages", messages, due);
    return;
  }
  differ("log", log, eventsOf(expected));
  differ("messages", messages, due);
  const cause = expected.reason || "PeerEnded";
  differ("cause", ended?.cause, cause);
  // RFC 6455 7.1.5: the code that came, else the one with which it failed, else 1006.
  differ("code", ended?.code, expected.code || 1006);
  const partial = client.pieces?.octets ?? "";
  if (rules.pieces && !expected.partial.startsWith(partial)) throw new Error("wrong pieces");
  if (rules.pieces && expected.reason === "") differ("pieces", partial, expected.partial);
  const frames = framesOf(client.received);
  const payloadsOf = (opcode: number): string[] =>
    frames.filter(({ first }) => first === (0x80 | opcode)).map(({ payload }) => payload);
  const data = dataOf(frames);
  const pongs = payloadsOf(10);
  comparePongs(pongs, expected.pings);
  if ((rules.scarce || manner.end === "early") && cause === "PeerEnded") {
    // It ended its side before a response, so it may have missed the data that was sent then.
    differ("data", data, client.sent.slice(0, data.length));
  } else {
    differ("data", data, client.sent);
    differ("the last pong", pongs.at(-1), expected.pings.at(-1));
  }
  const { code } = expected;
  const octets = String.fromCharCode(code >> 8, code & 255);
  const close = code === 1005 ? "" : octets + expected.text;
  differ("close frames", payloadsOf(8), code === 0 ? [] : [close]);
  if (code !== 0) differ("the last frame", frames.at(-1)?.first, 0x88);
  const known = frames.every(({ first }) => [1, 2, 8, 10].includes(first & 15) && first >= 128);
  if (!known) throw new Error("a frame that is not due");
}

/** Cuts into a number of pieces. */
function cutInto(input: string, pieces: number, random: Random): string[] {
  const cuts = Array.from({ length: pieces - 1 }, () => random.int(0, input.length));
  const ends = [...cuts.sort((a, b) => a - b), input.length];
  return ends.map((end, i) => input.slice(ends[i - 1] ?? 0, end));
}

export class Sessions {
  readonly limits: SessionRules;
  #server: Server | undefined;
  #names = 0;

  constructor(limits: SessionRules) {
    this.limits = limits;
  }

  /** Runs something on the server, which is a new one when it fails. */
  #use(expected: Decoded, run: (server: Server) => Client[]): string {
    try {
      this.#server ??= new Server(this.limits);
      for (const client of run(this.#server)) {
        try {
          compare(client, expected, this.limits);
        } catch (error) {
          if (!expected.other) throw error;
          compare(client, expected.other, this.limits);
        }
      }
      return "";
    } catch (error) {
      this.#server = undefined;
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    } finally {
      CLIENTS.clear();
    }
  }

  /** Octet by octet: each thing happens with the octet with which it is certain. */
  #feedOctets(server: Server, input: string, expected: Decoded): Client[] {
    const client = new Client(PROMPT, 0);
    server.connect(client, this.#names++);
    const at: number[] = [];
    let closedAt = -1;
    for (let i = 0; i < input.length; i++) {
      const before = client.log.length;
      client.socket?.send(Buffer.from(input[i] as string, "latin1"));
      server.run([client]);
      while (at.length < client.log.length) at.push(i);
      if (client.log.length > before && closedAt >= 0) throw new Error("notified after the end");
      if (closedAt < 0 && client.socket?.ended) closedAt = i;
    }
    server.end([client]);
    const reports = expected.events.filter(({ line }) => !/^(?:end|peer close) /.test(line));
    differ(
      "octets",
      at,
      reports.map((event) => event.at),
    );
    if (expected.reason !== "") differ("the end's octet", closedAt, expected.events.at(-1)?.at);
    return [client];
  }

  #feed(server: Server, input: string, random: Random): Client[] {
    const { clients: most, scarce } = this.limits;
    const count = scarce ? most : random.int(1, most);
    const clients = Array.from({ length: count }, () => {
      const manner: Manner = {
        pauses: random.pick([0, 0.2, 1]),
        echoes: random.chance(0.3),
        opensLate: random.chance(0.2),
        end: random.pick(["late", "late", "early", "reset"]),
      };
      return new Client(manner, random.int(0, 1e9));
    });
    for (const client of clients) server.connect(client, this.#names++);
    // At equal speed all clients need a buffer at the same time.
    const pieces = scarce && random.chance(0.7) ? random.int(2, 10) : 0;
    const cut = (): string[] =>
      pieces > 0 ? cutInto(input, pieces, random) : cutRandomly(input, random);
    const inputs = clients.map(cut);
    const longest = Math.max(...inputs.map((pieces) => pieces.length));
    for (let i = 0; i < longest; i++) {
      clients.forEach((client, c) => {
        const piece = inputs[c]?.[i];
        if (piece !== undefined) client.socket?.send(Buffer.from(piece, "latin1"));
        if (i + 1 === inputs[c]?.length && client.manner.end === "early") client.socket?.end();
        if (client.manner.end === "reset" && random.chance(0.05)) client.reset();
        if (client.ws && random.chance(0.1)) client.maybePause(client.ws);
        if (random.chance(0.3)) client.resume();
      });
      if (random.chance(0.7)) server.run(clients);
    }
    server.end(clients);
    return clients;
  }

  /**
   * Sends a stream in several ways.
   * @returns what differs from the decoder; empty when nothing does
   */
  judge(input: string): string {
    const expected = decode(input, this.limits);
    const random = new Random(input.length);
    const rules = JSON.stringify(this.limits);
    if (!this.limits.scarce && input.length < 4000) {
      const bytewise = this.#use(expected, (server) => this.#feedOctets(server, input, expected));
      if (bytewise !== "") return `${rules}\noctet by octet: ${bytewise}`;
    }
    for (let n = 0; n < 2; n++) {
      const failure = this.#use(expected, (server) => this.#feed(server, input, random));
      if (failure !== "") return `${rules}\ncut: ${failure}`;
    }
    return "";
  }
}
