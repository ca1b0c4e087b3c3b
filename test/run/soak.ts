// `npm run soak -- --minutes M`: churn, floods of every kind and broadcasts together, round after round, while
// bystanders watch. After each round, when nothing but they is left, it looks at what the server still has.
//
// It ends non-zero when resident memory grows by MB_A_MINUTE or more once the server is warm, when something is left
// that was not there before, when counters do not add up, or when a bystander lost something.

import {
  BYSTANDERS,
  Flooded,
  type Report,
  type ServerStats,
  World,
  endedOf,
  residentBytes,
} from "../e2e/flood";
import { sleep } from "../e2e/peer";
import { slopeOf } from "../lib/slope";

/** Growth that is a leak. */
const MB_A_MINUTE = 1;
/** Part of the time in which the server warms up. Memory that it keeps from then on is no growth. */
const WARM = 0.2;
/** Handles and descriptors by which two looks may differ: timers, and a connection that is just closing. */
const LOOSE = 4;
/** Rounds that must be measured. */
const ROUNDS_MIN = 3;
const MiB = 1048576;

const OPTIONS = {
  ...{ maxConnections: 1000, maxWebSockets: 1000, maxTopics: 5000, maxSubscriptions: 20000 },
  ...{ headersTimeout: 3000, rateGrace: 2000, writeTimeout: 1000, closeTimeout: 500 },
  ...{
    bufferTimeout: 1000,
    idleTimeout: 4,
    perMessageDeflate: true,
    ring: 4 * MiB,
    maxFrames: 8192,
    maxPayloadLength: 16 * MiB,
  },
};

/** Load of a round; the elements of a row run at the same time. */
const ROUND: readonly (readonly object[])[] = [
  [
    { flood: "churn", count: 4000, width: 100 },
    { flood: "slowHeads", count: 300, ms: 250 },
    { flood: "slowBodies", count: 300, ms: 250 },
  ],
  [
    { flood: "unreadPings", count: 10, ms: 1000 },
    { flood: "fragments", count: 10, rounds: 2 },
    { flood: "halfHandshakes", count: 300 },
  ],
  [
    { flood: "bombs", count: 10, width: 5 },
    { flood: "largeBombs", count: 4, each: 5 },
    { flood: "oversizedRequests", count: 500 },
  ],
  [
    { flood: "oversizedMessages", count: 20, limit: 16 * MiB },
    { flood: "subscriptions", count: 20, topics: 1000 },
    { flood: "slowSubscribers", count: 20 },
  ],
  [
    { flood: "unreadPipelines", count: 50 },
    { flood: "slowReaders", count: 50 },
    { flood: "silence", count: 200 },
    { flood: "begunMessages", count: 30, bytes: MiB },
    { flood: "churn", count: 1000, width: 20 },
  ],
];

function minutesOf(args: readonly string[]): number {
  const at = args.indexOf("--minutes");
  const minutes = at < 0 ? 10 : Number(args[at + 1]);
  if (!(minutes > 0 && minutes <= 10000)) {
    console.error(`--minutes: ${args[at + 1]} is not a number of minutes`);
    process.exit(2);
  }
  return minutes;
}

/** Resources in use after a round. */
interface Look {
  readonly minute: number;
  readonly resident: number;
  readonly applicationHandles: number;
  readonly workerHandles: number;
  readonly descriptors: number;
}

// With this, glibc returns freed large blocks at once. Otherwise it may keep up to 64 MB of them.
process.env.MALLOC_MMAP_THRESHOLD_ = "131072";

const minutes = minutesOf(process.argv.slice(2));
const world = new World();
/** Floods that come at the same time come from processes of their own. */
const others = ROUND.reduce((most, step) => Math.max(most, step.length), 1) - 1;
const more = Array.from({ length: others }, () => new World());
const server = new Flooded(OPTIONS);
const looks: Look[] = [];
const faults: string[] = [];
const latest = { application: 0, worker: 0, p99: 0, machine: 0, longest: 0 };
let delivered = 0;
let connections = 0;

const mega = (bytes: number): string => (bytes / 1e6).toFixed(1);

function judge(report: Report): void {
  const { lost, ended, failed, count } = report;
  if (lost + ended + failed > 0)
    faults.push(`bystanders: ${lost} messages lost, ${ended} ended, ${failed} requests failed`);
  delivered += count;
  latest.p99 = Math.max(latest.p99, report.p99);
  latest.machine = Math.max(latest.machine, report.machine);
  latest.longest = Math.max(latest.longest, report.max);
}

/** Connections that were accepted have ended, for one reason each, or are the bystanders'. */
function addUp(stats: ServerStats): void {
  const ended = endedOf(stats);
  if (stats.accepted !== ended + BYSTANDERS)
    faults.push(`${stats.accepted} accepted, ${ended} ended, ${BYSTANDERS} open`);
  const left = { topics: stats.topics, subscriptions: stats.subscriptions };
  for (const [what, count] of Object.entries({ ...left, refused: stats.refused })) {
    if (count !== 0) faults.push(`${what}: ${count}`);
  }
  if (stats.handlerErrors !== 0) faults.push(`the handler failed ${stats.handlerErrors} times`);
  connections = stats.accepted;
}

async function round(): Promise<void> {
  await world.begin();
  for (const step of ROUND) {
    await Promise.all(
      step.map((order, i) =>
        (i === 0 ? world : (more[i - 1] as World)).flood({ ...order, port: server.port }),
      ),
    );
  }
  judge(await world.report());
  const { application, worker } = await server.health();
  latest.application = Math.max(latest.application, application.p99);
  latest.worker = Math.max(latest.worker, worker.p99);
}

async function look(began: number): Promise<void> {
  await server.settled();
  for (let i = 0; i < 3; i++) {
    await server.collect();
    // Finalizers of a collection run later, and nothing reports that they have.
    await sleep(100);
  }
  addUp(await server.settled());
  const { application, worker, descriptors } = await server.health();
  await server.settled();
  const minute = (performance.now() - began) / 60000;
  const resident = residentBytes(server.pid);
  const { handles } = application;
  looks.push({
    ...{ minute, resident, descriptors },
    ...{ applicationHandles: handles, workerHandles: worker.handles },
  });
  console.log(
    `${minute.toFixed(1)} min: ${mega(resident)} MB, ${handles} and ${worker.handles} handles, ` +
      `${descriptors} descriptors, ${connections} connections so far`,
  );
}

/** Compares the resources at the end with those after warming up. */
function compare(first: Look, last: Look): void {
  for (const what of ["applicationHandles", "workerHandles", "descriptors"] as const) {
    const grown = last[what] - first[what];
    if (grown > LOOSE) faults.push(`${what}: ${grown} more than at the start`);
  }
}

async function soak(): Promise<void> {
  await server.started();
  await world.watch(server.port, false);
  await server.firehose(65536);
  const began = performance.now();
  while (performance.now() - began < minutes * 60000) {
    await round();
    await look(began);
  }
  const warm = looks.filter(({ minute }) => minute >= minutes * WARM);
  if (warm.length < ROUNDS_MIN) {
    faults.push(`${warm.length} rounds are too few: give it more minutes`);
    return;
  }
  compare(warm[0] as Look, warm.at(-1) as Look);
  const slope = slopeOf(warm.map(({ minute, resident }) => ({ x: minute, y: resident / 1e6 })));
  if (slope >= MB_A_MINUTE) faults.push(`memory grows by ${slope.toFixed(2)} MB a minute`);
  const { closed } = await server.stats();
  const causes = Object.entries(closed).map(([cause, count]) => `${cause} ${count}`);
  console.log(
    [
      "",
      `${looks.length} rounds, ${connections} connections, ${delivered} messages to bystanders, none lost`,
      `ended as: ${causes.join(", ")}`,
      `resident: ${mega((warm[0] as Look).resident)} to ${mega((warm.at(-1) as Look).resident)} MB, ` +
        `slope ${slope.toFixed(2)} MB a minute`,
      `loop late by (p99 of the worst round): application ${latest.application.toFixed(1)} ms, ` +
        `worker ${latest.worker.toFixed(1)} ms`,
      `delivery (p99 of the worst round): ${latest.p99.toFixed(1)} ms, the machine ` +
        `${latest.machine.toFixed(1)} ms; the longest ${latest.longest.toFixed(1)} ms`,
    ].join("\n"),
  );
}

try {
  await soak();
} catch (error) {
  // A server that has died says how.
  await server.stats().then(console.error, console.error);
  faults.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
} finally {
  server.end();
  for (const one of [world, ...more]) one.end();
}
for (const fault of new Set(faults)) console.error(fault);
process.exit(faults.length > 0 ? 1 : 0);
