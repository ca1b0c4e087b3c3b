// How many messages a second reach the subscribers of 1,000 topics, ten of each, against a broadcast of as
// many messages to each client in as many turns.
//
//   node topics.mjs [--smoke] [CLIENTS …]     1000: ten messages a turn for each; 200: fifty

import { parseArgs } from "node:util";
import { Pair } from "./pair.mjs";
import { header, table } from "./report.mjs";
import { setClients } from "./servers/groups.mjs";

const CLIENTS = [1000, 200];
const SIZE = 64;
const ROUND_MILLIS = 700;
const SERVERS = [
  { name: "uws topics", file: "servers/uws.mjs", args: ["topics"] },
  { name: "broadcast", file: "servers/ringcast.mjs", args: ["worker"] },
  { name: "ringcast", file: "servers/ringcast.mjs", args: ["topics"] },
  { name: "ringcast-app", file: "servers/ringcast.mjs", args: ["app-topics"] },
];

/** Runs the rounds for a number of clients and prints their table. @param {boolean} smoke one short round */
async function runCase(clients, smoke) {
  const batch = setClients(clients);
  const results = [];
  /** @type {Pair[]} */
  const pairs = [];
  for (const { name, file, args } of SERVERS) {
    const pair = await Pair.open({ name, file, args: [...args, `${clients}`] }, clients);
    if (!(pair instanceof Pair)) {
      console.log(`skipped ${name}: ${pair.reason}`);
      continue;
    }
    const n = smoke ? 2 * batch : await pair.fit(SIZE, batch, ROUND_MILLIS);
    pairs.push(pair);
    results.push({ name, n, rounds: [] });
  }
  for (let round = 0; round < (smoke ? 1 : 5); round++) {
    for (const [i, pair] of pairs.entries()) {
      results[i].rounds.push(await pair.run({ n: results[i].n, size: SIZE, batch }));
    }
  }
  for (const pair of pairs) pair.close();
  console.log(`\n${table(`${clients}x${batch}`, results)}`);
}

try {
  const { values, positionals } = parseArgs({
    options: { smoke: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const chosen = positionals.length === 0 ? CLIENTS : positionals.map(Number);
  const unknown = chosen.filter((clients) => !CLIENTS.includes(clients));
  if (unknown.length > 0) throw new Error(`no case ${unknown}; there are ${CLIENTS.join(" ")}`);
  console.log(header());
  for (const clients of chosen) await runCase(clients, values.smoke);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
process.exit(); // kills what still runs
