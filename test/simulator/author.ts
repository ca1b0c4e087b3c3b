// Draws a run from its seed: settings, then steps, before anything runs. What it knows of the clients is what it has
// told them to do: some will have been evicted since.

import { Random } from "../../host/testing/random";
import {
  type Action,
  type Ask,
  type Cut,
  LIVE,
  type Live,
  PLACES,
  type Publish,
  type RequestHow,
  type Say,
  type Script,
  type SimulatedSettings,
  type Step,
  TOPICS,
  type Via,
} from "./steps";
import { BROKEN, FAULTS, OFFERS } from "./wrong";

/** How often what happens. */
const WEIGHTS = {
  ...{ connect: 7, request: 9, upgrade: 7, wrong: 0.7, read: 14, leave: 2 },
  ...{ publish: 20, send: 6, say: 9, ping: 3, fault: 0.7, subscribe: 7, serve: 2.5 },
  ...{ settle: 6, stale: 2, reload: 1, configure: 1.5, block: 2, wait: 1 },
};

/** Bytes that the application may have: a few messages whose handlers never settle take all of it. */
const TIGHT = 20000;
/** Messages of a flood: more than the event table has entries, by so many that it shows. */
const FLOOD = 3000;

type Kind = keyof typeof WEIGHTS;
const KINDS = Object.keys(WEIGHTS) as Kind[];
const TOTAL = Object.values(WEIGHTS).reduce((a, b) => a + b, 0);

function drawSettings(seed: number, r: Random): SimulatedSettings {
  const ring = r.pick([4096, 8192, 32768]);
  const frames = r.pick([16, 256]);
  const place = r.pick(PLACES);
  return {
    seed,
    place,
    params: {
      Connections: r.pick([4, 16, 16]),
      WebSockets: r.pick([4, 16, 16]),
      RingBytes: ring,
      Frames: frames,
      QueuedFrames: r.chance(0.8) ? frames : frames / 2,
      RunBytes: r.pick([700, 2048, 262144]),
      ReceivePoolBytes: r.pick([65536, 131072, 1048576]),
      ReplyPoolBytes: r.pick([32768, 65536, 1048576]),
      Backlog: r.pick([2048, 16384]),
      WindowBytes: r.pick([512, 4096, 65536]),
      EvictWhenFull: r.int(0, 1),
      DeflateRingBytes: r.chance(0.5) ? ring : 0,
      DeflateThreshold: r.pick([0, 200]),
      FirstSequence: r.pick([0, 2 ** 32 - 500, 2 ** 53 - 1000]),
      Seed: r.int(1, 1e9),
      Topics: r.pick([3, 16]),
      Subscriptions: r.pick([6, 64]),
      Fragments: 50,
      ScratchBytes: r.pick([66000, 131072]),
      StreamBytes: 65536,
      Pieces: r.chance(0.15) ? 1 : 0,
    },
    delay: r.pick([0, 1, 5]),
    inboxBytes: r.pick([4096, 65536]),
    copied: r.chance(0.3),
    pool: {
      threads: r.int(1, 3),
      backlog: r.pick([0, 2, 16]),
      handlerTimeout: r.pick([200, 2000]),
    },
    pending: { requests: r.pick([2, 64]), bytes: r.pick([TIGHT, 131072]) },
    flushInterval: r.chance(0.15) ? r.pick([1, 10]) : 0,
    ordered: r.chance(0.8),
  };
}

class Author {
  readonly #r: Random;
  readonly #isTight: boolean;
  readonly #http: number[] = [];
  readonly #webSockets: number[] = [];
  readonly #gone: number[] = [];
  /** Tags that wait to be settled. */
  readonly #unsettled: number[] = [];
  #clients = 0;
  #tags = 0;

  /** @param isTight no message may stay with the handler for ever */
  constructor(r: Random, isTight: boolean) {
    this.#r = r;
    this.#isTight = isTight;
  }

  step(): Step {
    const r = this.#r;
    const draw = r.next();
    const pause = draw < 0.25 ? -1 : draw < 0.6 ? 0 : draw < 0.98 ? r.size(60) : r.size(70000);
    return { ...this.#action(), pause };
  }

  /** The server shuts down; at times while an upgrade is under way. */
  goodbye(): Step[] {
    const r = this.#r;
    const steps: Step[] = [];
    if (r.chance(0.5)) {
      const come = this.#connect();
      const client = this.#http.at(-1) as number;
      steps.push({ ...come, pause: 0 }, { ...this.#upgrade(client), pause: 0 });
    }
    steps.push({ kind: "shutdown", drainMs: r.pick([0, 0, 100, 3000]), pause: r.size(50) });
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

  /** Notes a client that is there; of those that have been there for long few are left. */
  #add(list: number[], client: number, most: number): void {
    list.push(client);
    if (list.length > most) this.#gone.push(list.shift() as number);
  }

  #tag(waits: boolean): number {
    const tag = this.#tags++;
    if (waits) this.#unsettled.push(tag);
    return tag;
  }

  /** What it is to be: a client's part where one is there for it, else one that comes to be. */
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
    switch (kind) {
      case "connect":
        return this.#connect();
      case "request":
        return this.#request(http);
      case "upgrade":
        return this.#upgrade(http);
      case "wrong":
        return this.#wrong(http);
      case "publish":
        return { kind, all: this.#publications() };
      case "settle":
        return this.#settle();
      case "configure":
        return this.#configure();
      case "reload":
      case "wait":
        return { kind };
      case "block":
        return { kind, ms: r.size(2000) };
      case "stale": {
        const stale = this.#client(this.#gone);
        return stale === undefined
          ? { kind: "wait" }
          : { kind, client: stale, tag: this.#tag(false) };
      }
      case "read":
      case "leave": {
        const client = this.#client([...this.#http, ...this.#webSockets]) ?? http;
        if (kind === "leave") return this.#leave(client);
        return { kind, client, limit: r.chance(0.5) ? 1e9 : r.size(3000) };
      }
      default: {
        const ws = this.#client(this.#webSockets);
        return ws === undefined ? this.#upgrade(http) : this.#withWebSocket(kind, ws);
      }
    }
  }

  #withWebSocket(
    kind: "send" | "say" | "ping" | "fault" | "subscribe" | "serve",
    ws: number,
  ): Action {
    const r = this.#r;
    switch (kind) {
      case "send": {
        const count = r.chance(0.8) ? 1 : r.int(2, 20);
        const all = Array.from({ length: count }, () => ({
          tag: this.#tag(false),
          size: r.size(3000),
        }));
        return { kind, client: ws, all, via: this.#via() };
      }
      case "say":
        return this.#say(ws);
      case "ping":
        return { kind, client: ws, count: r.pick([1, 1, 1, 2, 400]), cut: this.#cut() };
      case "fault":
        return this.#fault(ws);
      case "subscribe":
        return this.#subscription(ws);
      default: {
        const how = r.chance(0.75)
          ? r.pick(["ping", "pause", "resume", "resume"] as const)
          : r.pick(["close", "terminate"] as const);
        if (how === "close" || how === "terminate") this.#drop(this.#webSockets, ws);
        return { kind: "serve", client: ws, how };
      }
    }
  }

  #settle(): Action {
    if (this.#unsettled.length === 0) return { kind: "wait" };
    const at = this.#r.int(0, this.#unsettled.length - 1);
    const [tag = 0] = this.#unsettled.splice(at, 1);
    return { kind: "settle", tag };
  }

  #configure(): Action {
    const name = this.#r.pick(Object.keys(LIVE) as Live[]);
    return { kind: "configure", name, value: this.#r.pick<number>(LIVE[name]) };
  }

  #connect(): Action {
    const r = this.#r;
    const client = this.#clients++;
    this.#add(this.#http, client, 6);
    const manners = { prompt: r.chance(0.4), polite: r.chance(0.8) };
    return { kind: "connect", client, buffer: r.pick([64, 1024, 16384]), ...manners };
  }

  #ask(): Ask {
    const r = this.#r;
    const method = r.chance(0.4) ? "POST" : r.chance(0.15) ? "HEAD" : "GET";
    const hows: RequestHow[] = [
      "echo",
      "echo",
      "echo",
      "echo",
      "static",
      "pieces",
      "later",
      "later",
    ];
    if (r.chance(0.25))
      hows.push("large", "close", "reject", "throw", "empty", "break", "die", "never");
    if (method === "POST") hows.push("up", "up", "up", "up-late", "up-late", "up-early");
    const how = r.pick(hows);
    const minor = r.chance(0.1) ? 0 : 1;
    return {
      tag: this.#tag(how === "later" || how === "reject" || how === "up-late"),
      method,
      how,
      size: method === "POST" ? r.size(r.chance(0.1) ? 16000 : 6000) : 0,
      framing: minor === 0 || r.chance(0.6) ? "length" : r.chance(0.8) ? "chunked" : "trailers",
      minor,
      close: r.chance(0.05),
      expect: minor === 1 && method === "POST" && r.chance(0.1),
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
    if (r.chance(0.4)) {
      const ask = this.#ask();
      // Only the whole of it would be answered.
      const how = ask.how === "up-early" ? "up" : ask.how;
      return { kind: "stub", client, ask: { ...ask, how }, part: r.next() };
    }
    return { kind: "broken", client, which: r.int(0, BROKEN.length - 1), cut: this.#cut() };
  }

  #upgrade(client: number): Action {
    const r = this.#r;
    const how = r.chance(0.85)
      ? ""
      : r.pick(["throw", "later", "later", "never", "reject", "refuse"] as const);
    if (how !== "refuse") {
      this.#drop(this.#http, client);
      this.#gone.pop();
      this.#add(this.#webSockets, client, 12);
    }
    const tag = this.#tag(how === "later" || how === "reject");
    return {
      kind: "upgrade",
      client,
      tag,
      offer: r.int(0, OFFERS.length - 1),
      how,
      cut: this.#cut(),
    };
  }

  #via(): Via {
    return this.#r.chance(0.5) ? "worker" : "inbox";
  }

  /** Half of all is about the first: so that much comes together in one. */
  #topic(): number {
    return this.#r.chance(0.5) ? 0 : this.#r.int(0, TOPICS.length - 1);
  }

  #publications(): Publish[] {
    const r = this.#r;
    const count = r.chance(0.7) ? 1 : r.chance(0.9) ? r.int(2, 12) : 100;
    const limit = count > 20 ? 40 : r.chance(0.1) ? 5000 : 900;
    return Array.from({ length: count }, () => {
      const draw = r.next();
      const size = draw < 0.03 ? "fill" : draw < 0.035 ? "over" : r.size(limit);
      const except = r.chance(0.2)
        ? this.#client([...this.#webSockets, ...this.#gone.slice(-3)])
        : undefined;
      return {
        tag: this.#tag(false),
        size,
        via: this.#via(),
        ...(r.chance(0.6) ? { topic: this.#topic() } : {}),
        ...(except === undefined ? {} : { except }),
        text: r.chance(0.3),
        plain: r.chance(0.1),
        staged: r.chance(0.2),
      };
    });
  }

  #say(client: number): Action {
    const r = this.#r;
    if (r.chance(0.04)) return this.#flood(client);
    const count = r.chance(0.65) ? 1 : r.int(2, 8);
    const says = Array.from({ length: count }, (): Say => {
      const rare = r.chance(0.1)
        ? r.pick(["later", "later", "reject", "throw", "never"] as const)
        : r.pick(["echo", "echo", "quiet", "burst"] as const);
      const how = rare === "never" && this.#isTight ? "later" : rare;
      return {
        tag: this.#tag(how === "later" || how === "reject"),
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
      return { ...plain, tag: this.#tag(false), size: r.size(20) };
    });
    return { kind: "say", client, says, cut: this.#cut() };
  }

  #fault(client: number): Action {
    this.#drop(this.#webSockets, client);
    return { kind: "fault", client, which: this.#r.int(0, FAULTS.length - 1), cut: this.#cut() };
  }

  #subscription(client: number): Action {
    const r = this.#r;
    const count = r.chance(0.9) ? 1 : 30;
    const topics = Array.from({ length: count }, () => this.#topic());
    const kind = r.chance(0.65) ? "subscribe" : "unsubscribe";
    return { kind, client, topics, via: this.#via() };
  }

  #leave(client: number): Action {
    this.#drop(this.#http, client);
    this.#drop(this.#webSockets, client);
    return { kind: "leave", client, how: this.#r.pick(["reset", "end", "close"]) };
  }
}

/** The run of a seed. @param count its steps */
export function scriptOf(seed: number, count: number): Script {
  const r = new Random(seed);
  const settings = drawSettings(seed, r);
  const author = new Author(r, settings.pending.bytes === TIGHT);
  const end = r.chance(0.4) ? r.int(Math.floor(count * 0.8), count - 1) : count;
  const steps: Step[] = [];
  for (let i = 0; i < count; i++) {
    if (i === end) steps.push(...author.goodbye());
    steps.push(author.step());
  }
  return { settings, steps };
}
