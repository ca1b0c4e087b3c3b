// One flood as a test: a server in a process of its own, bystanders in another, the flood in a third that yields to
// both. It runs twice: the first round warms up the server, the second is measured.
//
// Invariant: the counters of the measured round are exactly the flood's ends and the bystanders' requests. Beside the
// server's stream the bystanders watch one that is independent of it, in the same seconds: where the machine itself is
// late, the server may be, too.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import path from "node:path";
import type { Options, Stats } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Child } from "./child";
import { sleep, until, within } from "./peer";

/** ms that a message may take to a bystander, 99 times of 100. */
const LATE = 100;
/** How much later than the machine itself it may be, where that alone is late. */
const SLACK = 3;
/** How much later than a message a newcomer's answer may be, because it is accepted, read and answered in turn. */
const NEWCOMER = 3;
/** Bytes that may be resident after a flood and were not before. */
const GROWN = 8 * 1048576;
/** WebSockets of the bystanders. */
export const BYSTANDERS = 4;
/** ms in which the quiet before a flood is measured. */
const QUIET = 400;
/**
 * How often a flood may be tried for its time, and for its resident memory: others may have had the processors, and
 * glibc keeps some freed memory. A real delay or leak shows each time.
 */
const ROUNDS = 3;
const LIMIT = 60000;

export interface Flood {
  readonly name: string;
  readonly options?: Options;
  /** The function of children/floods; the other fields are its arguments. */
  readonly flood: string;
  readonly args: Readonly<Record<string, number>>;
  /** Differences in the round that warms up. */
  readonly warm?: Readonly<Record<string, number>>;
  /** How often each cause ends a connection; of causes joined by "|" together. */
  readonly ends: Readonly<Record<string, number>>;
  /** Bytes of each message to the topic "firehose". */
  readonly firehose?: number;
  readonly secure?: boolean;
  /** True when the time of newcomers' answers is judged; it is printed for each flood. */
  readonly servesNewcomers?: boolean;
  /** Looks at the counters after the measured round. */
  readonly check?: (after: ServerStats, before: ServerStats) => void;
  /** The README's figures for it. */
  readonly figures?: (did: Did, seconds: number) => string;
}

export type Did = Readonly<Record<string, number>>;

export interface ServerStats extends Stats {
  /** Messages of the paced stream, and how often there was no room for one. */
  readonly published: number;
  readonly refused: number;
  /** Causes that `onEvict` reported. */
  readonly evictions: Readonly<Record<string, number>>;
}

/** Observations of bystanders. */
export interface Report {
  readonly count: number;
  readonly lost: number;
  readonly ended: number;
  readonly answered: number;
  readonly failed: number;
  /** ms: of the stream, of the machine, of requests. */
  readonly p99: number;
  readonly machine: number;
  readonly answer: number;
  readonly max: number;
}

/** How a thread is. */
interface Health {
  readonly handles: number;
  /** ms by which its loop was late, 99 times of 100 at most, and at most. */
  readonly p99: number;
  readonly max: number;
}

/** Returns the resident bytes of a process. */
export function residentBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024;
}

const rows: string[] = [];
/** The same as the README has them: `node .scripts/readme.mjs --floods` takes them from .cache. */
const pageRows: string[] = [];

/** Prints the table of all floods so far. */
function printFloods(): void {
  const file = path.basename(process.argv[1] as string, ".test.mjs");
  writeFileSync(`.cache/${file}.rows`, `${pageRows.join("\n")}\n`);
  const head = [
    "flood | ends as | figures | RSS | p99 before, during (the machine's)",
    "---|---|---|---|---",
  ];
  console.log(`\n${[...head, ...rows].map((row) => `| ${row} |`).join("\n")}`);
}

/** Connections that have ended. */
export function endedOf(stats: Stats): number {
  return Object.values(stats.closed).reduce((sum, count) => sum + count, 0);
}

/** The processes of one file's floods. */
export class World {
  readonly #bystander = new Child("bystander");
  readonly #flooding = new Child("flooding", { descriptors: 8192 });
  readonly #metronome = new Child("metronome");
  #listening = false;

  end(): void {
    for (const child of [this.#bystander, this.#flooding, this.#metronome]) child.end();
  }

  async watch(port: number, secure: boolean): Promise<void> {
    let metronome = 0;
    if (!this.#listening) metronome = (await this.#metronome.next<{ port: number }>(LIMIT)).port;
    this.#listening = true;
    this.#bystander.tell({ order: "watch", port, secure, metronome });
    assert.is(await this.#bystander.next(LIMIT), "open");
  }

  async begin(): Promise<void> {
    this.#bystander.tell({ order: "begin" });
    assert.is(await this.#bystander.next(LIMIT), "begun");
  }

  async report(): Promise<Report> {
    this.#bystander.tell({ order: "report" });
    return this.#bystander.next<Report>(LIMIT);
  }

  async flood(order: object): Promise<Did> {
    this.#flooding.tell(order);
    const { did, error } = await this.#flooding.next<{ did?: Did; error?: string }>(2 * LIMIT);
    if (!did) throw new Error(error);
    return did;
  }
}

/** A flooded server. */
export class Flooded {
  readonly #child: Child;
  readonly #secure: boolean;
  port = 0;

  constructor(options: Options, secure = false) {
    this.#child = new Child("flooded", { args: [JSON.stringify(options)], descriptors: 8192 });
    this.#secure = secure;
  }

  get pid(): number {
    return this.#child.pid;
  }

  async started(): Promise<void> {
    this.port = (await this.#child.next<{ port: number }>(LIMIT)).port;
  }

  async stats(): Promise<ServerStats> {
    this.#child.tell({ order: "stats" });
    return this.#child.next<ServerStats>(LIMIT);
  }

  /** How the application's thread is, and the worker's. */
  async health(): Promise<{ application: Health; worker: Health; descriptors: number }> {
    this.#child.tell({ order: "health" });
    const application = await this.#child.next<Health>(LIMIT);
    const worker = JSON.parse(await this.#ask("/health")) as Health;
    return { application, worker, descriptors: readdirSync(`/proc/${this.pid}/fd`).length };
  }

  /** Asks the handler, on a connection of its own. */
  #ask(target: string): Promise<string> {
    const { get } = this.#secure ? https : http;
    const where = { host: "127.0.0.1", port: this.port, path: target };
    const asked = new Promise<string>((resolve, reject) => {
      get({ ...where, agent: false, rejectUnauthorized: false }, (response) => {
        let text = "";
        response.on("data", (bytes) => {
          text += bytes;
        });
        response.on("end", () => resolve(text));
      }).on("error", reject);
    });
    return within(asked, target, LIMIT);
  }

  async firehose(bytes: number): Promise<void> {
    this.#child.tell({ order: "firehose", bytes });
    assert.is(await this.#child.next(LIMIT), "firehose");
  }

  /** Collects the garbage of both threads. */
  async collect(): Promise<void> {
    this.#child.tell({ order: "gc" });
    assert.is(await this.#child.next(LIMIT), "gc");
    await this.#ask("/gc");
  }

  /** Waits until nothing but the bystanders is left. */
  async settled(): Promise<ServerStats> {
    let stats = await this.stats();
    await until(
      "nothing is left of the flood",
      async () => {
        stats = await this.stats();
        return (
          stats.connections === 0 &&
          stats.webSockets === BYSTANDERS &&
          // A connection whose Close was sent is open no more, but has not ended.
          stats.accepted === endedOf(stats) + BYSTANDERS &&
          stats.receivePool.used === 0 &&
          stats.replyPool.used === 0
        );
      },
      LIMIT,
    );
    return stats;
  }

  /** Bytes resident once the garbage is gone; waits a while for `most`. */
  async resident(most = 0): Promise<number> {
    const end = Date.now() + 2000;
    for (;;) {
      await this.collect();
      // The system takes back pages at a time of its own.
      await sleep(50);
      await this.settled();
      const bytes = residentBytes(this.pid);
      if (bytes <= most || Date.now() > end || most === 0) return bytes;
    }
  }

  end(): void {
    this.#child.end();
  }
}

/** Returns how often each cause ended a connection between two looks. */
function endsBetween(before: Stats, after: Stats): Map<string, number> {
  const ends = new Map<string, number>();
  for (const [cause, count] of Object.entries(after.closed)) {
    const more = count - (before.closed[cause] ?? 0);
    if (more > 0) ends.set(cause, more);
  }
  return ends;
}

/** Compares what ended with what was to; the bystanders' requests are served to the end. */
function checkEnds(
  ends: Map<string, number>,
  wanted: Readonly<Record<string, number>>,
  asked: number,
): void {
  const all = { ...wanted, Ok: (wanted.Ok ?? 0) + asked };
  const found: Record<string, number> = {};
  for (const causes of Object.keys(all)) {
    found[causes] = 0;
    for (const cause of causes.split("|")) {
      found[causes] += ends.get(cause) ?? 0;
      ends.delete(cause);
    }
  }
  assert.equal({ ...found, ...Object.fromEntries(ends) }, all);
}

const ms = (value: number): string => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const mega = (bytes: number): string =>
  `${bytes < 0 ? "−" : "+"}${Math.abs(bytes / 1e6).toFixed(1)} MB`;

/** The results of a round. */
interface Round {
  readonly seen: Report;
  /** Bytes that are resident after it and were not before. */
  readonly grown: number;
  readonly figures: string;
}

/** Returns how late a message may be, in ms. */
function mostLate({ machine }: Report): number {
  return Math.max(LATE, SLACK * machine);
}

/** Returns true when neither messages nor, where they are judged, answers came too late. */
function isInTime(flood: Flood, seen: Report): boolean {
  const isServed = !flood.servesNewcomers || seen.answer < NEWCOMER * mostLate(seen);
  return seen.p99 < mostLate(seen) && isServed;
}

/** Runs a measured round, and checks the requirements that hold however slow the machine is. */
async function endure(world: World, flood: Flood, server: Flooded): Promise<Round> {
  const resident = await server.resident();
  const before = await server.settled();
  await world.begin();
  const began = performance.now();
  const did = await world.flood({ flood: flood.flood, port: server.port, ...flood.args });
  const seconds = (performance.now() - began) / 1000;
  const seen = await world.report();
  const after = await server.settled();
  const grown = (await server.resident(resident + GROWN / 2)) - resident;
  const done = flood.figures?.(did, seconds) ?? `${did.connections} connections`;
  const figures = `${done} in ${seconds.toFixed(1)} s`;
  console.log(
    `\n  ${flood.name}: ${figures}; ${mega(grown)}; p99 ${ms(seen.p99)} ms (the machine ` +
      `${ms(seen.machine)}), longest ${ms(seen.max)} ms, answers ${ms(seen.answer)} ms`,
  );
  checkEnds(endsBetween(before, after), flood.ends, seen.answered);
  assert.is(after.accepted - before.accepted, (did.connections ?? 0) + seen.answered);
  flood.check?.(after, before);
  assert.equal([seen.lost, seen.ended, seen.failed], [0, 0, 0], "bystanders lose nothing");
  assert.is(after.refused, 0, "there was always room to publish");
  assert.ok(seen.count > 0 && seen.answered > 0);
  return { seen, grown, figures };
}

/** Runs a flood against a server, and checks that it ends as it should and that no bystander is affected. */
async function withstand(world: World, flood: Flood): Promise<void> {
  const server = new Flooded(flood.options ?? {}, flood.secure);
  try {
    await server.started();
    await world.watch(server.port, flood.secure ?? false);
    if (flood.firehose) await server.firehose(flood.firehose);
    await world.begin();
    // The figures without a flood are of some time, too.
    await sleep(QUIET);
    const quiet = await world.report();
    await world.flood({ flood: flood.flood, port: server.port, ...flood.args, ...flood.warm });
    await server.settled();
    let round = await endure(world, flood, server);
    const isCalm = (): boolean => isInTime(flood, round.seen) && round.grown <= GROWN;
    for (let i = 1; i < ROUNDS && !isCalm(); i++) round = await endure(world, flood, server);
    const { seen, grown, figures } = round;
    const what = Object.keys(flood.ends).join(", ").replaceAll("|", ", ");
    const late = `${ms(quiet.p99)}, ${ms(seen.p99)} ms (${ms(seen.machine)})`;
    rows.push(`${flood.name} | ${what} | ${figures} | ${mega(grown)} | ${late}`);
    const causes = what.replace(/\w+/g, "`$&`");
    const short = figures.replace(/,? in [\d.]+ s$/, "");
    const measured = `${short}; ${ms(quiet.p99)} → ${ms(seen.p99)} ms, ${mega(grown)}`;
    pageRows.push(`| ${flood.name} | ${causes} | ${measured} |`);
    assert.ok(grown <= GROWN, `${mega(grown)} more are resident`);
    const most = mostLate(seen);
    assert.ok(
      isInTime(flood, seen),
      `p99 of ${ms(seen.p99)} ms, at most ${ms(most)} are allowed; ` +
        `answers ${ms(seen.answer)} ms, at most ${ms(NEWCOMER * most)}`,
    );
  } finally {
    server.end();
  }
}

/** Registers a test of each flood, all on the same clients. */
export function runFloods(title: string, all: readonly Flood[]): void {
  const floods = suite(title);
  const world = new World();
  for (const flood of all) floods(flood.name, () => withstand(world, flood));
  floods.after(() => {
    world.end();
    printFloods();
  });
  floods.run();
}
