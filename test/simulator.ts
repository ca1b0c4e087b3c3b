// The simulator: the real engine and the real pump over sockets in memory, under a virtual clock, driven
// by random steps, against a model that is short and obvious.
//
// How it works
//   1. A step is drawn from the seed: connect, send a request or a frame, whole or split, publish, send,
//      upload, read a little, stall, reset, half-close, close, let time pass.
//   2. The model notes what each client must receive: a list of frames or answers, nothing else.
//   3. After each step the engine's invariants are checked, and the bytes each client has read are decoded
//      and compared with the front of its list. At the end every client that is alive reads until nothing
//      comes, and must have its whole list.

import { Control, ROW_BYTES, ROW_STATE, RowState } from "../assembly/abi";
import type { Handler, PublishOptions, Request, Response, WebSocket } from "../host/handler";
import type { Engine } from "../worker/engine";
import { MemoryNet, type MemorySocket, VirtualClock } from "../worker/net/memory";
import { zlibCodec } from "../worker/net/zlib";
import { Pump } from "../worker/server";
import { Random } from "../host/testing/random";
import { testEngine } from "./wasm";

/** Bugs that can be put in, to see them found. */
export type Bug =
  | "none"
  /** The host says that a write is complete when it is not: the ring is overwritten under it. */
  | "early-done"
  /** The model forgets a publication. */
  | "forgetful-model"
  /** The host drops the pieces of every 50th read. */
  | "lost-read";

export const BUGS: readonly Bug[] = ["none", "early-done", "forgetful-model", "lost-read"];

/** What a client offers with its upgrade. */
const EXTENSIONS = [
  "",
  "",
  "Sec-WebSocket-Extensions: permessage-deflate\r\n",
  "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
];

const TOPICS = ["a", "b", "c", "topic/with/a/long/name/".repeat(8), "\u{1f98a}", "z"];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Frame {
  readonly opcode: number;
  readonly payload: Uint8Array;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** What the model knows of a client. */
interface Client {
  readonly name: number;
  readonly socket: MemorySocket;
  kind: "http" | "opening" | "ws";
  /** Bytes received and not decoded yet. */
  received: Uint8Array;
  answers: Answer[];
  frames: Frame[];
  /** Pings sent, newest last. */
  pings: string[];
  /** The client has sent a Close frame, FIN or reset. */
  quit: boolean;
  stalled: boolean;
  /** A Close frame arrived. */
  closed: boolean;
  /** An unfinished message. */
  partial: Uint8Array[];
  /** A refusal arrived, or the connection was to end: answers may be missing. */
  refused: boolean;
  /** Its upgrade was accepted: what is published from then on is for it. */
  joined: boolean;
  ws: WebSocket | undefined;
  /** What it subscribes to. */
  topics: Set<string>;
  cause: string;
}

export interface SimulationOptions {
  readonly seed: number;
  readonly steps: number;
  readonly bug?: Bug;
  readonly build?: "release" | "debug";
}

export interface SimulationResult {
  readonly steps: number;
  readonly evicted: number;
  readonly published: number;
  readonly refusedPublications: number;
  readonly requests: number;
  readonly closed: Readonly<Record<string, number>>;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A client's frame, masked. */
export function clientFrame(
  opcode: number,
  payload: Uint8Array,
  mask: Uint8Array,
  final = true,
): Uint8Array {
  const length = payload.length;
  const head =
    length < 126
      ? [0x80 | length]
      : length < 65536
        ? [0xfe, length >> 8, length & 255]
        : [
            0xff,
            0,
            0,
            0,
            0,
            (length >>> 24) & 255,
            (length >>> 16) & 255,
            (length >>> 8) & 255,
            length & 255,
          ];
  const out = new Uint8Array(1 + head.length + 4 + length);
  out[0] = (final ? 0x80 : 0) | opcode;
  out.set(head, 1);
  out.set(mask, 1 + head.length);
  const at = 5 + head.length;
  for (let i = 0; i < length; i++) out[at + i] = (payload[i] as number) ^ (mask[i & 3] as number);
  return out;
}

export class Simulation {
  readonly #random: Random;
  readonly #options: SimulationOptions;
  readonly #engine: Engine;
  readonly #clock = new VirtualClock();
  readonly #net: MemoryNet;
  readonly #pump: Pump;
  readonly #clients: Client[] = [];
  readonly #byPath = new Map<string, Client>();
  /** Requests whose handler waits, by their path. */
  readonly #pending = new Map<string, () => void>();
  readonly #errors: string[] = [];
  readonly log: string[] = [];
  readonly #memory: number;
  #names = 0;
  #published = 0;
  #refused = 0;
  #requests = 0;
  #reads = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    const r = this.#random;
    const ring = r.pick([4096, 8192, 32768]);
    const params = {
      Connections: r.pick([4, 16]),
      WebSockets: r.pick([4, 16]),
      RingBytes: ring,
      Frames: r.pick([16, 256]),
      RunBytes: r.pick([700, 2048, 262144]),
      ReceivePoolBytes: r.pick([131072, 1048576]),
      ReplyPoolBytes: r.pick([65536, 1048576]),
      Backlog: r.pick([2048, 16384]),
      WindowBytes: r.pick([512, 4096, 65536]),
      EvictWhenFull: r.int(0, 1),
      DeflateRingBytes: r.chance(0.5) ? ring : 0,
      DeflateThreshold: r.pick([0, 200]),
      FirstSequence: r.pick([0, 2 ** 32 - 500, 2 ** 53 - 1000]),
      Seed: r.int(1, 1e9),
      Topics: r.pick([3, 16]),
      Subscriptions: r.pick([6, 64]),
    };
    this.#engine = testEngine({ ...params, QueuedFrames: params.Frames }, options.build);
    this.#net = new MemoryNet(this.#clock);
    if (options.bug === "early-done") this.#breakRows();
    this.#pump = new Pump({
      engine: this.#engine,
      clock: this.#clock,
      flushInterval: r.pick([0, 0, 0, 1, 20]),
      codec: params.DeflateRingBytes === 0 ? undefined : zlibCodec,
      failed: (error, where) => {
        if (error.message !== "as asked") this.#errors.push(`${where}: ${error.stack}`);
      },
    });
    this.#pump.setHandler(this.#handler());
    this.#memory = this.#engine.x.memory.buffer.byteLength;
  }

  /** The bug "early-done": rows that are outstanding are settled as complete. */
  #breakRows(): void {
    const { x, u32, rows } = this.#engine;
    const { flush } = x;
    let count = 0;
    const broken = {
      ...x,
      flush: (withhold: number) => {
        for (let i = 0; i < count; i++) {
          u32[rows + i * (ROW_BYTES >>> 2) + (ROW_STATE >>> 2)] = RowState.Complete;
        }
        count = flush(withhold);
        return count;
      },
    };
    (this.#engine as { x: Engine["x"] }).x = broken;
  }

  #handler(): Handler {
    return {
      streams: (req: Request) => req.query.startsWith("stream"),
      request: (req: Request, res: Response) => {
        const client = this.#byPath.get(req.path);
        this.#requests++;
        if (req.query.startsWith("stream")) return this.#upload(req, res);
        if (req.upgrade) {
          if (res.upgrade({ data: client }) && client) client.joined = true;
          return undefined;
        }
        const kind = req.query;
        const body = `${req.method} ${req.path} ${req.text()}`;
        if (kind === "throw") throw new Error("as asked");
        if (kind === "later") {
          const key = `${req.path}#${req.header("x-number")}`;
          return new Promise<void>((resolve) => {
            this.#pending.set(key, () => {
              const again = `${req.method} ${req.path} ${req.text()}`;
              if (!res.sent && again !== body)
                this.#errors.push(`request changed: ${body} / ${again}`);
              res.send(200, "text/plain", body);
              resolve();
            });
          });
        }
        res.send(200, "text/plain", body);
        return undefined;
      },
      open: (ws: WebSocket) => {
        const client = ws.data as Client;
        client.ws = ws;
      },
      message: (ws: WebSocket, data, isBinary) => {
        const client = ws.data as Client;
        const bytes = typeof data === "string" ? encoder.encode(data) : data;
        // Between a write that completed and the next flush.
        const burst = this.#random.chance(0.3) ? this.#random.int(1, 12) : 0;
        for (let i = 0; i < burst; i++) this.log.push(`within: ${this.#publish()}`);
        if (ws.send(data)) client.frames.push({ opcode: isBinary ? 2 : 1, payload: bytes });
      },
      close: (ws: WebSocket, info) => {
        (ws.data as Client).cause = info.cause;
      },
    };
  }

  /** Reads a body piece by piece, sometimes late, sometimes not at all, and answers with it. */
  async #upload(req: Request, res: Response): Promise<void> {
    if (req.query === "stream-early") {
      res.send(200, "text/plain", `${req.method} ${req.path} early`);
      return;
    }
    let body = "";
    try {
      for await (const piece of req.stream()) {
        body += decoder.decode(piece);
        if (req.query !== "stream-late" || res.sent) continue;
        const key = `${req.path}#${req.header("x-number")}`;
        await new Promise<void>((resolve) => this.#pending.set(key, resolve));
      }
    } catch (thrown) {
      if (!res.sent) this.#errors.push(`a body broke off, its request did not: ${thrown}`);
      return;
    }
    res.send(200, "text/plain", `${req.method} ${req.path} ${body}`);
  }

  async start(): Promise<void> {
    const listener = await this.#net.listen({}, this.#engine.windowView(), this.#pump.accept);
    void listener;
  }

  // ---- the model's view of what arrives ----------------------------------------------------------------

  #fail(message: string): never {
    throw new Error(message);
  }

  #read(client: Client, limit: number): void {
    const bytes = client.socket.read(limit);
    this.#reads++;
    if (this.#options.bug === "lost-read" && this.#reads % 50 === 0) return;
    client.received = concat(client.received, bytes);
    if (client.kind === "ws" || client.kind === "opening") this.#decodeFrames(client);
    else this.#decodeAnswers(client);
  }

  /** Takes one answer off the front; undefined when it is not whole. */
  #takeAnswer(client: Client): Answer | undefined {
    const text = decoder.decode(client.received);
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const head = text.slice(0, end);
    const status = Number(
      /^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? this.#fail(`not an answer: ${head}`),
    );
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
    if (client.received.length < end + 4 + length) return undefined;
    const body = decoder.decode(client.received.subarray(end + 4, end + 4 + length));
    client.received = client.received.slice(end + 4 + length);
    return { status, body };
  }

  #decodeAnswers(client: Client): void {
    for (;;) {
      const answer = this.#takeAnswer(client);
      if (!answer) return;
      const expected = client.answers.shift();
      if (expected && answer.status === expected.status && answer.body === expected.body) continue;
      // A refusal may come at any time; it is the last.
      if (answer.status >= 400 && answer.status !== 500) {
        client.refused = true;
        client.answers.length = 0;
        continue;
      }
      this.#fail(
        `client ${client.name}: answer ${answer.status} ${JSON.stringify(answer.body)}, expected ${
          expected ? `${expected.status} ${JSON.stringify(expected.body)}` : "none"
        }`,
      );
    }
  }

  #decodeFrames(client: Client): void {
    if (client.kind === "opening") {
      // Answers to requests before the upgrade, then the 101.
      while (client.kind === "opening") {
        const answer = this.#takeAnswer(client);
        if (!answer) return;
        if (answer.status === 101) {
          if (client.answers.length > 0)
            this.#fail(`client ${client.name}: 101 before its answers`);
          client.kind = "ws";
        } else if (client.answers[0]?.body === answer.body) {
          client.answers.shift();
        } else if (answer.status >= 400) {
          client.kind = "http";
          client.refused = true;
          client.answers.length = 0;
        } else {
          this.#fail(`client ${client.name}: answer ${answer.status} to an upgrade`);
        }
      }
      if (client.kind !== "ws") return;
    }
    for (;;) {
      const b = client.received;
      if (b.length < 2) return;
      const length7 = b[1] as number;
      let at = 2;
      let length = length7;
      if (length7 === 126) {
        if (b.length < 4) return;
        length = ((b[2] as number) << 8) | (b[3] as number);
        at = 4;
      } else if (length7 === 127) {
        if (b.length < 10) return;
        length = new DataView(b.buffer, b.byteOffset).getUint32(6);
        at = 10;
      }
      if (length7 & 128) this.#fail(`client ${client.name}: a masked frame`);
      if (b.length < at + length) return;
      const first = b[0] as number;
      const payload = b.slice(at, at + length);
      client.received = b.slice(at + length);
      this.#takeFrame(client, first, payload);
    }
  }

  #takeFrame(client: Client, first: number, payload: Uint8Array): void {
    if ((first & 0x40) !== 0) {
      const whole = zlibCodec.inflate(payload, 1 << 20);
      if (typeof whole === "string") this.#fail(`client ${client.name}: a frame that is ${whole}`);
      this.#takeFrame(client, first & ~0x40, whole);
      return;
    }
    if (client.closed) this.#fail(`client ${client.name}: a frame after Close`);
    if (first === 0x88) {
      client.closed = true;
      // Close comes after what was queued before it; what the model expected after that was refused.
      return;
    }
    if (first === 0x89) return;
    if (first === 0x8a) {
      const index = client.pings.indexOf(decoder.decode(payload));
      if (index < 0) this.#fail(`client ${client.name}: a pong to no ping`);
      // The newest wins: older pings are answered no more.
      client.pings.splice(0, index + 1);
      return;
    }
    const expected = client.frames.shift();
    if (!expected)
      this.#fail(`client ${client.name}: a frame of ${payload.length} bytes, expected none`);
    if (first !== (0x80 | expected.opcode) || !same(payload, expected.payload)) {
      this.#fail(
        `client ${client.name}: frame ${first.toString(16)} of ${payload.length} bytes (${decoder.decode(payload).slice(0, 40)}), expected ` +
          `8${expected.opcode} of ${expected.payload.length}`,
      );
    }
  }

  // ---- steps -------------------------------------------------------------------------------------------

  /** Sends bytes whole or in pieces, with turns between. */
  #send(client: Client, bytes: Uint8Array): void {
    const pieces = this.#random.chance(0.5) ? 1 : this.#random.int(1, 6);
    let at = 0;
    for (let i = 1; i <= pieces; i++) {
      const end = i === pieces ? bytes.length : this.#random.int(at, bytes.length);
      client.socket.send(bytes.subarray(at, end));
      if (this.#random.chance(0.5)) this.#clock.run();
      at = end;
    }
  }

  #some(filter: (client: Client) => boolean): Client | undefined {
    const list = this.#clients.filter(
      (client) => !client.quit && client.socket.gone === "" && filter(client),
    );
    return list.length === 0 ? undefined : this.#random.pick(list);
  }

  #connect(): string {
    const socket = this.#net.connect(this.#random.pick([64, 1024, 16384]));
    if (!socket) return "connect: refused";
    const client: Client = {
      name: this.#names++,
      socket,
      kind: "http",
      received: new Uint8Array(0),
      answers: [],
      frames: [],
      pings: [],
      quit: false,
      stalled: false,
      closed: false,
      partial: [],
      refused: false,
      joined: false,
      topics: new Set(),
      ws: undefined,
      cause: "",
    };
    this.#clients.push(client);
    this.#byPath.set(`/${client.name}`, client);
    return `connect ${client.name}`;
  }

  #request(): string {
    const client = this.#some((c) => c.kind === "http" && !c.refused);
    if (!client) return "request: nobody";
    const r = this.#random;
    const count = r.chance(0.3) ? r.int(2, 5) : 1;
    let text = "";
    for (let i = 0; i < count; i++) {
      const post = r.chance(0.4);
      const body = post ? "b".repeat(r.size(6000)) : "";
      const streamed = post && r.chance(0.5) ? r.pick(["?stream", "?stream-late"]) : "";
      const query = streamed || (r.chance(0.2) ? "?later" : r.chance(0.03) ? "?throw" : "");
      const method = post ? "POST" : "GET";
      const number = this.#names++;
      text += `${method} /${client.name}${query} HTTP/1.1\r\nHost: sim\r\nX-Number: ${number}\r\n`;
      text += post ? this.#framed(body) : "\r\n";
      if (query === "?throw") client.answers.push({ status: 500, body: "Internal Server Error\n" });
      else client.answers.push({ status: 200, body: `${method} /${client.name} ${body}` });
      if (query === "?throw") {
        client.refused = true;
        break;
      }
    }
    this.#send(client, encoder.encode(text));
    return `request ${client.name} x${count}`;
  }

  /** A body, and the end of the head that says how long it is. */
  #framed(body: string): string {
    const r = this.#random;
    if (r.chance(0.6)) return `Content-Length: ${body.length}\r\n\r\n${body}`;
    let text = "Transfer-Encoding: chunked\r\n\r\n";
    for (let at = 0; at < body.length; ) {
      const piece = body.slice(at, at + 1 + r.size(900));
      text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
      at += piece.length;
    }
    return `${text}0\r\n\r\n`;
  }

  /** An upload that is answered too early, or whose client leaves within it. */
  #brokenUpload(): string {
    const client = this.#some((c) => c.kind === "http" && !c.refused);
    if (!client) return "broken upload: nobody";
    const r = this.#random;
    const how = r.pick(["early", "end", "reset", "bad"] as const);
    const query = how === "early" ? "?stream-early" : "?stream";
    const line = `POST /${client.name}${query} HTTP/1.1\r\nHost: sim\r\n`;
    const part = "b".repeat(r.size(3000) + 1);
    client.refused = true;
    if (how === "early") {
      client.answers.push({ status: 200, body: `POST /${client.name} early` });
      const more = "GET / HTTP/1.1\r\nHost: sim\r\n\r\n".repeat(3);
      const text = `${line}Content-Length: ${part.length + 1000}\r\n\r\n${part}${more}`;
      this.#send(client, encoder.encode(text));
      return `early answer ${client.name}`;
    }
    const size = part.length.toString(16);
    const text = `${line}Transfer-Encoding: chunked\r\n\r\n${size}\r\n${part}`;
    this.#send(client, encoder.encode(text));
    if (how === "bad") {
      this.#send(client, encoder.encode("x"));
      client.answers.push({ status: 400, body: "Bad Request\n" });
    } else {
      client.quit = true;
      if (how === "end") client.socket.end();
      else client.socket.reset();
    }
    return `${how} in the upload of ${client.name}`;
  }

  #upgrade(): string {
    const client = this.#some((c) => c.kind === "http" && !c.refused);
    if (!client) return "upgrade: nobody";
    client.kind = "opening";
    const text =
      `GET /${client.name} HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
      `${this.#random.pick(EXTENSIONS)}\r\n`;
    this.#send(client, encoder.encode(text));
    return `upgrade ${client.name}`;
  }

  #publish(): string {
    const r = this.#random;
    const ring = this.#engine.params[2] as number;
    const size = r.chance(0.02) ? ring + 1 : r.size(r.chance(0.1) ? ring - 10 : 900);
    const payload = r.bytes(Math.min(size, 64));
    const whole = new Uint8Array(size);
    for (let i = 0; i < size; i++) whole[i] = ((payload[i % payload.length] as number) + i) & 255;
    const topic = r.chance(0.5) ? r.pick(TOPICS) : undefined;
    const except = r.chance(0.2) ? this.#some((c) => c.ws !== undefined) : undefined;
    const to = this.#clients.filter(
      (c) =>
        c.joined &&
        c !== except &&
        c.ws?.open !== false &&
        (topic === undefined || c.topics.has(topic)),
    );
    let sent: boolean;
    const staged = r.chance(0.2);
    const options = except?.ws ? { binary: true, except: except.ws.id } : { binary: true };
    try {
      if (staged) sent = this.#publishStaged(whole, topic, options);
      else if (topic === undefined) sent = this.#pump.broadcast(whole, options);
      else if (except?.ws?.open && r.chance(0.5)) sent = except.ws.publish(topic, whole);
      else sent = this.#pump.publish(topic, whole, options);
    } catch (error) {
      if (!(error instanceof RangeError) || size <= ring - 10) throw error;
      return `publish ${size}: too large`;
    }
    if (!sent) {
      this.#refused++;
      return `publish ${size}: no room`;
    }
    this.#published++;
    if (this.#options.bug === "forgetful-model" && this.#published === 5)
      return "publish: forgotten";
    for (const client of to) client.frames.push({ opcode: 2, payload: whole });
    const where = `${topic === undefined ? "" : ` to ${topic.slice(0, 5)}`}${except ? ` but ${except.name}` : ""}`;
    return `publish ${size}${staged ? " staged" : ""}${where}`;
  }

  #subscribe(): string {
    const client = this.#some((c) => c.ws?.open === true);
    if (!client?.ws) return "subscribe: nobody";
    const topic = this.#random.pick(TOPICS);
    const name = topic.slice(0, 5);
    if (client.topics.has(topic) && this.#random.chance(0.8)) {
      if (!client.ws.unsubscribe(topic)) this.#fail("it did subscribe");
      client.topics.delete(topic);
      return `unsubscribe ${client.name} ${name}`;
    }
    try {
      if (!client.ws.subscribe(topic)) this.#fail("it is open");
    } catch (error) {
      if (error instanceof RangeError && / are taken$/.test(error.message))
        return `subscribe ${client.name} ${name}: full`;
      throw error;
    }
    client.topics.add(topic);
    return `subscribe ${client.name} ${name}`;
  }

  /** Who subscribes to what is what the model says. */
  #checkTopics(): void {
    const open = this.#clients.filter((c) => c.ws?.open === true);
    // One that broke the protocol has been failed before its handler hears of it.
    const sure = open.filter((c) => !c.quit);
    for (const client of sure) {
      const told = [...(client.ws as WebSocket).subscriptions].sort().join();
      if (told !== [...client.topics].sort().join())
        this.#fail(`client ${client.name} subscribes to ${told}`);
    }
    for (const topic of TOPICS) {
      const count = this.#pump.subscriberCount(topic);
      const least = sure.filter((c) => c.topics.has(topic)).length;
      const most = open.filter((c) => c.topics.has(topic)).length;
      if (count < least || count > most) this.#fail(`${topic} has ${count}, not ${least}`);
    }
  }

  #publishStaged(whole: Uint8Array, topic: string | undefined, options: PublishOptions): boolean {
    const stage = this.#pump.stage();
    const r = this.#random;
    let at = 0;
    while (at < whole.length) {
      const n = Math.min(whole.length - at, 1 + r.size(1000));
      stage.bytes(whole.subarray(at, at + n));
      at += n;
    }
    if (r.chance(0.1)) {
      stage.discard();
      return false;
    }
    return topic === undefined ? stage.broadcast(options) : stage.publish(topic, options);
  }

  #sendOne(): string {
    const client = this.#some((c) => c.ws?.open === true);
    if (!client?.ws) return "send: nobody";
    const text = "s".repeat(this.#random.size(3000));
    const sent = client.ws.send(text);
    if (sent) client.frames.push({ opcode: 1, payload: encoder.encode(text) });
    return `send ${client.name} ${text.length}: ${sent}`;
  }

  #clientMessage(): string {
    const client = this.#some((c) => c.ws?.open === true && !c.closed);
    if (!client) return "message: nobody";
    const r = this.#random;
    const mask = r.bytes(4);
    if (r.chance(0.2)) {
      const text = `p${this.#names++}`;
      client.pings.push(text);
      this.#send(client, clientFrame(9, encoder.encode(text), mask));
      return `ping ${client.name}`;
    }
    const payload = encoder.encode("m".repeat(r.size(5000)));
    const cut = r.chance(0.3) ? r.int(0, payload.length) : -1;
    if (cut < 0) this.#send(client, clientFrame(r.pick([1, 2]), payload, mask));
    else {
      this.#send(client, clientFrame(1, payload.subarray(0, cut), mask, false));
      this.#send(client, clientFrame(0, payload.subarray(cut), mask));
    }
    return `message ${client.name} ${payload.length}`;
  }

  #badFrame(): string {
    const client = this.#some((c) => c.ws?.open === true && !c.closed);
    if (!client) return "bad frame: nobody";
    client.quit = true;
    const bad = this.#random.pick([
      new Uint8Array([0x83, 0x80, 0, 0, 0, 0]),
      new Uint8Array([0xc1, 0x80, 0, 0, 0, 0]),
      new Uint8Array([0x81, 0x00]),
      new Uint8Array([0x81, 0x81, 0, 0, 0, 0, 0xff]),
    ]);
    this.#send(client, bad);
    return `bad frame ${client.name}`;
  }

  #badRequest(): string {
    const client = this.#some((c) => c.kind === "http" && !c.refused);
    if (!client) return "bad request: nobody";
    client.refused = true;
    this.#send(client, encoder.encode("NONSENSE\r\n\r\n"));
    client.answers.push({ status: 400, body: "Bad Request\n" });
    return `bad request ${client.name}`;
  }

  #readStep(): string {
    const client = this.#some((c) => !c.stalled);
    if (!client) return "read: nobody";
    const limit = this.#random.chance(0.5) ? Number.POSITIVE_INFINITY : this.#random.size(3000);
    this.#read(client, limit);
    return `read ${client.name}`;
  }

  #leave(): string {
    const client = this.#some(() => true);
    if (!client) return "leave: nobody";
    const how = this.#random.pick(["reset", "end", "close", "server"] as const);
    if (how === "reset") {
      client.quit = true;
      client.socket.reset();
    } else if (how === "end") {
      client.quit = true;
      client.socket.end();
    } else if (how === "close" && client.ws?.open) {
      client.quit = true;
      this.#send(client, clientFrame(8, new Uint8Array([3, 232]), new Uint8Array(4)));
    } else if (how === "server" && client.ws?.open) {
      if (this.#random.chance(0.5)) client.ws.close(1000, "enough");
      else client.ws.terminate();
      client.quit = true;
    }
    return `${how} ${client.name}`;
  }

  #stall(): string {
    const client = this.#some(() => true);
    if (!client) return "stall: nobody";
    client.stalled = !client.stalled;
    return `${client.stalled ? "stall" : "unstall"} ${client.name}`;
  }

  #time(): string {
    const ms = this.#random.chance(0.05) ? this.#random.int(1000, 70000) : this.#random.int(0, 300);
    this.#clock.advance(ms);
    return `advance ${ms}`;
  }

  #answerPending(): string {
    const keys = [...this.#pending.keys()];
    if (keys.length === 0) return "answer: none";
    const key = this.#random.pick(keys);
    const fn = this.#pending.get(key) as () => void;
    this.#pending.delete(key);
    fn();
    return `answer ${key}`;
  }

  #step(): string {
    const draw = this.#random.next() * 100;
    if (draw < 6) return this.#connect();
    if (draw < 16) return this.#request();
    if (draw < 22) return this.#upgrade();
    if (draw < 47) return this.#publish();
    if (draw < 53) return this.#sendOne();
    if (draw < 62) return this.#clientMessage();
    if (draw < 78) return this.#readStep();
    if (draw < 84) return this.#subscribe();
    if (draw < 86) return this.#leave();
    if (draw < 88) return this.#stall();
    if (draw < 94) return this.#time();
    if (draw < 99) return this.#answerPending();
    if (draw < 99.4) return this.#badFrame();
    if (draw < 99.7) return this.#badRequest();
    return this.#brokenUpload();
  }

  #checkAll(): void {
    if (this.#errors.length > 0) this.#fail(this.#errors.join("\n"));
    const rule = this.#engine.x.check();
    if (rule !== 0) this.#fail(`the engine's rule ${rule} does not hold`);
    this.#checkTopics();
    if (this.#engine.x.memory.buffer.byteLength !== this.#memory)
      this.#fail("the memory has grown");
  }

  /** Everybody reads everything; who is alive must have received the whole of the model's list. */
  async #finish(): Promise<void> {
    // The last pass may be waiting for its time.
    this.#pump.flushInterval = 0;
    this.#clock.advance(20);
    for (let quiet = 0; quiet < 3; ) {
      let moved = this.#clock.run();
      while (this.#pending.size > 0) {
        this.#answerPending();
        moved = true;
      }
      // An iterator of a body takes a few of them for each piece.
      for (let i = 0; i < 20; i++) await Promise.resolve();
      for (const client of this.#clients) {
        if (client.socket.available > 0) {
          this.#read(client, Number.POSITIVE_INFINITY);
          moved = true;
        }
      }
      this.#checkAll();
      quiet = moved ? 0 : quiet + 1;
    }
    for (const client of this.#clients) {
      if (
        client.quit ||
        client.refused ||
        client.closed ||
        client.socket.gone !== "" ||
        client.socket.ended
      )
        continue;
      if (client.frames.length > 0 || client.answers.length > 0 || client.received.length > 0) {
        this.#fail(
          `client ${client.name} (${client.kind}) lacks ${client.frames.length} frames, ` +
            `${client.answers.length} answers; ${client.received.length} bytes are left over`,
        );
      }
    }
    this.#pump.endAll();
    this.#clock.run();
    this.#clock.advance(100000);
    this.#checkAll();
    const { engine } = this.#pump;
    engine.x.gauge();
    const get = (index: Control): number => engine.get(index);
    if (get(Control.ReceivePoolUsed) !== 0) this.#fail("a receive buffer leaked");
    if (get(Control.ReplyPoolUsed) !== 0) this.#fail("a reply block leaked");
    if (get(Control.ConnectionCount) !== 0 || get(Control.WebSocketCount) !== 0)
      this.#fail("a slot leaked");
    if (get(Control.SubscriptionCount) !== 0) this.#fail("a subscription leaked");
    if (get(Control.DeadCount) !== 0) this.#fail("a dead slot was not freed");
    const { closed, accepted } = this.#pump.stats();
    const sum = Object.values(closed).reduce((a, b) => a + b, 0);
    if (sum !== accepted) this.#fail(`${accepted} connections were accepted, ${sum} closed`);
  }

  async run(): Promise<SimulationResult> {
    await this.start();
    for (let i = 0; i < this.#options.steps; i++) {
      this.log.push(`${i}: ${this.#step()}`);
      // Sometimes several things happen in one turn.
      if (this.#random.chance(0.3)) continue;
      this.#clock.run();
      if (i % 4 === 0) for (let k = 0; k < 8; k++) await Promise.resolve();
      this.#clock.run();
      this.#checkAll();
    }
    await this.#finish();
    const stats = this.#pump.stats();
    return {
      steps: this.#options.steps,
      evicted: stats.evicted,
      published: this.#published,
      refusedPublications: this.#refused,
      requests: this.#requests,
      closed: stats.closed,
    };
  }
}

/** Runs one seed. @throws an Error that names the seed and shows the last steps */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  try {
    return await simulation.run();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const last = simulation.log.slice(-Number(process.env.LAST ?? 12)).join("\n  ");
    error.message = `seed ${options.seed}: ${error.message}\nafter\n  ${last}`;
    throw error;
  }
}
