// Draws a run from its seed: settings, then steps, before anything runs. It knows clients only by the steps it has
// drawn for them, so some will have been evicted meanwhile.

import { Random } from "../../host/testing/random";
import {
  type Action,
  type Ask,
  type Call,
  type Cut,
  LIVE,
  type Live,
  type MessageHow,
  type Mode,
  type OpenHow,
  type Opens,
  PLACES,
  type Publish,
  type RequestHow,
  type Say,
  type Script,
  type Settings,
  type Since,
  type Step,
  TOPICS,
} from "./steps";
import { SEND_RATE } from "./client";
import { OPENINGS } from "./upstreams";
import { BROKEN, FAULTS, OFFERS } from "./wrong";

/** How often each kind of step is drawn. */
const WEIGHTS = {
  ...{ connect: 7, request: 9, upgrade: 7, wrong: 0.7, read: 14, leave: 2 },
  ...{ calls: 36, say: 9, ping: 3, fault: 0.7, settle: 6, wait: 1, reload: 1 },
  ...{ stale: 2, configure: 1.5, block: 2, raw: 4, upstream: 8 },
};
type Kind = keyof typeof WEIGHTS;
const KINDS = Object.keys(WEIGHTS) as Kind[];
const TOTAL = Object.values(WEIGHTS).reduce((a, b) => a + b, 0);

/** Messages of a flood: more than the event table has entries. */
const FLOOD = 3000;
/** An hour in ms: no time limit of that length passes within a run. */
const HOUR = 3600000;

/** Draws the settings that both modes have. */
function drawSettings(mode: Mode, r: Random): Settings {
  const place = r.pick(PLACES);
  const params = {
    RunBytes: r.pick([700, 2048, 262144]),
    PassBytes: r.pick([0, 1000, 30000]),
    WindowBytes: r.pick([512, 4096, 65536]),
    DeflateThreshold: r.pick([24, 200]),
    FirstSequence: r.pick([0, 2 ** 32 - 500, 2 ** 53 - 1000]),
    Seed: r.int(1, 1e9),
    Epoch: 36 ** 8 - 1,
    Fragments: 50,
    ScratchBytes: r.pick([66000, 131072]),
    StreamBytes: 65536,
    Pieces: r.chance(0.15) ? 1 : 0,
  };
  const settings = { mode, place, delay: r.pick([0, 1, 5]), copied: r.chance(0.3) };
  const more =
    mode === "exact" ? ample(r) : r.chance(0.15) ? timed(r) : scarce(r, params.WindowBytes);
  const isRaw = r.chance(0.35);
  // In some of these runs a client that is silent does not speak HTTP either.
  const silence = isRaw && mode === "stress" ? r.pick([0, 0, SILENCE_MILLIS]) : 0;
  // At offset 0 messages of a parked stream that resumes wait for no publication, so they are sent at once.
  const isFirst = params.FirstSequence === 0 && mode === "exact";
  if (isFirst && isKept(mode, params.Seed, more.params)) params.FirstSequence = 2 ** 32 - 500;
  const own = {
    ordered: r.chance(0.8),
    isPaged: params.Seed % 2 === 0,
    isRaw,
    tells: params.Seed % 5 > 1,
  };
  const CopiedRunBytes = [600, 1000, 65536][params.Seed % 3] as number;
  return {
    ...settings,
    ...more,
    ...own,
    params: {
      ...{ ...params, CopiedRunBytes, ...more.params, RawTimeout: silence },
      History: isKept(mode, params.Seed, more.params) ? 1 : 0,
      ReplayBytes: [0, 1, 3000][params.Seed % 3] as number,
    },
  };
}

/** Returns true when publications are kept. In exact mode the ring then has room for all of them. */
function isKept(mode: Mode, seed: number, params: Amounts["params"]): boolean {
  if (params.EventRingBytes === 0 || seed % 4 === 3) return false;
  return mode !== "exact" || params.RingBytes === 1048576;
}

/** ms of silence after which a client does not speak HTTP. */
const SILENCE_MILLIS = 3000;

/** Settings that do not depend on the amount of memory. */
type Other = "mode" | "place" | "delay" | "copied" | "ordered" | "isPaged" | "isRaw" | "tells";
type Amounts = Omit<Settings, Other>;
/** Options by which also a client that reads at once may be evicted: by a burst, or between two passes. */
const UNFAIR: readonly Live[] = ["flushInterval", "slowGrace"];
/** Options by which a client that reads at its rate may be ended, because it gets no pings. */
const HASTY: readonly Live[] = ["sendPings"];
/** The shortest limit for which its queue is read twice. */
const READABLE_MILLIS = 2000;

/** Draws more memory than a run needs, and time limits that do not pass within it. */
function ample(r: Random): Amounts {
  // Where all clients read at once the ring may be small: its laps are short.
  const ring = r.pick([65536, 1048576]);
  return {
    isFair: true,
    isTimed: false,
    params: {
      ...{ Connections: 256, WebSockets: 256, Topics: 16, Subscriptions: 2048 },
      ...{ RingBytes: ring, Frames: 16384, QueuedFrames: 16384 },
      ...{ ReceivePoolBytes: 4194304, ReplyPoolBytes: 8388608, Backlog: 1048576 },
      PieceBytes: r.pick([4194304, 8388608]),
      DeflateRingBytes: r.chance(0.5) ? ring : 0,
      EventRingBytes: r.pick([0, ring, ring * 2]),
      EventNames: r.int(0, 1),
      ...{ HeadTimeout: HOUR, RequestTimeout: HOUR, KeepAliveTimeout: HOUR, WriteTimeout: HOUR },
      ...{ IdleTimeout: HOUR, BufferTimeout: HOUR, SlowGrace: HOUR, CloseTimeout: HOUR },
      PingInterval: HOUR,
    },
    inboxBytes: 1048576,
    pool: { threads: 256, backlog: 0, handlerTimeout: 0 },
    pending: { requests: 1000, bytes: 8388608 },
    flushInterval: r.chance(0.15) ? r.pick([1, 10]) : 0,
  };
}

/** As `scarce`, for clients that read at a rate: nothing but time limits, and slots for room, ends them. */
function timed(r: Random): Amounts {
  const { params, ...rest } = scarce(r, 65536);
  return {
    ...rest,
    isFair: true,
    isTimed: true,
    flushInterval: 0,
    params: {
      ...params,
      ...{ RingBytes: 1048576, Frames: 16384, QueuedFrames: 16384, RunBytes: 262144 },
      ...{ ReceivePoolBytes: 1048576, ReplyPoolBytes: 2097152, Backlog: 262144 },
      ...{ SendRate: SEND_RATE, RateGrace: 10000, EvictWhenFull: 0, DeflateRingBytes: 0 },
      EventRingBytes: r.pick([0, 2097152]),
      ...{ WriteTimeout: r.pick([5000, 30000]), IdleTimeout: r.pick([20000, 60000]) },
    },
  };
}

/** Draws so few resources that a run reaches every limit. */
function scarce(r: Random, windowBytes: number): Amounts {
  // The pool has a buffer for the unparsed bytes of one client, which are a window.
  const window = windowBytes === 65536 ? 131072 : 65536;
  const ring = r.pick([4096, 8192, 32768]);
  const frames = r.pick([16, 256]);
  const isFair = r.chance(0.6);
  return {
    isFair,
    isTimed: false,
    params: {
      Connections: r.pick([4, 16, 16]),
      WebSockets: r.pick([4, 16, 16]),
      RingBytes: ring,
      Frames: frames,
      QueuedFrames: isFair || r.chance(0.5) ? frames : frames / 2,
      ReceivePoolBytes: r.pick([window, 131072, 1048576]),
      ReplyPoolBytes: r.pick([32768, 65536, 1048576]),
      PieceBytes: r.pick([4096, 4096, 65536, 262144]),
      Backlog: r.pick([2048, 16384]),
      EvictWhenFull: r.int(0, 1),
      DeflateRingBytes: r.chance(0.5) ? ring : 0,
      EventRingBytes: r.pick([0, ring, ring * 2]),
      EventNames: r.int(0, 1),
      Topics: r.pick([3, 16]),
      Subscriptions: r.pick([6, 64]),
    },
    inboxBytes: r.pick([4096, 65536]),
    pool: {
      threads: r.int(1, 3),
      backlog: r.pick([0, 2, 16]),
      handlerTimeout: r.pick([200, 2000]),
    },
    pending: { requests: r.pick([2, 64]), bytes: r.pick([20000, 131072]) },
    flushInterval: isFair || r.chance(0.6) ? 0 : r.pick([1, 10]),
  };
}

class Author {
  readonly #r: Random;
  readonly #isExact: boolean;
  readonly #isFair: boolean;
  readonly #isTimed: boolean;
  readonly #isOrdered: boolean;
  readonly #isRaw: boolean;
  /** There are event streams. */
  readonly #isEventful: boolean;
  /** Publications are kept, so that event streams resume. */
  readonly #isKept: boolean;
  /** Every client reads everything at once. */
  readonly #isPrompt: boolean;
  readonly #http: number[] = [];
  readonly #webSockets: number[] = [];
  readonly #raw: number[] = [];
  readonly #gone: number[] = [];
  /** Clients that were event streams. */
  readonly #streams: number[] = [];
  /** Tags of handlers that wait to be settled. */
  readonly #unsettled: number[] = [];
  #clients = 0;
  #tags = 0;

  constructor(r: Random, { mode, isFair, isTimed, ordered, isRaw, params }: Settings) {
    this.#r = r;
    this.#isRaw = isRaw;
    this.#isEventful = params.EventRingBytes !== 0;
    this.#isKept = params.History !== 0;
    this.#isTimed = isTimed;
    this.#isOrdered = ordered;
    this.#isFair = isFair;
    this.#isExact = mode === "exact";
    this.#isPrompt = this.#isExact && params.RingBytes === 65536;
  }

  step(): Step {
    const r = this.#r;
    const draw = r.next();
    const long = this.#isExact ? r.size(600) : r.size(70000);
    const most = this.#isTimed ? 0.88 : 0.98;
    const pause = draw < 0.25 ? -1 : draw < 0.6 ? 0 : draw < most ? r.size(60) : long;
    return { ...this.#action(), pause };
  }

  /** The server shuts down; at times while an upgrade is under way. */
  goodbye(): Step[] {
    const r = this.#r;
    const steps: Step[] = [];
    if (r.chance(0.5)) {
      const connect = this.#connect();
      const client = this.#http.at(-1) as number;
      steps.push({ ...connect, pause: 0 }, { ...this.#upgrade(client), pause: 0 });
    }
    const drainMs = this.#isExact ? 0 : r.pick([0, 0, 100, 3000]);
    steps.push({ kind: "shutdown", drainMs, pause: r.size(50) });
    return steps;
  }

  #cut(): Cut {
    const r = this.#r;
    const pieces = r.chance(0.6) ? 0 : r.chance(0.9) ? r.int(1, 4) : 60;
    return {
      at: Array.from({ length: pieces }, () => r.int(0, 1000) / 1000).sort((a, b) => a - b),
      turns: r.chance(0.5),
    };
  }

  #client(list: readonly number[]): number | undefined {
    return list.length === 0 ? undefined : this.#r.pick(list);
  }

  #drop(list: number[], client: number): void {
    const at = list.indexOf(client);
    if (at < 0) return;
    list.splice(at, 1);
    this.#gone.push(client);
  }

  /** Notes a client. Of early clients few remain. */
  #add(list: number[], client: number, most: number): void {
    list.push(client);
    if (list.length > most) this.#gone.push(list.shift() as number);
  }

  #tag(waits = false): number {
    const tag = this.#tags++;
    if (waits) this.#unsettled.push(tag);
    return tag;
  }

  /** The kind of a step; a client's action becomes a Connect or an Upgrade where there is no such client. */
  #kind(): Kind {
    let draw = this.#r.next() * TOTAL;
    for (const kind of KINDS) {
      draw -= WEIGHTS[kind];
      if (draw < 0) return kind;
    }
    return "wait";
  }

  #action(): Action {
    const r = this.#r;
    const kind = this.#kind();
    const http = this.#client(this.#http);
    if (http === undefined) return this.#connect();
    const ws = this.#client(this.#webSockets);
    switch (kind) {
      case "connect":
        return this.#connect();
      case "request":
        return this.#request(http);
      case "upgrade":
        return this.#upgrade(http);
      case "wrong":
        return this.#wrong(http);
      case "calls":
        return this.#calls();
      case "settle":
        return this.#settle();
      case "configure": {
        if (this.#isExact) return { kind: "wait" };
        const name = r.pick(Object.keys(LIVE) as Live[]);
        if (this.#isFair && UNFAIR.includes(name)) return { kind: "wait" };
        if (this.#isTimed && HASTY.includes(name)) return { kind: "wait" };
        const value = r.pick<number>(LIVE[name]);
        const isShort = name === "closeTimeout" && value < READABLE_MILLIS;
        return this.#isTimed && isShort ? { kind: "wait" } : { kind, name, value };
      }
      case "reload":
      case "wait":
        return { kind };
      case "block":
        return { kind, ms: this.#isExact ? r.size(20) : r.size(2000) };
      case "stale": {
        const stale = this.#client(this.#gone);
        return stale === undefined ? { kind: "wait" } : { kind, client: stale, tag: this.#tag() };
      }
      case "raw":
      case "upstream":
        return this.#isRaw ? this.#pipe(kind) : { kind: "wait" };
      case "read":
      case "leave": {
        const client = this.#client([...this.#http, ...this.#webSockets, ...this.#raw]) ?? http;
        if (kind === "leave") return this.#leave(client);
        return { kind, client, limit: r.chance(0.5) ? 1e9 : r.size(3000) };
      }
      case "say":
        return ws === undefined ? this.#upgrade(http) : this.#say(ws);
      case "ping":
        if (ws === undefined) return this.#upgrade(http);
        return { kind, client: ws, count: r.pick([1, 1, 1, 2, 400]), cut: this.#cut() };
      case "fault":
        if (ws === undefined) return this.#upgrade(http);
        this.#drop(this.#webSockets, ws);
        return { kind, client: ws, which: r.int(0, FAULTS.length - 1), cut: this.#cut() };
    }
  }

  #settle(): Action {
    if (this.#unsettled.length === 0) return { kind: "wait" };
    const at = this.#r.int(0, this.#unsettled.length - 1);
    const [tag = 0] = this.#unsettled.splice(at, 1);
    return { kind: "settle", tag };
  }

  #connect(): Action {
    const r = this.#r;
    const client = this.#clients++;
    if (this.#isRaw && r.chance(0.4)) this.#add(this.#raw, client, 5);
    else this.#add(this.#http, client, 6);
    if (this.#isTimed && r.chance(0.6)) {
      const rate = SEND_RATE * r.pick([1.25, 1.25, 4, 20]);
      return { kind: "connect", client, buffer: 16384, prompt: false, polite: true, rate };
    }
    const prompt = this.#isPrompt || r.chance(0.4);
    const polite = this.#isExact || r.chance(0.8);
    return { kind: "connect", client, buffer: r.pick([64, 1024, 16384]), prompt, polite };
  }

  /** A client sends bytes that are not HTTP, or its upstream does something. */
  #pipe(kind: "raw" | "upstream"): Action {
    const r = this.#r;
    const client = this.#client(this.#raw);
    if (client === undefined) return this.#connect();
    const tag = this.#tag();
    const most = r.chance(0.1) ? 40000 : 3000;
    if (kind === "raw") {
      const opens: Opens[] = ["now", "now", "now", "late", "late", "refuse"];
      if (!this.#isExact) opens.push("never");
      const opening = r.int(0, OPENINGS.length - 1);
      const size = r.size(most);
      return { kind, client, tag, opening, opens: r.pick(opens), size, cut: this.#cut() };
    }
    const draw = r.next();
    if (draw < 0.6) return { kind, client, act: "send", tag, size: r.size(most) };
    if (draw < 0.9)
      return { kind, client, act: "read", tag, size: r.chance(0.5) ? 1e9 : r.size(most) };
    return { kind, client, act: r.pick(["open", "end", "end", "close", "reset"]), tag, size: 0 };
  }

  #ask(): Ask {
    const r = this.#r;
    const method = r.chance(0.4) ? "POST" : r.chance(0.15) ? "HEAD" : "GET";
    const hows: RequestHow[] = ["echo", "echo", "echo", "echo", "static", "pieces", "counted"];
    hows.push("later", "later", "file", "drip");
    if (!this.#isExact) hows.push("file", "file", "file", "file", "file");
    if (r.chance(0.25)) hows.push("large", "close", "reject", "throw", "empty");
    if (r.chance(0.25) && !this.#isExact) hows.push("break", "die", "file-break", "file-break");
    if (this.#isTimed && method === "GET") hows.push("huge", "huge", "file", "file", "file");
    if (method === "POST") hows.push("up", "up", "up", "up-late", "up-late");
    if (method === "POST" && !this.#isExact) hows.push("up-early");
    const drawn = r.pick(hows);
    const minor = r.chance(0.1) ? 0 : 1;
    const tag = this.#tag(drawn === "later" || drawn === "reject" || drawn === "up-late");
    return {
      tag,
      method,
      how: drawn === "echo" && tag % 5 === 0 ? "bare" : drawn,
      size: method === "POST" ? r.size(r.chance(0.1) ? 16000 : 6000) : 0,
      framing: minor === 0 || r.chance(0.6) ? "length" : r.chance(0.8) ? "chunked" : "trailers",
      minor,
      close: r.chance(0.05),
      // Whether a 100 (Continue) is sent depends on what has arrived.
      expect: !this.#isExact && minor === 1 && method === "POST" && r.chance(0.1),
    };
  }

  #request(client: number): Action {
    const r = this.#r;
    const count = r.chance(0.7) ? 1 : r.chance(0.9) ? r.int(2, 6) : 60;
    const asks = Array.from({ length: count }, () => this.#ask());
    return { kind: "request", client, asks, cut: this.#cut() };
  }

  #wrong(client: number): Action {
    const r = this.#r;
    this.#drop(this.#http, client);
    if (!this.#isExact && r.chance(0.4))
      return { kind: "stub", client, ask: this.#ask(), part: r.next() };
    return { kind: "broken", client, which: r.int(0, BROKEN.length - 1), cut: this.#cut() };
  }

  #upgrade(client: number): Action {
    const r = this.#r;
    const rare: OpenHow[] = ["throw", "later", "later", "reject", "refuse"];
    const how = r.chance(0.85) ? "" : r.pick(rare);
    if (how !== "refuse") {
      this.#drop(this.#http, client);
      this.#gone.pop();
      this.#add(this.#webSockets, client, 12);
    }
    const tag = this.#tag(how === "later" || how === "reject");
    const streams = this.#isKept ? 15 : this.#isEventful ? 3 : 0;
    const offer = r.int(0, OFFERS.length - 1 + streams);
    const upgrade = { kind: "upgrade", client, tag, offer, how, cut: this.#cut() } as const;
    if (!this.#isKept || offer < OFFERS.length) return upgrade;
    const hows: Since["how"][] = [
      "of",
      "of",
      "of",
      "back",
      "back",
      "future",
      "foreign",
      "malformed",
    ];
    const from = this.#client(this.#streams.slice(-8)) ?? client;
    this.#streams.push(client);
    if (r.chance(0.2)) return upgrade;
    return { ...upgrade, since: { how: r.pick(hows), client: from, back: r.size(60) } };
  }

  // ---- what the server's owner does ------------------------------------------------------------------------

  #calls(): Action {
    const r = this.#r;
    const via = r.chance(0.5) ? "handler" : "inbox";
    const count = r.chance(0.6) ? 1 : r.chance(0.9) ? r.int(2, 12) : 100;
    const limit = count > 20 ? 40 : r.chance(0.1) ? 5000 : 900;
    // Most lists are about one thing, the others mix all.
    const only = r.chance(0.7) ? r.next() : undefined;
    // Two messages that fill a ring need not fit into it.
    const canFill = this.#isExact ? this.#isPrompt && count === 1 : !this.#isTimed;
    const calls = Array.from({ length: count }, () => this.#call(only ?? r.next(), limit, canFill));
    return { kind: "calls", via, calls };
  }

  #call(draw: number, limit: number, canFill: boolean): Call {
    const r = this.#r;
    const client = this.#client(this.#webSockets);
    if (draw < 0.55 || client === undefined) return this.#publish(limit, canFill);
    if (draw < 0.72)
      return { call: "send", client, tag: this.#tag(), size: r.size(limit), text: r.chance(0.7) };
    if (draw < 0.93)
      return { call: r.chance(0.65) ? "subscribe" : "unsubscribe", client, topic: this.#topic() };
    if (r.chance(0.75)) return { call: r.pick(["ping", "pause", "resume", "resume"]), client };
    const call = this.#isExact || r.chance(0.5) ? "close" : "terminate";
    this.#drop(this.#webSockets, client);
    return { call, client };
  }

  /** Half of all is about the first topic, so that it has many readers. */
  #topic(): number {
    return this.#r.chance(0.5) ? 0 : this.#r.int(0, TOPICS.length - 1);
  }

  #publish(limit: number, canFill: boolean): Publish {
    const r = this.#r;
    const draw = r.next();
    const size = draw < 0.03 && canFill ? "fill" : draw > 0.995 ? "over" : r.size(limit);
    const except = r.chance(0.2)
      ? this.#client([...this.#webSockets, ...this.#gone.slice(-3)])
      : undefined;
    return {
      call: "publish",
      tag: this.#tag(),
      size,
      ...(r.chance(0.6) ? { topic: this.#topic() } : {}),
      ...(except === undefined ? {} : { except }),
      text: r.chance(0.3),
      plain: r.chance(0.1),
      staged: r.chance(0.2),
    };
  }

  // ---- what WebSocket clients do --------------------------------------------------------------------------

  #say(client: number): Action {
    const r = this.#r;
    if (r.chance(0.02)) return this.#flood(client);
    const count = r.chance(0.65) ? 1 : r.int(2, 8);
    const says = Array.from({ length: count }, (): Say => {
      const rare: MessageHow[] = ["later", "later", "reject", "throw"];
      const drawn = r.pick<MessageHow>(r.chance(0.1) ? rare : ["echo", "echo", "quiet", "burst"]);
      // Where messages do not wait for each other, their place among the replies to others is not defined.
      const isDefined = this.#isOrdered || !this.#isExact;
      const tag = this.#tag(drawn === "later" || drawn === "reject");
      const how = drawn === "echo" && isDefined && tag % 7 === 0 ? "stream" : drawn;
      return {
        tag,
        opcode: r.pick([1, 2]),
        how,
        size: r.size(5000),
        frames: r.chance(0.7) ? 1 : r.chance(0.9) ? r.int(2, 5) : 40,
        pings: r.chance(0.3),
        deflate: r.chance(0.5),
      };
    });
    return { kind: "say", client, says, cut: this.#cut() };
  }

  /** Many small messages at once. */
  #flood(client: number): Action {
    const r = this.#r;
    const how = r.pick(["echo", "quiet"] as const);
    const plain = { how, opcode: 2, frames: 1, pings: r.chance(0.2), deflate: false } as const;
    const says = Array.from({ length: FLOOD }, (): Say => {
      return { ...plain, tag: this.#tag(), size: r.size(20) };
    });
    return { kind: "say", client, says, cut: this.#cut() };
  }

  #leave(client: number): Action {
    for (const list of [this.#http, this.#webSockets]) this.#drop(list, client);
    // Its upstream may still send.
    if (this.#r.chance(0.3)) this.#drop(this.#raw, client);
    if (this.#isTimed && this.#r.chance(0.7))
      return { kind: "freeze", client, what: this.#r.pick(["process", "machine"]) };
    return { kind: "leave", client, how: this.#r.pick(["reset", "end", "close"]) };
  }
}

/** Returns the run of a seed. @param count its steps */
export function scriptOf(seed: number, mode: Mode, count: number): Script {
  const r = new Random(seed);
  const settings = drawSettings(mode, r);
  const author = new Author(r, settings);
  const end = r.chance(0.4) ? r.int(Math.floor(count * 0.8), count - 1) : count;
  const steps: Step[] = [];
  for (let i = 0; i < count; i++) {
    if (i === end) steps.push(...author.goodbye());
    steps.push(author.step());
  }
  return { settings, steps };
}
