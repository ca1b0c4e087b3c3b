// What happens in a run of the simulator, as data: settings and a list of steps.
//
// Invariant: a step says all there is to say about itself, and names clients and requests by numbers that a
// step before gave out. So a list stays valid when steps are taken out of it: a step whose client is not there
// does nothing.

/** Bytes on their way: cut at these parts of their length; `turns`: the server runs between the pieces. */
export interface Cut {
  readonly at: readonly number[];
  readonly turns: boolean;
}

/** What the handler does with a request. */
export type RequestHow =
  /** An answer at once: short, a static body, one larger than a block, in pieces, with `close`. */
  | "echo"
  | "static"
  | "large"
  | "pieces"
  | "close"
  /** An answer, or a rejection, when a Settle step says so; none at all. */
  | "later"
  | "reject"
  | "never"
  /** It throws; settles without an answer; breaks off within its answer; ends its thread, where it has one. */
  | "throw"
  | "empty"
  | "break"
  | "die"
  /** Its body is streamed, where that can be: read to the end, late, not at all. */
  | "up"
  | "up-late"
  | "up-early";

export interface Ask {
  readonly tag: number;
  readonly method: "GET" | "HEAD" | "POST";
  readonly how: RequestHow;
  /** Bytes of its body. */
  readonly size: number;
  readonly framing: "length" | "chunked" | "trailers";
  readonly minor: 0 | 1;
  readonly close: boolean;
  readonly expect: boolean;
}

/** What the handler does with a message. */
type MessageHow = "echo" | "quiet" | "burst" | "later" | "reject" | "never" | "throw";
export type OpenHow = "" | "throw" | "later" | "never" | "reject" | "refuse";

export interface Say {
  readonly tag: number;
  readonly opcode: 1 | 2;
  readonly how: MessageHow;
  readonly size: number;
  /** Frames it comes in, with pings between them or not. */
  readonly frames: number;
  readonly pings: boolean;
  readonly deflate: boolean;
}

/** Who publishes: the worker's own code, or the application through an inbox. */
export type Via = "worker" | "inbox";

export interface Publish {
  readonly tag: number;
  /** Bytes; "fill": up to the last byte of the ring's lap, "over": more than the ring holds. */
  readonly size: number | "fill" | "over";
  readonly via: Via;
  readonly topic?: number;
  readonly except?: number;
  readonly text: boolean;
  readonly plain: boolean;
  readonly staged: boolean;
}

export type Action =
  | ({ readonly kind: "connect"; readonly client: number; readonly buffer: number } & Manners)
  | {
      readonly kind: "request";
      readonly client: number;
      readonly asks: readonly Ask[];
      readonly cut: Cut;
    }
  /** A request of which a part comes and no more. */
  | { readonly kind: "stub"; readonly client: number; readonly ask: Ask; readonly part: number }
  | { readonly kind: "broken"; readonly client: number; readonly which: number; readonly cut: Cut }
  | {
      readonly kind: "upgrade";
      readonly client: number;
      readonly tag: number;
      readonly offer: number;
      readonly how: OpenHow;
      readonly cut: Cut;
    }
  | {
      readonly kind: "say";
      readonly client: number;
      readonly says: readonly Say[];
      readonly cut: Cut;
    }
  | { readonly kind: "ping"; readonly client: number; readonly count: number; readonly cut: Cut }
  | { readonly kind: "fault"; readonly client: number; readonly which: number; readonly cut: Cut }
  | { readonly kind: "leave"; readonly client: number; readonly how: "reset" | "end" | "close" }
  | { readonly kind: "read"; readonly client: number; readonly limit: number }
  | { readonly kind: "publish"; readonly all: readonly Publish[] }
  | {
      readonly kind: "send";
      readonly client: number;
      /** Messages, by tag and bytes. */
      readonly all: readonly { readonly tag: number; readonly size: number }[];
      readonly via: Via;
    }
  | {
      readonly kind: "subscribe" | "unsubscribe";
      readonly client: number;
      readonly topics: readonly number[];
      readonly via: Via;
    }
  | {
      readonly kind: "serve";
      readonly client: number;
      readonly how: "close" | "terminate" | "ping" | "pause" | "resume";
    }
  /** What stale ids are good for: nothing. */
  | { readonly kind: "stale"; readonly client: number; readonly tag: number }
  | { readonly kind: "settle"; readonly tag: number }
  | { readonly kind: "reload" }
  | { readonly kind: "configure"; readonly name: Live; readonly value: number }
  | { readonly kind: "block"; readonly ms: number }
  | { readonly kind: "wait" }
  /** At once, or spread over so many ms. */
  | { readonly kind: "shutdown"; readonly drainMs: number };

/** How a client behaves. */
interface Manners {
  /** It reads all that comes as it comes; another reads at Read steps alone. */
  readonly prompt: boolean;
  /** It answers a Close, and ends when the server does. */
  readonly polite: boolean;
}

/** `pause`: ms that pass behind the step; 0: a turn; -1: the next step falls into the same turn. */
export type Step = Action & { readonly pause: number };

/** Options that change while the server runs, and their values. */
export const LIVE = {
  flushInterval: [0, 0, 2, 20],
  maxRunBytes: [1024, 16384, 262144],
  slowGrace: [0, 100, 250, 1000],
  maxRequestsPerSocket: [0, 0, 3],
  keepAliveTimeout: [1000, 5000],
  idleTimeout: [20, 60],
  sendPings: [0, 1],
  writeTimeout: [5000, 30000],
  closeTimeout: [500, 2000],
} as const;

export type Live = keyof typeof LIVE;

export const PLACES = ["inline", "application", "pool"] as const;

export interface SimulatedSettings {
  readonly seed: number;
  readonly place: (typeof PLACES)[number];
  readonly params: Readonly<Record<string, number>>;
  /** ms between the application's thread, or the pool's, and the worker. */
  readonly delay: number;
  readonly inboxBytes: number;
  /** The inbox is memory of both threads, or goes as copies. */
  readonly copied: boolean;
  readonly pool: {
    readonly threads: number;
    readonly backlog: number;
    readonly handlerTimeout: number;
  };
  readonly pending: { readonly requests: number; readonly bytes: number };
  readonly flushInterval: number;
  readonly ordered: boolean;
}

/** A run. */
export interface Script {
  readonly settings: SimulatedSettings;
  readonly steps: readonly Step[];
}

export const TOPICS: readonly string[] = [
  ...["a", "b", "c", "\u{1f98a}", "z"],
  "topic/with/a/long/name/".repeat(8),
];
