// Messages between the demo's page, its worker and its application: the sample that is broadcast, the commands of a
// page, and the worker's reports about itself.

/** Mean and 99th percentile of an event loop's delay since the previous sample, in ms. */
export interface Delay {
  mean: number;
  p99: number;
}

/** The server's part of a sample. */
export interface ServerSample {
  /** Open HTTP connections. */
  connections: number;
  webSockets: number;
  /** Messages delivered per second. Each publication counts once for every client that it is due to. */
  messagesPerSecond: number;
  /** Bytes written to sockets per second. */
  bytesPerSecond: number;
  /** Bytes published into the ring per second. */
  publishedPerSecond: number;
  ring: {
    bytes: number;
    used: number;
    /** Position of the last byte in the ring, 0 … 1. */
    head: number;
    /** Seconds of publications that the ring holds; null when nothing is being published. */
    horizon: number | null;
  };
  /** Distribution of the WebSockets' lag, see `Stats.lag`. */
  lag: { readonly bounds: readonly number[]; readonly counts: readonly number[] };
  /** Clients evicted since the start because they lagged too far. */
  evicted: number;
  /** Closed connections since the start, by the name of their cause. */
  closed: Readonly<Record<string, number>>;
}

/** A client that was evicted. */
export interface EvictedSample {
  /** Number of the eviction: 1, 2, 3, … */
  number: number;
  /** Unix time in ms. */
  time: number;
  address: string;
  /** The cause, such as "WsClientTooSlow". */
  cause: string;
  /** The client's lag in bytes, and the connection's age in ms. */
  lag: number;
  age: number;
}

/** The clients that a page may add. */
export interface CrowdSample {
  /** Open clients that read, open clients that do not, and the limits of both. */
  reading: number;
  stalled: number;
  limits: Readonly<Record<Kind, number>>;
  /** Bytes per second published for the clients: requested, and actual. */
  load: number;
  rate: number;
}

/** The stalled clients that are connected. */
export interface StalledSample {
  /** Number of clients for which the kernel still takes bytes, and the most that it has taken for one of them. */
  kernel: number;
  taken: number;
  /** Number of clients whose kernel buffers are full, and the largest of their lags in bytes of the ring. */
  ring: number;
  lag: number;
}

/** The worker's report about itself. */
export interface WorkerReport {
  /** Delay of its event loop. */
  readonly delay: Delay;
  readonly stalled: StalledSample;
}

/** One message on /live. */
export interface Sample {
  /** Unix time in ms. */
  time: number;
  /** Unix time at which the application started. A different time means a different server. */
  start: number;
  /** Load of each core in percent. */
  cpu: number[];
  /** Bytes of the machine's memory, bytes of it in use, and the resident set size of this process. */
  memory: { total: number; used: number; process: number };
  /** Delay of the application's event loop and of the worker's. */
  application: Delay;
  worker: Delay | null;
  stalled: StalledSample | null;
  /** null until the server's counters were read twice, and while they cannot be read. */
  server: ServerSample | null;
  /** The latest evictions, newest first. */
  evictions: readonly EvictedSample[];
  /** null when clients cannot be added here. */
  crowd: CrowdSample | null;
}

/** The values of charts over time; undefined when unknown. */
export interface Moment {
  readonly time: number;
  readonly cpu: readonly number[];
  /** Resident set size of the server's process in bytes. */
  readonly process: number;
  /** The worst delays in ms. */
  readonly application: number;
  readonly worker: number | undefined;
  readonly ws: number | undefined;
  readonly http: number | undefined;
  readonly mps: number | undefined;
  readonly bps: number | undefined;
}

/** The first message on /live: the past samples, oldest first. */
export interface Recall {
  readonly history: readonly Moment[];
}

export function momentOf({ time, cpu, memory, application, worker, server }: Sample): Moment {
  return {
    time,
    cpu,
    process: memory.process,
    application: application.p99,
    worker: worker?.p99,
    ws: server?.webSockets,
    http: server?.connections,
    mps: server?.messagesPerSecond,
    bps: server?.bytesPerSecond,
  };
}

/** Kinds of clients: "reading" clients read everything, "stalled" clients never read. */
export type Kind = "reading" | "stalled";

/** A page's command: add clients, remove all, set the load. */
type Command = readonly ["add", Kind, number] | readonly ["clear"] | readonly ["load", number];

/** Characters of the longest command. A longer one is ignored. */
export const COMMAND_LENGTH = 64;
/** Loads that a page may choose, in bytes per second published for all clients together. */
export const LOADS: readonly number[] = [0, 128e3, 256e3, 512e3, 1024e3, 2048e3, 4096e3];
/** The query by which a stalled client reports that it is one. */
export const STALLED = "stalled";
/** The topic that the clients subscribe to. */
export const TOPIC = "load";

/** Parses a command from a page; undefined when it is invalid. */
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
