// How many messages a second reach all clients: Ringcast and its peers, taking turns.
//
//   node fanout.mjs [--smoke] [CASE …]     CASE: clients x messages a turn, such as 200x32

import { parseArgs } from "node:util";
import { Pair } from "./pair.mjs";
import { header, table } from "./report.mjs";

const CASES = [
  { title: "200x1", clients: 200, batch: 1 },
  { title: "200x32", clients: 200, batch: 32 },
  { title: "200x512", clients: 200, batch: 512 },
  { title: "10x128", clients: 10, batch: 128 },
];
const SERVERS = [
  { name: "floor", file: "servers/floor.mjs", args: [] },
  { name: "ws", file: "servers/ws.mjs", args: [] },
  { name: "ws-corked", file: "servers/ws.mjs", args: ["corked"] },
  { name: "uws", file: "servers/uws.mjs", args: [] },
  { name: "ringcast", file: "servers/ringcast.mjs", args: ["worker"] },
  { name: "ringcast-app", file: "servers/ringcast.mjs", args: ["app"] },
];
const SIZE = 64;
const ROUNDS = 5;
const ROUND_MILLIS = 700;

/** Servers that cannot run here, and why. @type {Map<string, string>} */
const skipped = new Map();

/** Runs a case's rounds and prints its table. @param {number} rounds 1: as short as it can be */
async function runCase({ title, clients, batch }, rounds) {
  /** @type {Pair[]} */
  const pairs = [];
  for (const server of SERVERS) {
    const pair = await Pair.open(server, clients);
    if (pair instanceof Pair) pairs.push(pair);
    else skipped.set(server.name, pair.reason);
  }
  const jobs = [];
  for (const pair of pairs) {
    const n = rounds === 1 ? Math.max(64, 2 * batch) : await pair.fit(SIZE, batch, ROUND_MILLIS);
    jobs.push({ n, size: SIZE, batch });
  }
  const results = pairs.map((pair, i) => ({ name: pair.name, n: jobs[i].n, rounds: [] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, pair] of pairs.entries()) results[i].rounds.push(await pair.run(jobs[i]));
  }
  for (const pair of pairs) pair.close();
  console.log(`\n${table(title, results)}`);
}

function chosen() {
  const { values, positionals } = parseArgs({
    options: { smoke: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const unknown = positionals.filter((name) => !CASES.some(({ title }) => title === name));
  if (unknown.length > 0) {
    throw new Error(`no case ${unknown}; there are ${CASES.map(({ title }) => title).join(" ")}`);
  }
  const cases = CASES.filter(
    ({ title }) => positionals.length === 0 || positionals.includes(title),
  );
  return { cases, rounds: values.smoke ? 1 : ROUNDS };
}

try {
  const { cases, rounds } = chosen();
  console.log(header());
  for (const one of cases) await runCase(one, rounds);
  if (skipped.size > 0) console.log("");
  for (const [name, reason] of skipped) console.log(`skipped ${name}: ${reason}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
process.exit(); // kills what still runs
