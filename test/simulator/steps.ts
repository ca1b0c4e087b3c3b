// A run of the simulator as data: settings and a list of steps.
//
// Invariant: a step is complete in itself, and names clients and handlers by the numbers that an earlier step assigned.
// So a list stays valid when steps are taken out of it: a step whose client is not there does nothing.

/**
 * "exact": ample memory and no faults, so the model knows each byte. "stress": little memory, slow readers, faults,
 * time limits; the ledger looks at what must always hold.
 */
export const MODES = ["exact", "stress"] as const;
export type Mode = (typeof MODES)[number];

/** How bytes are cut on their way: at these parts of their length; `turns`: the server runs between the pieces. */
export interface Cut {
  readonly at: readonly number[];
  readonly turns: boolean;
}

/** How the handler answers a request. */
export type RequestHow =
  /** It answers at once: briefly, with a static body, with one larger than a block, in pieces, with `close`. */
  | "echo"
  /** With 404 and without a body: the client gets the error page, if there is one. */
  | "bare"
  | "static"
  | "large"
  /** With a static body that takes longer to read than any time limit. */
  | "huge"
  | "pieces"
  /** In pieces, with the length of all of them stated. */
  | "counted"
  /** With a body that the server asks for: reads like a file, or takes from a source that has a piece now and then. */
  | "file"
  | "drip"
  /** The same, and it fails, is shorter or longer than it says. */
  | "file-break"
  | "close"
  /** It answers, or rejects, when a Settle step says so. */
  | "later"
  | "reject"
  /** It throws; settles without an answer; breaks off within its answer; ends its thread, where it has one. */
  | "throw"
  | "empty"
  | "break"
  | "die"
  /** It streams the body, where it can: reads it to the end, late, not at all. */
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

/**
 * How the handler treats a message; "burst": publishes five messages, then echoes; "stream": sends a few messages as
 * fast as the client takes them, and waits for their end.
 */
export type MessageHow = "echo" | "quiet" | "burst" | "stream" | "later" | "reject" | "throw";
export type OpenHow = "" | "throw" | "later" | "reject" | "refuse";

/**
 * The position that the client of an event stream names: the last one that a client has received, one that many
 * publications back, one of the future, of another start, or none at all.
 */
export interface Since {
  readonly how: "of" | "back" | "future" | "foreign" | "malformed";
  readonly client: number;
  readonly back: number;
}

export interface Say {
  readonly tag: number;
  readonly opcode: 1 | 2;
  readonly how: MessageHow;
  readonly size: number;
  /** Frames that it is sent in, with pings between them or not. */
  readonly frames: number;
  readonly pings: boolean;
  readonly deflate: boolean;
}

export interface Publish {
  readonly call: "publish";
  readonly tag: number;
  /** Bytes; "fill": up to the last byte of the ring's lap, "over": more than the ring holds. */
  readonly size: number | "fill" | "over";
  readonly topic?: number;
  readonly except?: number;
  readonly text: boolean;
  readonly plain: boolean;
  readonly staged: boolean;
}

/** One call of the server's owner. */
export type Call =
  | Publish
  | {
      readonly call: "send";
      readonly client: number;
      readonly tag: number;
      readonly size: number;
      readonly text: boolean;
    }
  | {
      readonly call: "subscribe" | "unsubscribe";
      readonly client: number;
      readonly topic: number;
    }
  | {
      readonly call: "close" | "terminate" | "ping" | "pause" | "resume";
      readonly client: number;
    };

/** The caller of a method: the handler's own code, or the application through its inbox. */
export type Via = "handler" | "inbox";

/** How the upstream of a client that does not speak HTTP is reached: at once, after a while, not, or never. */
export type Opens = "now" | "late" | "refuse" | "never";

/** How a client behaves. */
export interface Manners {
  /** It reads everything at once; another reads at Read steps alone, once its WebSocket is open. */
  readonly prompt: boolean;
  /** It answers a Close, and ends when the server does. */
  readonly polite: boolean;
  /** Bytes a second that it reads, at least the least rate, while it answers pings; it is polite, not prompt. */
  readonly rate?: number | undefined;
}

type ClientAction = { readonly client: number } & (
  | ({ readonly kind: "connect"; readonly buffer: number } & Manners)
  | { readonly kind: "request"; readonly asks: readonly Ask[]; readonly cut: Cut }
  /** A request of which only a part is sent. */
  | { readonly kind: "stub"; readonly ask: Ask; readonly part: number }
  /** A request, or a frame, that must be refused: its number in wrong.ts. */
  | { readonly kind: "broken"; readonly which: number; readonly cut: Cut }
  | { readonly kind: "fault"; readonly which: number; readonly cut: Cut }
  | {
      readonly kind: "upgrade";
      readonly tag: number;
      readonly offer: number;
      readonly how: OpenHow;
      readonly cut: Cut;
      readonly since?: Since;
    }
  | { readonly kind: "say"; readonly says: readonly Say[]; readonly cut: Cut }
  | { readonly kind: "ping"; readonly count: number; readonly cut: Cut }
  | { readonly kind: "leave"; readonly how: "reset" | "end" | "close" }
  /** Its process stops for ever, and its kernel still answers; or its machine is gone. */
  | { readonly kind: "freeze"; readonly what: "process" | "machine" }
  | { readonly kind: "read"; readonly limit: number }
  /** Sends bytes that are not HTTP: first an opening, by its number in upstreams.ts, then `size` more. */
  | {
      readonly kind: "raw";
      readonly tag: number;
      readonly opening: number;
      readonly opens: Opens;
      readonly size: number;
      readonly cut: Cut;
    }
  /** Its upstream sends or reads `size` bytes, opens, ends its side, ends and reads nothing more, resets. */
  | {
      readonly kind: "upstream";
      readonly act: "send" | "read" | "open" | "end" | "close" | "reset";
      readonly tag: number;
      readonly size: number;
    }
);

export type Action =
  | ClientAction
  | { readonly kind: "calls"; readonly via: Via; readonly calls: readonly Call[] }
  /** Uses the id of a client that has ended, in every way there is. */
  | { readonly kind: "stale"; readonly client: number; readonly tag: number }
  | { readonly kind: "settle"; readonly tag: number }
  | { readonly kind: "reload" | "wait" }
  | { readonly kind: "configure"; readonly name: Live; readonly value: number }
  /** The application's thread does nothing for `ms` ms. */
  | { readonly kind: "block"; readonly ms: number }
  /** At once, or spread over `drainMs` ms. */
  | { readonly kind: "shutdown"; readonly drainMs: number };

/** `pause`: ms that pass after the step; 0: a turn; -1: the next step is part of the same turn. */
export type Step = Action & { readonly pause: number };
export type Of<Kind extends Action["kind"]> = Extract<Action, { readonly kind: Kind }>;

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

export interface Settings {
  readonly mode: Mode;
  /** The publisher waits long enough for every client that reads at once. */
  readonly isFair: boolean;
  /** Long times pass, clients read at a rate or freeze, and the ring has room for all that is published. */
  readonly isTimed: boolean;
  readonly place: (typeof PLACES)[number];
  readonly params: Readonly<Record<string, number>>;
  /** ms between the application's thread, or the pool's, and the worker. */
  readonly delay: number;
  readonly inboxBytes: number;
  /** The inbox is copied between the threads, instead of shared. */
  readonly copied: boolean;
  readonly pool: {
    readonly threads: number;
    readonly backlog: number;
    readonly handlerTimeout: number;
  };
  readonly pending: { readonly requests: number; readonly bytes: number };
  readonly flushInterval: number;
  readonly ordered: boolean;
  /** There are error pages. */
  readonly isPaged: boolean;
  /** Connections that are not HTTP are handed to upstreams. */
  readonly isRaw: boolean;
  /** Sockets tell how much of a write they have taken at once, so that pieces can be recalled. */
  readonly tells: boolean;
}

/** A run. */
export interface Script {
  readonly settings: Settings;
  readonly steps: readonly Step[];
}

export const TOPICS: readonly string[] = [
  ...["a", "b", "c", "\u{1f98a}", "z"],
  "topic/with/a/long/name/".repeat(8),
];
