// What goes between the demo's page, its worker and its application: the sample that is broadcast, the commands of a
// page, and what the worker tells of itself.

/** Mean and 99th percentile of a loop's delay since the previous sample, in ms. */
export interface Delay {
  mean: number;
  p99: number;
}

/** The server's part of a sample. */
export interface ServerSample {
  /** Open HTTP connections. */
  connections: number;
  webSockets: number;
  /** Messages delivered per second: each publication counts once for every client it is due to. */
  messagesPerSecond: number;
  /** Bytes written to sockets per second. */
  bytesPerSecond: number;
  /** Bytes published into the ring per second. */
  publishedPerSecond: number;
  ring: {
    bytes: number;
    used: number;
    /** How far round the last byte stands, 0 … 1. */
    head: number;
    /** Seconds of publications the ring holds; null when nothing is being published. */
    horizon: number | null;
  };
  /** How many WebSockets are how far behind, see `Stats.lag`. */
  lag: { readonly bounds: readonly number[]; readonly counts: readonly number[] };
  /** Clients dropped since the start because they fell behind. */
  evicted: number;
  /** Closed connections since the start by the name of their reason. */
  closed: Readonly<Record<string, number>>;
}

/** A client that was evicted. */
export interface EvictedSample {
  /** 1, 2, 3, … in the order of evictions. */
  number: number;
  /** Unix time in ms. */
  time: number;
  address: string;
  /** The enumerated cause, such as "WsClientTooSlow". */
  cause: string;
  /** Bytes it was behind, ms since it was accepted. */
  lag: number;
  age: number;
}

/** The clients that a page may add. */
export interface CrowdSample {
  /** Open now, of those that read and of those that do not; how many there may be. */
  reading: number;
  stalled: number;
  limits: Readonly<Record<Kind, number>>;
  /** Bytes a second that are published for them: what was asked for, what is. */
  load: number;
  rate: number;
}

/** One message of /live. */
export interface Sample {
  /** Unix time in ms. */
  time: number;
  /** Unix time at which the application started: another one is another server. */
  start: number;
  /** Percent busy, for each core. */
  cpu: number[];
  /** Bytes: the machine's memory, what of it is in use, and the resident set of this process. */
  memory: { total: number; used: number; process: number };
  /** Delay of the application's event loop, of the worker's. */
  application: Delay;
  worker: Delay | null;
  /** null until the server's counters were read twice, and while they cannot be read. */
  server: ServerSample | null;
  /** The latest, newest first. */
  evictions: readonly EvictedSample[];
  /** null when clients may not be added here. */
  crowd: CrowdSample | null;
}

/** What charts over time show; undefined where it is not known. */
export interface Moment {
  readonly time: number;
  readonly cpu: readonly number[];
  /** Bytes in use, of the machine. */
  readonly mem: number;
  /** The worst delays, ms. */
  readonly application: number;
  readonly worker: number | undefined;
  readonly ws: number | undefined;
  readonly http: number | undefined;
  readonly mps: number | undefined;
  readonly bps: number | undefined;
}

/** The first message of /live: what was before, oldest first. */
export interface Recall {
  readonly history: readonly Moment[];
}

export function momentOf({ time, cpu, memory, application, worker, server }: Sample): Moment {
  return {
    time,
    cpu,
    mem: memory.used,
    application: application.p99,
    worker: worker?.p99,
    ws: server?.webSockets,
    http: server?.connections,
    mps: server?.messagesPerSecond,
    bps: server?.bytesPerSecond,
  };
}

/** Clients that read what they get, clients that never do. */
export type Kind = "reading" | "stalled";

/** What a page may ask for: more clients, none, another load. */
type Command = readonly ["add", Kind, number] | readonly ["clear"] | readonly ["load", number];

/** Characters of the longest command. */
export const COMMAND_LENGTH = 64;
/** Bytes a second that may be published for the clients, all together. */
export const LOADS: readonly number[] = [0, 128e3, 256e3, 512e3, 1024e3, 2048e3, 4096e3];
/** The topic that they subscribe to. */
export const TOPIC = "load";

/** A command out of what a page sent; undefined when it is none. */
export function parseCommand(text: string): Command | undefined {
  if (text.length > COMMAND_LENGTH) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const [name, first, second] = value as unknown[];
  if (name === "clear") return ["clear"];
  if (name === "load" && typeof first === "number" && LOADS.includes(first)) return ["load", first];
  const isKind = first === "reading" || first === "stalled";
  if (name !== "add" || !isKind) return undefined;
  if (typeof second !== "number" || !Number.isInteger(second) || second < 1) return undefined;
  return ["add", first, second];
}
