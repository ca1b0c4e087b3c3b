// The world of a run: the real engine, the real pump, the real classes of each placement, over sockets in memory and
// under a virtual clock; clients, a handler, the server's owner, and the judge that receives all events.
//
// Invariant: a run follows from the settings and the steps alone.

import { createHash } from "node:crypto";
import { Control, Param } from "../../assembly/abi";
import { PAD_BYTES } from "../../assembly/plan";
import type { StaticBody, WebSocket } from "../../host/handler";
import { CLOSE_TABLE } from "../../host/shared/close";
import { positionText, sequenceOf } from "../../host/shared/message/position";
import { toBytes } from "../../host/shared/text/text";
import type { Application } from "../../host/local/application";
import { Runner } from "../../host/testing/run";
import type { Engine } from "../../worker/engine/engine";
import { configure } from "../../worker/control/configure";
import type { Accept, Listener } from "../../worker/net/transport";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import { zlibCodec } from "../../worker/net/zlib";
import { Pump } from "../../worker/pump/pump";
import { closeFrame, frame } from "../lib/frame";
import { upgradeFields } from "../lib/handshake";
import { stepped } from "../lib/stepped";
import { testEngine } from "../lib/wasm";
import { Client } from "./client";
import { MODULE, TAG_BYTES, bodyOf, dataOf, pageOf, pagesOf, payloadOf } from "./content";
import { Exact } from "./exact";
import { type Asked, type Scene, handlerOf } from "./handler";
import type { Court, Judge } from "./judge";
import { Ledger } from "./ledger";
import { Lines } from "./lines";
import { Owner } from "./owner";
import {
  ApplicationPlace,
  type Ground,
  InlinePlace,
  type Place,
  PoolPlace,
  Traffic,
} from "./places";
import { Post } from "./post";
import { AS_ASKED } from "./sources";
import { type Ask, type Of, type Say, type Settings, type Since, type Step, TOPICS } from "./steps";
import { OPENINGS, Upstreams, isRequest } from "./upstreams";
import { Watch } from "./watch";
import { BROKEN, FAULTS, OFFERS, STREAM_OFFER } from "./wrong";

/** Bytes of the largest message that is inflated in one call, and of the steps in which larger ones are. */
const SMALL_BYTES = 300;
const STEP_BYTES = 200;

/** Errors that are reported without a handler having thrown. */
const EXPECTED_ERRORS = [
  AS_ASKED,
  "the handler settled without an answer",
  / are taken$/,
  /^handlerTimeout: /,
  /^the pool's thread ended/,
  /^body: its source /,
];
/** ms of virtual time within which a message between threads arrives, and a turn that was put off comes. */
const QUIET_MILLIS = 60;

/** Exact mode knows the Date of an answer. */
class FixedClock extends VirtualClock {
  override date(): number {
    return this.epoch;
  }
}

/**
 * ms between two reads of clients that read at a rate. Queues are read once a second: were that a multiple of it, a
 * queue that is filled again and again would look the same each time.
 */
const PACE_MILLIS = 130;

const encoder = new TextEncoder();

/** Input of an event stream. */
const NOISE = "GET / HTTP/1.1\r\nHost: sim\r\n\r\n\u0081\u0080";

/** Returns true for a client whose transport copies what it writes, every third. */
const isCopied = (address: string): boolean => Number(address.slice(1)) % 3 === 0;

/** Returns true for a step whose order among others matters to several clients. */
function concernsOthers(step: Step): boolean {
  if (step.kind === "say") return step.says.some(({ how }) => how === "burst");
  const own = ["connect", "read", "request", "ping", "wait", "raw", "upstream"];
  return !own.includes(step.kind);
}

/** Returns a request as a client sends it. */
function textOf(client: Client, ask: Ask): string {
  const { tag, method, how, size, framing, minor, close, expect } = ask;
  const body = bodyOf(tag, size);
  let text = `${method} /${client.id}?${how} HTTP/1.${minor}\r\nHost: sim\r\nX-Tag: ${tag}\r\n`;
  if (close) text += "Connection: close\r\n";
  else if (minor === 0) text += "Connection: keep-alive\r\n";
  if (expect) text += "Expect: 100-continue\r\n";
  if (method !== "POST") return `${text}\r\n`;
  if (framing === "length") return `${text}Content-Length: ${size}\r\n\r\n${body}`;
  text += "Transfer-Encoding: chunked\r\n\r\n";
  for (let at = 0; at < size; at += 700) {
    const piece = body.slice(at, at + 700);
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
  }
  return `${text}0\r\n${framing === "trailers" ? "X-Trailer: x\r\n" : ""}\r\n`;
}

export class World implements Scene, Court {
  /** Connections that were refused, and left again. */
  refused = 0;
  readonly settings: Settings;
  readonly engine: Engine;
  readonly memory: number;
  readonly pump: Pump;
  readonly clock: VirtualClock;
  readonly runner: Runner;
  readonly net: MemoryNet;
  readonly watch: Watch;
  readonly judge: Judge;
  readonly post: Post;
  readonly owner: Owner;
  readonly lines = new Lines();
  /** Where connections that are not HTTP are handed to; undefined: each must be HTTP. */
  readonly upstreams: Upstreams | undefined;
  readonly #traffic: Traffic;
  readonly #place: Place;
  /** The handler's side, where that is another thread. */
  readonly application: Application | undefined;
  /** Clients by number, which is their address. */
  readonly clients = new Map<number, Client>();
  // The handler's knowledge.
  version = 0;
  thrown = 0;
  reading = 0;
  readonly sources = new Set<object>();
  readonly asks = new Map<number, Asked>();
  readonly says = new Map<number, Say>();
  readonly pending = new Map<number, () => void>();
  readonly streamed = new Map<string | Uint8Array, number>();
  readonly streams: Client[] = [];
  readonly sockets = new Map<number, WebSocket>();
  readonly parts = new Map<Client, Uint8Array[]>();
  readonly #bodies = new Map<string, StaticBody>();
  // Events so far.
  readonly errors: string[] = [];
  /** Hash of everything that clients have received, and when. */
  readonly trace = createHash("sha256");
  evictions = 0;
  /** When `writeTimeout` was last set. */
  writeTimeoutAt = 0;
  #pings = 0;
  isStopping = false;
  /** The run is at its end, so all clients read. */
  isEnding = false;
  #listener: Listener | undefined;

  constructor(settings: Settings, build?: "release" | "debug") {
    this.settings = settings;
    const { params, mode } = settings;
    this.watch = new Watch(settings.tells, (address, view) => this.#mayWrite(address, view));
    this.clock = mode === "exact" ? new FixedClock() : new VirtualClock();
    this.runner = new Runner(this.clock);
    this.net = new MemoryNet(this.clock);
    this.#traffic = new Traffic(this.clock, settings.delay);
    this.engine = testEngine(params, build);
    this.memory = this.engine.x.memory.buffer.byteLength;
    const { isRaw } = settings;
    this.upstreams = isRaw ? this.#makeUpstreams() : undefined;
    const { upstreams } = this;
    this.pump = new Pump({
      engine: this.engine,
      raw: upstreams && { connect: upstreams.connect, failed: () => void upstreams.failures++ },
      clock: this.clock,
      queues: this.net.queues,
      codec: params.DeflateRingBytes === 0 ? undefined : stepped(SMALL_BYTES, STEP_BYTES),
      values: { flushInterval: settings.flushInterval, ordered: settings.ordered ? 1 : 0 },
      errorPages: pagesOf(settings),
      protocolHandlers: [{ name: MODULE, module: 1, isDefault: false }],
      log: this.lines.log,
      failed: this.#failed,
      evicted: (evictions) => {
        this.evictions += evictions.length;
      },
    });
    this.judge = mode === "exact" ? new Exact(this) : new Ledger(this);
    this.post = new Post(this.pump, this.clock, settings, this.#traffic.line);
    this.#place = this.#makePlace();
    if (this.#place instanceof ApplicationPlace) this.application = this.#place.application;
    this.owner = new Owner(this);
  }

  #makeUpstreams(): Upstreams {
    const world = this;
    const { params, mode } = this.settings;
    return new Upstreams({
      clock: this.clock,
      get isPrompt() {
        return mode === "exact" || world.isEnding;
      },
      most: ((params.Connections as number) + 1) >> 1,
      bufferBytes: mode === "exact" ? 16384 : 2000,
      windowBytes: params.WindowBytes as number,
      clientOf: (sink) => {
        const peer = this.pump.connections.find(({ pipe }) => pipe === (sink as unknown));
        if (!peer) throw new Error("an upstream for no connection");
        return this.clientAt(peer.remoteAddress);
      },
      heldFor: (client) => {
        const peer = this.pump.connections.find((one) => one.remoteAddress === `#${client.id}`);
        return peer?.pipe?.held;
      },
    });
  }

  #makePlace(): Place {
    const { settings, clock, pump } = this;
    const { inbox, writer } = this.post;
    const ground: Ground = {
      ...{ settings, clock, pump, inbox, writer, failed: this.#failed },
      line: this.#traffic.line,
      backlog: settings.params.Backlog as number,
    };
    if (settings.place === "application") return new ApplicationPlace(ground);
    return settings.place === "pool" ? new PoolPlace(ground) : new InlinePlace(ground);
  }

  readonly #failed = (error: Error): void => {
    const isExpected = EXPECTED_ERRORS.some((one) =>
      typeof one === "string" ? one === error.message : one.test(error.message),
    );
    if (!isExpected) this.note(String(error.stack));
  };

  /** Returns true for a write that is not longer than a run of its client may be. Only rings have this limit here. */
  #mayWrite(address: string, { buffer, byteOffset, length }: Uint8Array): boolean {
    const { engine } = this;
    const rings = engine.get(Control.RingAddress);
    const { RingBytes = 0, DeflateRingBytes = 0, EventRingBytes = 0 } = this.settings.params;
    const end = rings + RingBytes + DeflateRingBytes + EventRingBytes + 3 * PAD_BYTES;
    const isRun = buffer === engine.u8.buffer && byteOffset >= rings && byteOffset < end;
    const most = engine.param(Param.RunBytes);
    const copied = isCopied(address) ? engine.param(Param.CopiedRunBytes) : most;
    return !isRun || length <= Math.min(most, copied);
  }

  note(error: string): void {
    this.errors.push(error);
  }

  after(ms: number, fn: () => void): void {
    this.clock.after(ms, fn);
  }

  // ---- what the handler asks for ---------------------------------------------------------------------------

  get isExact(): boolean {
    return this.settings.mode === "exact";
  }

  get isOrdered(): boolean {
    return this.settings.ordered;
  }

  clientAt(address: string): Client {
    const client = this.clients.get(Number(address.slice(1)));
    if (!client) throw new Error(`no client is at ${address}`);
    return client;
  }

  readonly staticBody = (text: string): StaticBody => {
    const body = this.#bodies.get(text) ?? this.#place.body(text);
    this.#bodies.set(text, body);
    return body;
  };

  /** Where the handler is in the worker, every second client is a module's. */
  moduleOf({ id }: Client): number {
    return this.settings.place === "inline" ? id % 2 : 0;
  }

  /** Outside of the application's thread the WebSockets of some clients are given to the module by its name. */
  socketModuleOf(client: Client): number {
    const { place } = this.settings;
    if (client.isStream) return this.moduleOf(client);
    if (place === "pool") return client.id % 2;
    return place === "inline" && client.id % 4 === 0 ? 1 : this.moduleOf(client);
  }

  echo(client: Client, ws: WebSocket, data: string | Uint8Array, tag: number): void {
    this.owner.send(client, ws, data, tag, true);
  }

  readonly echoed = (client: Client, data: string | Uint8Array, tag: number): void => {
    const opcode = typeof data === "string" ? 1 : 2;
    const payload = toBytes(data);
    this.judge.echoed({ tag, opcode, payload, plain: false, via: "handler", to: client });
  };

  get isKept(): boolean {
    return this.settings.params.History === 1;
  }

  joined(client: Client, topic: number): void {
    this.judge.joined(client, topic);
  }

  join(client: Client, ws: WebSocket, topic: number): void {
    if (this.owner.join(ws, topic)) this.judge.joined(client, topic);
  }

  welcome(client: Client, ws: WebSocket, tag: number): void {
    this.owner.send(client, ws, dataOf(tag, 2, TAG_BYTES + (tag % 3000)), tag, false);
  }

  opened(client: Client): void {
    this.judge.opened(client);
  }

  get published(): number {
    return this.owner.positions;
  }

  get forgotten(): number {
    return this.engine.get(Control.TopicsForgotten);
  }

  burst(tag: number): void {
    this.owner.burst(tag);
  }

  // ---- what the judge and the checks ask for ---------------------------------------------------------------

  /** Clients whose WebSocket is open, as the worker knows. */
  audience(): Map<Client, WebSocket> {
    const found = new Map<Client, WebSocket>();
    this.pump.each((ws) => found.set(this.clientAt(ws.remoteAddress), ws));
    return found;
  }

  readers(): Map<Client, readonly number[]> {
    const found = new Map<Client, readonly number[]>();
    for (const [client, ws] of this.audience())
      found.set(
        client,
        ws.subscriptions.map((name) => TOPICS.indexOf(name)),
      );
    return found;
  }

  isHandled(tag: number): boolean {
    return this.asks.get(tag)?.isHandled === true;
  }

  /** Nothing is under way between the threads. */
  get isQuiet(): boolean {
    const isClear = this.application?.outlet.isClear ?? true;
    return isClear && this.#traffic.underWay === 0 && this.reading === 0 && this.post.isQuiet;
  }

  /** Errors of the handler's that were counted. */
  get handlerErrors(): number {
    return this.pump.handlerErrors + this.#place.errors;
  }

  // ---- the run -----------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    await this.#use(0);
    const traits = { number: 0, isSecure: false, proxies: undefined, redirects: false };
    const copied = this.pump.acceptor({ ...traits, isCopied: true });
    const accept: Accept = (link) =>
      isCopied(link.remoteAddress) ? copied(link) : this.pump.accept(link);
    this.#listener = this.net.open(this.engine.windowView(), this.watch.over(accept));
    if (this.settings.isTimed) this.#pace();
  }

  /** Has clients read at their rate, until the end. */
  readonly #pace = (): void => {
    if (this.isEnding) return;
    for (const client of this.clients.values()) client.readAtRate(PACE_MILLIS);
    this.clock.after(PACE_MILLIS, this.#pace);
  };

  async step(step: Step): Promise<void> {
    const isAlone = this.isExact && concernsOthers(step);
    if (isAlone) await this.untilQuiet();
    if (isAlone && step.kind === "shutdown") await this.#readAll();
    await this.#act(step);
    if (step.pause === 0) await this.runner.settle();
    else if (step.pause > 0) await this.runner.advance(step.pause);
    if (isAlone || (this.isExact && step.pause >= 0)) await this.untilQuiet();
    if (!this.isExact && this.isQuiet && step.pause >= 0) this.judge.quiet();
  }

  /**
   * All clients read what there is for them, so that every request has reached its handler: a client that does not read
   * a body keeps its next requests waiting.
   */
  async #readAll(): Promise<void> {
    this.isEnding = true;
    for (const client of this.clients.values()) client.read(Number.POSITIVE_INFINITY);
    await this.untilQuiet();
    this.isEnding = false;
  }

  /** In exact mode: until nothing is under way. */
  async untilQuiet(): Promise<void> {
    for (let rounds = 0; rounds === 0 || !this.isQuiet; rounds++) {
      if (rounds > 100) throw new Error("messages between the threads are under way for ever");
      await this.runner.advance(QUIET_MILLIS);
    }
    this.judge.quiet();
    this.upstreams?.checkQuiet(false);
  }

  async #act(step: Step): Promise<void> {
    switch (step.kind) {
      case "connect":
        return this.#connect(step);
      case "calls":
        return this.owner.calls(step);
      case "stale":
        return this.owner.stale(step);
      case "settle":
        return this.settle(step.tag);
      case "reload":
        return this.#reload();
      case "configure":
        if (step.name === "writeTimeout") this.writeTimeoutAt = this.clock.now();
        return configure(this.pump, { [step.name]: step.value });
      case "block":
        return this.#place.block(step.ms);
      case "shutdown":
        return this.#shutdown(step.drainMs);
      case "wait":
        return undefined;
      case "read":
        return this.clients.get(step.client)?.read(step.limit);
      default: {
        const client = this.clients.get(step.client);
        if (step.kind === "upstream") {
          const { act, tag, size } = step;
          if (client) this.upstreams?.act(client, act, tag, size);
          return undefined;
        }
        if (!client?.isAlive) return undefined;
        if (step.kind === "raw") return this.#raw(client, step);
        if (step.kind === "leave") return this.#leave(client, step.how);
        if (step.kind === "freeze") return client.freeze(step.what);
        if (client.phase === "raw") return undefined;
        const isHttp = !client.isUpgrading;
        if (step.kind === "request") return isHttp ? this.#request(client, step) : undefined;
        if (step.kind === "stub") return isHttp ? this.#stub(client, step) : undefined;
        if (step.kind === "broken") return isHttp ? this.#broken(client, step) : undefined;
        if (step.kind === "upgrade") return isHttp ? this.#upgrade(client, step) : undefined;
        if (!client.isOpen) return undefined;
        // The server reads the input of an event stream, and drops it.
        if (client.isStream) return client.send(encoder.encode(NOISE), step.cut);
        // Whether messages that wait are still answered, before what ends a WebSocket, depends on how they were cut.
        if (step.kind === "fault" && this.isExact && client.said.length > 0) return undefined;
        if (step.kind === "say") return this.#say(client, step);
        return step.kind === "ping" ? this.#ping(client, step) : this.#fault(client, step);
      }
    }
  }

  #connect({ client: id, buffer, prompt, polite, rate }: Of<"connect">): void {
    const address = `#${id}`;
    // Linux wakes a writer when a third is free, so what a client reads shows in its send queue.
    const lump = this.settings.isTimed ? Math.floor(buffer / 3) : 0;
    const socket = this.net.connect(buffer, address, lump);
    if (!socket) return;
    const peer = this.pump.connections.find(({ peerAddress }) => peerAddress === address);
    if (!peer) {
      // All slots are taken, so it would get 503 and end.
      this.refused++;
      socket.reset();
      return;
    }
    const { clock, runner } = this;
    const world = this;
    const around = {
      judge: this.judge,
      upstreams: this.upstreams,
      lines: this.lines,
      get isEnding() {
        return world.isEnding;
      },
      now: () => clock.now(),
      defer: (fn: () => void) => clock.defer(fn),
      settle: () => runner.settle(),
      pageOf: (status: number) => pageOf(status, this.settings),
      received: (bytes: Uint8Array) => {
        this.trace.update(`${clock.now()} ${id} ${bytes.length}\n`).update(bytes);
      },
    };
    const client = new Client(id, socket, { prompt, polite, rate }, around);
    this.clients.set(id, client);
    peer.module = this.moduleOf(client);
  }

  // ---- requests --------------------------------------------------------------------------------------------

  async #request(client: Client, { asks, cut }: Of<"request">): Promise<void> {
    let text = "";
    for (const ask of asks) {
      if (client.isDone) break;
      text += textOf(client, ask);
      client.heads.push(ask.method === "HEAD");
      this.#asked(client, ask, true);
      // Another request would not be answered.
      const isUnframed = ask.how === "pieces" && ask.minor === 0 && ask.method !== "HEAD";
      client.isDone = ask.close || ask.how === "close" || isUnframed;
    }
    await client.send(encoder.encode(text), cut);
  }

  #asked(client: Client, ask: Ask, isWhole: boolean): void {
    this.asks.set(ask.tag, { client, ask, isHandled: false });
    this.judge.asked(client, ask, isWhole);
  }

  async #stub(client: Client, { ask, part }: Of<"stub">): Promise<void> {
    const text = textOf(client, ask);
    // At least one octet is missing.
    const cut = text.slice(0, Math.floor(part * text.length));
    client.heads.push(cut.startsWith("HEAD "));
    this.#asked(client, ask, false);
    client.isDone = true;
    await client.send(encoder.encode(cut), { at: [], turns: false });
  }

  async #broken(client: Client, { which, cut }: Of<"broken">): Promise<void> {
    const broken = BROKEN[which];
    if (!broken) return;
    // The first bytes decide whether it speaks HTTP.
    if (this.upstreams && client.isFresh && !isRequest(broken.text)) client.beRaw();
    if (client.phase === "raw") return client.send(encoder.encode(broken.text), cut);
    client.heads.push(false);
    client.isDone = true;
    this.judge.broken(client, broken.status);
    await client.send(encoder.encode(broken.text), cut);
  }

  /** Returns the position that a client names. */
  #sinceFor({ how, client, back }: Since): string | undefined {
    const epoch = this.settings.params.Epoch as number;
    const last = sequenceOf(this.pump.position());
    const old = positionText(epoch, Math.max(0, last - back));
    switch (how) {
      case "of":
        return this.clients.get(client)?.position;
      case "back":
        return old;
      case "future":
        return positionText(epoch, last + 1e6 + back);
      case "foreign":
        return positionText(epoch - 1 - back, back);
      default:
        return ["", "0", `${old}0`, old.toUpperCase(), "-", `${old}, ${old}`][back % 6];
    }
  }

  async #upgrade(
    client: Client,
    { tag, offer, how, cut, since: asked }: Of<"upgrade">,
  ): Promise<void> {
    const named = asked && this.#sinceFor(asked);
    // The model does not know the size of what is gone.
    const since = named !== undefined && this.owner.isCertain(named) ? named : undefined;
    this.asks.set(tag, { client, open: how, isHandled: false });
    client.heads.push(false);
    client.isUpgrading = how !== "refuse";
    this.judge.upgraded(client, tag, offer, how, since);
    client.isSource ||= offer >= STREAM_OFFER;
    client.isStream = offer >= STREAM_OFFER && how !== "refuse";
    const isQueried = since !== undefined && tag % 5 === 0;
    const inQuery = isQueried ? `&since=${encodeURIComponent(since)}` : "";
    const inField = since === undefined || isQueried ? "" : `Last-Event-ID: ${since}\r\n`;
    const text =
      offer >= STREAM_OFFER
        ? `GET /${client.id}?events${inQuery} HTTP/1.1\r\nHost: sim\r\nX-Tag: ${tag}\r\n` +
          `${inField}Accept: text/event-stream\r\n\r\n${client.isStream && tag % 4 === 0 ? NOISE : ""}`
        : `GET /${client.id} HTTP/1.1\r\nHost: sim\r\nX-Tag: ${tag}\r\n` +
          `${upgradeFields()}${OFFERS[offer] ?? ""}\r\n`;
    await client.send(encoder.encode(text), cut);
    if (client.isUpgrading) client.read(Number.POSITIVE_INFINITY);
  }

  async #raw(client: Client, { tag, opening, opens, size, cut }: Of<"raw">): Promise<void> {
    if (!this.upstreams || (client.phase !== "raw" && !client.isFresh)) return;
    const parts = [payloadOf(tag, 2, size)];
    if (client.isFresh) {
      this.upstreams.expect(client, opens);
      parts.unshift(OPENINGS[opening] as Uint8Array);
      client.beRaw();
    }
    await client.send(Buffer.concat(parts), cut);
  }

  // ---- frames ------------------------------------------------------------------------------------------------

  async #say(client: Client, { says, cut }: Of<"say">): Promise<void> {
    const frames = says.flatMap((say) => this.#framesOf(client, say));
    await client.send(Buffer.concat(frames), cut);
  }

  #framesOf(client: Client, say: Say): Uint8Array[] {
    const { tag, opcode, frames, pings, deflate } = say;
    const least = this.isExact ? 0 : TAG_BYTES;
    const payload = payloadOf(tag, opcode, Math.max(least, say.size));
    const packed = deflate && client.deflates;
    const wire = packed ? zlibCodec.deflate(payload, 15) : payload;
    const out: Uint8Array[] = [];
    const mask = [tag & 255, (tag >> 8) & 255, 7, 0];
    for (let i = 0; i < frames; i++) {
      const part = wire.subarray((wire.length * i) / frames, (wire.length * (i + 1)) / frames);
      const final = i === frames - 1;
      const reserved = packed && i === 0 ? 4 : 0;
      out.push(frame(i === 0 ? opcode : 0, part, { final, reserved, mask }));
      if (pings && !final) out.push(this.#pingFrame(client));
    }
    this.says.set(tag, say);
    client.said.push({ tag, opcode, payload });
    this.judge.said(client, say, payload);
    return out;
  }

  /** No two pings are alike: a pong says by its text which ping it answers. */
  #pingFrame(client: Client): Uint8Array {
    const text = `ping ${this.#pings++}`;
    client.pings.push(text);
    return frame(9, text);
  }

  async #ping(client: Client, { count, cut }: Of<"ping">): Promise<void> {
    const pings = Array.from({ length: count }, () => this.#pingFrame(client));
    await client.send(Buffer.concat(pings), cut);
  }

  async #fault(client: Client, { which, cut }: Of<"fault">): Promise<void> {
    const fault = FAULTS[which];
    if (!fault || (fault.deflated && !client.deflates)) return;
    if (fault.whole && this.settings.params.Pieces === 1) return;
    client.isDone = true;
    this.judge.failed(client, fault.code, CLOSE_TABLE[fault.cause].text);
    await client.send(fault.bytes, cut);
  }

  #leave(client: Client, how: Of<"leave">["how"]): void {
    // It is not defined how much a reset or a Close of its own cuts off. Requests before the end of its side are
    // handled.
    if (this.isExact && client.said.length > 0 && how !== "end") return;
    // Whether its handshake or the end of its side comes first depends on the handlers before them.
    if (this.isExact && client.isUpgrading && !client.isOpen) return;
    if (how === "reset") client.reset();
    else if (how === "close" && client.isOpen && !client.isStream) {
      client.isDone = true;
      this.judge.failed(client, 1000, "");
      client.socket.send(closeFrame(1000));
    } else client.end();
  }

  // ---- the server ------------------------------------------------------------------------------------------

  /** A handler that waits continues. */
  settle(tag: number): void {
    const fn = this.pending.get(tag);
    this.pending.delete(tag);
    if (!fn) return;
    this.judge.settled(tag);
    fn();
  }

  async #reload(): Promise<void> {
    const next = this.version + 1;
    await this.#use(next);
    this.version = next;
  }

  async #use(version: number): Promise<void> {
    await this.#place.use(handlerOf(this, version));
    this.pump.setModules([handlerOf(this, version, 1)]);
  }

  #shutdown(drainMs: number): void {
    if (this.isStopping) return;
    this.isStopping = true;
    this.judge.stopped();
    this.#place.shutdown();
    this.#listener?.close();
    this.pump.farewell.begin(drainMs);
  }

  /** Lets all clients read everything, and pending handlers settle. */
  async rest(ms: number): Promise<void> {
    this.isEnding = true;
    this.upstreams?.rest();
    for (const client of this.clients.values()) client.read(Number.POSITIVE_INFINITY);
    await this.runner.advance(ms);
    for (const tag of [...this.pending.keys()]) {
      this.settle(tag);
      if (this.isExact) await this.untilQuiet();
    }
    for (const [client, ws] of this.owner.paused) {
      this.owner.pause(client, ws, false);
      if (this.isExact) await this.untilQuiet();
    }
    await this.runner.settle();
  }

  /** Ends what is left, and the application. */
  async end(): Promise<void> {
    this.pump.endAll();
    // Handlers that never settle are not waited for any more.
    await this.runner.advance(10000);
    this.#place.end();
    this.pump.stop();
    await this.runner.settle();
  }
}
