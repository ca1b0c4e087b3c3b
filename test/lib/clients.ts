// Clients of every kind against every kind of work, in each placement of the handler, with the default options: which
// of them are served, which are ended, when and why. test/clients.md is the page of it.
//
// Each cell is a run of its own: a server in memory under a virtual clock, and one client whose kernels hold what those
// of a Linux machine do. Two runs of a cell are the same.

import { checkEngine } from "./check";
import type { Handler } from "../../host/handler";
import { engineParams } from "../../host/options/params";
import { settle } from "../../host/options/settle";
import { Runner } from "../../host/testing/run";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { pumpSettings } from "../../worker/control/settings";
import { HANDSHAKE } from "./handshake";
import { frame } from "./frame";
import { responseHead } from "./response";
import { frameHead } from "./server-frame";
import {
  ApplicationPlace,
  type Ground,
  InlinePlace,
  PoolPlace,
  Traffic,
} from "../simulator/places";
import { Post } from "../simulator/post";
import type { Settings } from "../simulator/steps";
import { testEngine } from "./wasm";

const PLACES = ["inline", "application", "pool"] as const;
export const WORKS = ["GET", "stream", "upload", "broadcast"] as const;
const RATES = [1, 4, 12, 100] as const;
const KINDS = ["silent", "FIN", "RST", "stopped", "unplugged"] as const;
type PlaceName = (typeof PLACES)[number];
export type Work = (typeof WORKS)[number];
/** A client that reads and sends so many kB/s, or one that does something else. */
export type Kind = (typeof RATES)[number] | (typeof KINDS)[number];

/** Bytes of an answer, and of what is broadcast; of an upload, as much as a body handed out whole may have. */
const ANSWER_BYTES = 1e7;
const UPLOAD_BYTES = 1e6;
/** Bytes that the server's kernel holds for a client, those of them whose room wakes a writer, and the client's own. */
const SEND_BUFFER = 2.5 * 1048576;
const SEND_LUMP = SEND_BUFFER / 3;
/** As Linux on loopback: it acknowledges the next bytes when its process has read all of these. */
const RECEIVE_BUFFER = 126 * 1024;
/** ms between two reads of a client, and between two small broadcasts. */
const STEP = 1000;
const TICK = 10000;
/** When a client ends its side, resets or vanishes, in ms. */
const FAULT_AT = 5000;
/** How long a client is watched: as long as the slowest one takes, and this many ms longer. */
const WATCHED = (ANSWER_BYTES / 1000) * 1000 + 700000;

const DEFAULTS = settle({});
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${UPLOAD_BYTES}\r\n\r\n`;

/** The content of a cell, in whole seconds of virtual time. */
interface Result {
  /** When the client had everything; undefined: never. */
  readonly served: number | undefined;
  /** When the server ended the connection, or learned of its end; undefined: it is still there. */
  readonly ended: number | undefined;
  /** The cause that was reported to the handler; "" while the connection is open. */
  readonly cause: string;
  /** The status of the answer, 0 when there was none. */
  readonly status: number;
}

function* pieces(): Iterable<Uint8Array> {
  const piece = new Uint8Array(62500);
  for (let sent = 0; sent < ANSWER_BYTES; sent += piece.length) yield piece;
}

/** A client: the bytes from the server in its process and its kernel. */
class Client {
  readonly socket: MemorySocket;
  /** Bytes that its process has read. */
  got = 0;
  status = 0;
  /** Bytes of the frame that is being read which are still to come, and the head of the next one as far as it came. */
  #rest = 0;
  #head: number[] = [];
  #isWebSocket: boolean;
  #isUpgraded = false;
  answersPings = true;
  readonly #queue: Uint8Array[] = [];
  #held = 0;
  /** A closed window opens when at most this many bytes are buffered. */
  #closedAt = RECEIVE_BUFFER - 1;

  constructor(socket: MemorySocket, work: Work) {
    this.socket = socket;
    this.#isWebSocket = work === "broadcast";
  }

  /** Bytes that it may still read. */
  get unread(): number {
    return this.socket.gone === "reset" ? 0 : this.#held + this.socket.available;
  }

  /** The client's kernel acknowledges what it has room for. After a reset nothing can be read. */
  acknowledge(): void {
    if (this.socket.gone === "reset") {
      this.#queue.length = 0;
      this.#held = 0;
      return;
    }
    if (this.#held > this.#closedAt) return;
    const bytes = this.socket.read(RECEIVE_BUFFER - this.#held);
    this.#closedAt = this.#held + bytes.length === RECEIVE_BUFFER ? 0 : RECEIVE_BUFFER - 1;
    if (bytes.length === 0) return;
    this.#held += bytes.length;
    this.#queue.push(bytes);
  }

  read(limit: number): void {
    let left = limit;
    this.acknowledge();
    while (left > 0 && this.#queue.length > 0) {
      const first = this.#queue[0] as Uint8Array;
      const part = first.subarray(0, left);
      if (part.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(part.length);
      left -= part.length;
      this.#held -= part.length;
      this.#take(part);
      this.acknowledge();
    }
  }

  #take(bytes: Uint8Array): void {
    if (this.status === 0) {
      const found = responseHead(bytes);
      if (!found) throw new Error("the first bytes are not a whole head");
      this.status = found.status;
      this.#isUpgraded = this.status === 101;
      this.#body(bytes.subarray(found.head.length));
    } else {
      this.#body(bytes);
    }
  }

  #body(bytes: Uint8Array): void {
    this.got += bytes.length;
    if (!this.#isWebSocket || !this.#isUpgraded) return;
    let at = 0;
    while (at < bytes.length) {
      if (this.#rest > 0) {
        const n = Math.min(this.#rest, bytes.length - at);
        this.#rest -= n;
        at += n;
        continue;
      }
      const head = this.#head;
      head.push(bytes[at++] as number);
      const found = frameHead(Uint8Array.from(head));
      if (typeof found === "number") continue;
      this.#rest = found.length;
      this.#head = [];
      if (found.opcode === 9 && this.answersPings) this.socket.send(frame(10));
    }
  }
}

/** The server of a cell. */
class World {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly net = new MemoryNet(this.clock);
  readonly pump: Pump;
  readonly place: InlinePlace | ApplicationPlace | PoolPlace;
  readonly #work: Work;
  ended: number | undefined;
  cause = "";

  constructor(work: Work, name: PlaceName) {
    this.#work = work;
    const { values } = DEFAULTS;
    this.pump = new Pump({
      ...pumpSettings(DEFAULTS),
      ...{ engine: testEngine(engineParams(DEFAULTS)), clock: this.clock },
      ...{ queues: this.net.queues, failed: () => undefined },
    });
    const settings: Settings = {
      ...{ mode: "stress", isFair: false, place: name, params: {}, delay: 0, copied: false },
      ...{ isTimed: false, inboxBytes: values.inbox, flushInterval: 0, ordered: true, tells: true },
      isPaged: false,
      isRaw: false,
      pool: { threads: 4, backlog: 64, handlerTimeout: 30000 },
      pending: { requests: values.maxPendingRequests, bytes: values.maxPendingBytes },
    };
    const traffic = new Traffic(this.clock, 0);
    const { inbox, writer } = new Post(this.pump, this.clock, settings, traffic.line);
    const ground: Ground = {
      ...{ settings, clock: this.clock, line: traffic.line, pump: this.pump, inbox, writer },
      ...{ backlog: values.maxBacklog, failed: () => undefined },
    };
    this.place =
      name === "inline"
        ? new InlinePlace(ground)
        : new { application: ApplicationPlace, pool: PoolPlace }[name](ground);
  }

  async start(): Promise<void> {
    const note = (_: unknown, { cause }: { readonly cause: string }): void => {
      this.ended = this.clock.now();
      this.cause = cause;
    };
    const body = this.#work === "GET" ? new Uint8Array(ANSWER_BYTES) : new Uint8Array(0);
    const handler: Handler = {
      streams: true,
      request: async (req, res) => {
        if (req.upgrade) return res.upgrade();
        if (this.#work === "stream") return res.stream(200, "", pieces());
        let length = 0;
        for await (const piece of req.stream()) length += piece.length;
        return res.send(200, "", length > 0 ? String(length) : body);
      },
      disconnect: note,
      close: note,
    };
    const loaded = this.place.use(handler);
    await this.runner.settle();
    await loaded;
    this.net.open(this.pump.engine.windowView(), this.pump.accept);
  }
}

const seconds = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.round(ms / 1000);

/** Runs a cell. */
async function runCell(work: Work, kind: Kind, name: PlaceName): Promise<Result> {
  const world = new World(work, name);
  await world.start();
  const { clock, runner, net, pump } = world;
  const socket = net.connect(SEND_BUFFER, undefined, SEND_LUMP);
  if (!socket) throw new Error("not connected");
  const client = new Client(socket, work);
  const rate = typeof kind === "number" ? kind * 1000 : 100000;
  const isGone = kind === "stopped" || kind === "unplugged";
  const isLate = typeof kind === "string" && kind !== "silent";
  client.answersPings = kind !== "silent";

  const isBroadcast = work === "broadcast";
  const isUpload = work === "upload";
  if (isBroadcast) socket.send(Buffer.from(HANDSHAKE, "latin1"));
  else if (isUpload) socket.send(Buffer.from(POST, "latin1"));
  else if (kind !== "silent") socket.send(Buffer.from(GET, "latin1"));
  await runner.settle();
  if (isBroadcast) {
    client.read(1000);
    for (let i = 0; i < 10; i++) pump.broadcast(new Uint8Array(ANSWER_BYTES / 10));
  }

  let sent = 0;
  let served: number | undefined;
  let until = WATCHED;
  const isThere = (): boolean => {
    if (world.ended === undefined) return clock.now() < until;
    // Bytes that have left the server can still be read.
    return !isGone && client.unread > 0;
  };
  while (isThere()) {
    clock.advance(STEP);
    await runner.settle();
    const isFault = isLate && clock.now() >= FAULT_AT;
    if (isFault && isGone) {
      if (kind === "stopped") client.acknowledge();
      else socket.unplug();
    } else {
      if (isUpload && sent < UPLOAD_BYTES && !isFault && !(kind === "silent" && sent > 0)) {
        const piece = Math.min(rate * (STEP / 1000), UPLOAD_BYTES - sent);
        socket.send(new Uint8Array(piece));
        sent += piece;
      }
      client.read(rate * (STEP / 1000));
      if (isFault && kind === "FIN") socket.end();
      if (isFault && kind === "RST") socket.reset();
    }
    if (isBroadcast && clock.now() % TICK === 0) pump.broadcast("tick");
    const isServed = isUpload ? client.got > 0 : client.got >= ANSWER_BYTES;
    if (isServed && client.status < 300 && served === undefined) {
      served = clock.now();
      until = served + 700000;
    }
    await runner.settle();
    if (!(isFault && isGone)) client.acknowledge();
  }
  const { ended, cause } = world;
  checkEngine(pump.engine);
  pump.stop();
  return { served: seconds(served), ended: seconds(ended), cause, status: client.status };
}

/** Returns a cell in the page's form. */
function cellText({ served, ended, cause, status }: Result): string {
  const refused = status >= 400 ? ` (${status})` : "";
  const end = ended === undefined ? "stays" : `${cause}${refused} at ${ended} s`;
  return served === undefined ? end : `served at ${served} s, ${end}`;
}

const rowOf = (kind: Kind): string => (typeof kind === "number" ? `${kind} kB/s` : kind);

const HEADS: Record<Work, string> = {
  GET: "An answer of 10 MB",
  stream: "A streamed answer of 10 MB (`res.stream`)",
  upload: "An upload of 1 MB",
  broadcast: "A WebSocket, 10 MB of broadcasts at once and a small one every 10 s",
};

/** The results of one work: by the client's kind, one for each placement. */
export type Results = ReadonlyMap<Kind, readonly Result[]>;

/** Runs the cells of one work. */
export async function runWork(work: Work): Promise<Results> {
  const found = new Map<Kind, Result[]>();
  for (const kind of [...RATES, ...KINDS]) {
    const results: Result[] = [];
    for (const place of PLACES) results.push(await runCell(work, kind, place));
    found.set(kind, results);
  }
  return found;
}

/** Returns the page's table for one workload. */
export function workTable(work: Work, results: Results): string {
  const rows = [...results].map(
    ([kind, cells]) => `| ${rowOf(kind)} | ${cells.map(cellText).join(" | ")} |`,
  );
  return [
    `## ${HEADS[work]}`,
    "",
    "| client | handler in the worker | on the application's thread | in a pool |",
    "|---|---|---|---|",
    ...rows,
  ].join("\n");
}

const ABOUT = `# Clients and time limits

Which clients are served and which are ended with the default options: when, and by which cause. Times are virtual
seconds since the client connected. \`node .scripts/clients.mjs\` writes this page;
\`test/unit/clients.test.ts\` runs each cell again and compares.

| client | what it does |
|---|---|
| N kB/s | reads and sends N kB/s, and answers pings |
| silent | reads 100 kB/s, and sends no request, the first second of an upload, or no pong |
| FIN | 100 kB/s; after 5 s it ends its side, and reads on |
| RST | 100 kB/s; resets the connection after 5 s |
| stopped | 100 kB/s; is stopped after 5 s (SIGSTOP): its kernel alone keeps the connection |
| unplugged | 100 kB/s; its machine is gone after 5 s, and nothing answers |

The server's kernel holds 2.5 MiB for a client, the client's kernel 126 KiB: it acknowledges the next ones when its
process has read all of them, as Linux does over loopback. A client whose kernel answers has as long for such a step
as 128 KiB take at \`minSendRate\`, 546 s, also for a pong after the last of them.

"Served" is when the client's process has read everything. It may be later than the end, since the rest is in the
client's kernel by then: the server counts \`keepAliveTimeout\` from the last byte that this kernel has acknowledged. A
408 is sent up to 30 s before the end that is given, because a client that keeps sending has that long to read it.

A body that is handed out whole has to arrive within \`requestTimeout\` (5 min). Bodies are streamed in the worker
alone, where only silence counts. Elsewhere 1 MB at 1 kB/s is therefore refused.
`;

/** Returns the whole page. */
export async function clientsPage(): Promise<string> {
  const tables: string[] = [];
  for (const work of WORKS) tables.push(workTable(work, await runWork(work)));
  return `${[ABOUT, tables.join("\n\n")].join("\n")}\n`;
}
