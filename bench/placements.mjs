// Requests a second of one handler in each of its places, taking turns, by wrk.
//
//   node placements.mjs [--smoke]

import { spawn, spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { Child, PINS } from "./child.mjs";
import { header, median } from "./report.mjs";

const PLACES = [
  { name: "worker", title: "in the worker, inline" },
  { name: "app", title: "on the application's thread" },
  { name: "pool", title: "in a pool of one thread" },
];
const CONNECTIONS = 64;
const ROUNDS = 5;
const START_LIMIT = 20_000; // milliseconds
const SERVER_CORES = "0-1";
const LOAD_CORE = "1";

const { values } = parseArgs({ options: { smoke: { type: "boolean", default: false } } });
const rounds = values.smoke ? 1 : ROUNDS;
const seconds = values.smoke ? 1 : 3;

/** Loads a server with requests; how many were answered a second. All must be answered with 200. */
function load(port) {
  const args = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}`, `http://127.0.0.1:${port}/path`];
  const [command, all] = PINS ? ["taskset", ["-c", LOAD_CORE, "wrk", ...args]] : ["wrk", args];
  return new Promise((resolve, reject) => {
    const child = spawn(command, all, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (bytes) => {
      text += bytes;
    });
    child.on("error", reject);
    child.on("close", () => {
      const requests = Number(/(\d+) requests in/.exec(text)?.[1]);
      const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]);
      const wrong = /Non-2xx.*|Socket errors: (?!connect 0, read 0, write 0, timeout 0).*/.exec(
        text,
      );
      if (wrong || !(requests > 0)) reject(new Error(`wrk: ${wrong?.[0] ?? text}`));
      else resolve({ requests, rate });
    });
  });
}

/** One round of a server: its rate, and the CPU time of a request. */
async function round({ child, port }) {
  await child.ask({ type: "cpu" }, "cpu", START_LIMIT);
  const { requests, rate } = await load(port);
  const { processMicros, mainMicros, loopMicros } = await child.ask(
    { type: "cpu" },
    "cpu",
    START_LIMIT,
  );
  return {
    rate,
    all: processMicros / requests,
    main: (mainMicros ?? loopMicros) / requests,
    loop: loopMicros / requests,
  };
}

async function start(place) {
  const child = new Child(place.name, SERVER_CORES, "servers/placement.mjs", [place.name]);
  const { port } = await child.next(["listening"], START_LIMIT);
  const answer = await (await fetch(`http://127.0.0.1:${port}/a/b`)).text();
  if (answer !== "hello /a/b\n") throw new Error(`${place.name} answers ${answer}`);
  return { ...place, child, port, rounds: [] };
}

try {
  if (spawnSync("wrk", ["-v"]).error) {
    console.log("skipped placements: there is no wrk (apt-get install wrk)");
    process.exit();
  }
  console.log(header());
  const servers = [];
  for (const place of PLACES) servers.push(await start(place));
  for (const server of servers) await load(server.port); // warm
  for (let i = 0; i < rounds; i++) {
    for (const server of servers) server.rounds.push(await round(server));
  }
  const [inline] = servers;
  const head = ["", "requests/s", "min–max", "÷ inline", "app CPU µs", "app loop µs", "all CPU µs"];
  const rows = servers.map(({ title, rounds: all }) => {
    const of = (figure) => all.map((one) => one[figure]);
    const rates = of("rate");
    const ratios = all.map(({ rate }, i) => rate / inline.rounds[i].rate);
    const range = `${Math.min(...rates).toFixed(0)}–${Math.max(...rates).toFixed(0)}`;
    const micros = (figure) => median(of(figure)).toFixed(2);
    return [
      title,
      median(rates).toFixed(0),
      range,
      median(ratios).toFixed(2),
      micros("main"),
      micros("loop"),
      micros("all"),
    ];
  });
  console.log("");
  const widths = [28, 10, 15, 9, 11, 12, 11];
  for (const row of [head, ...rows]) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
    );
    console.log(cells.join(" "));
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
process.exit(); // kills what still runs
