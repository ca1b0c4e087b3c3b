// Runs cases one after the other and prints their tables. When all of them ran, it writes bench/results.md.
//
//   node main.mjs [--smoke] [--base FOLDER] [CASE …]
//
//   --smoke         one short round of each, without figures that mean anything
//   --base FOLDER   beside the Ringcast of another checkout, which is built, instead of the peers; writes no file

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import application from "./cases/application.mjs";
import compressed from "./cases/compressed.mjs";
import cost from "./cases/cost.mjs";
import downloads from "./cases/downloads.mjs";
import echo from "./cases/echo.mjs";
import events from "./cases/events.mjs";
import fanout from "./cases/fanout.mjs";
import files from "./cases/files.mjs";
import hello from "./cases/hello.mjs";
import idle from "./cases/idle.mjs";
import paced from "./cases/paced.mjs";
import placements from "./cases/placements.mjs";
import saturated from "./cases/saturated.mjs";
import stalled from "./cases/stalled.mjs";
import startup from "./cases/startup.mjs";
import topics from "./cases/topics.mjs";
import { endAll, start } from "./child.mjs";
import { contest } from "./contest.mjs";
import { grid, header } from "./report.mjs";

const CASES = [
  fanout,
  events,
  saturated,
  paced,
  echo,
  hello,
  files,
  compressed,
  stalled,
  downloads,
  idle,
  application,
  cost,
  topics,
  placements,
  startup,
];
/** The engine alone has a process of its own: engine.mjs. */
const ENGINE = "engine";
const RESULTS = new URL("results.md", import.meta.url);

function chosen(names) {
  const known = [...CASES.map(({ name }) => name), ENGINE];
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`no case ${unknown}; there are ${known.join(" ")}`);
  return CASES.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** Returns the header, with the versions of the compared servers and the date. */
function about() {
  const { dependencies } = JSON.parse(
    readFileSync(new URL("package.json", import.meta.url), "utf8"),
  );
  const peers = Object.entries(dependencies).map(([name, version]) => `${name} ${version}`);
  return `${header()}\n${peers.join(" · ")} · ${new Date().toISOString().slice(0, 10)}`;
}

/** Prints, and keeps for the file. */
class Output {
  text = "";

  /** @param {string} text */
  print(text) {
    console.log(text);
    this.text += `${text}\n`;
  }
}

/** Runs a variant and returns its table and verdicts. The text of a failure replaces them. */
async function runVariant(one, variant, { smoke, base }) {
  try {
    const { text: table, verdicts } = await contest(one, variant, smoke, base);
    const lines = verdicts.map(
      ({ what, target, reached, rounds, met }) =>
        `${what}: ${reached} (${rounds}), ${target}: ${met}`,
    );
    return { text: [table, ...lines].join("\n"), verdicts };
  } catch (error) {
    endAll();
    process.exitCode = 1;
    return { text: `${variant.name}: FAILED: ${error.message}`, verdicts: [] };
  }
}

/**
 * Runs a case.
 * @param {import("./contest.mjs").Case} one
 * @param {{ smoke: boolean, base?: string }} options
 * @param {Output} output
 * @returns {Promise<string[][]>} a row for each target
 */
async function runCase(one, options, output) {
  const targets = [];
  output.print(`\n${one.name}: ${one.title}`);
  for (const variant of options.smoke ? one.variants.slice(0, 1) : one.variants) {
    const { text: table, verdicts } = await runVariant(one, variant, options);
    output.print(`\n${table}`);
    for (const { what, target, reached, met } of verdicts) {
      targets.push([`${one.name}, ${variant.name}: ${what}`, target, reached, met]);
    }
  }
  return targets;
}

/** Longest that the engine alone may take, in ms. */
const ENGINE_LIMIT = { smoke: 60_000, full: 900_000 };

/**
 * Runs the benches of the engine.
 * @param {{ smoke: boolean, base?: string }} options
 * @param {Output} output
 */
async function runEngine({ smoke, base }, output) {
  const file = fileURLToPath(new URL("engine.mjs", import.meta.url));
  const beside = base ? ["--base", path.join(base, "dist/engine.wasm")] : [];
  const args = [file, ...beside, ...(smoke ? ["--smoke"] : [])];
  const child = start("0-1", [process.execPath, ...args]);
  const limit = smoke ? ENGINE_LIMIT.smoke : ENGINE_LIMIT.full;
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  const ended = new Promise((resolve) => child.on("close", resolve));
  const printed = await text(child.stdout);
  if ((await ended) !== 0) {
    console.error(`${ENGINE}: failed, or not done in ${limit / 1000} s`);
    process.exitCode = 1;
  }
  clearTimeout(timer);
  output.print(`\n${ENGINE}: what it takes by itself\n\n${printed.trim()}`);
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { smoke: { type: "boolean", default: false }, base: { type: "string" } },
    allowPositionals: true,
  });
  const cases = chosen(positionals);
  if (values.base) {
    values.base = path.resolve(values.base);
    const entry = path.join(values.base, "dist/index.js");
    if (!existsSync(entry)) throw new Error(`--base: ${entry} is missing (npm ci and build there)`);
  }
  const output = new Output();
  output.print(about());
  const targets = [["target", "wanted", "reached", ""]];
  for (const one of cases) targets.push(...(await runCase(one, values, output)));
  if (positionals.length === 0 || positionals.includes(ENGINE)) await runEngine(values, output);
  if (values.smoke) return;
  output.print(`\n${grid(targets)}`);
  if (positionals.length > 0 || values.base) return;
  const command =
    "`npm run bench` on a machine that does nothing else; README.md says how to read it.";
  writeFileSync(RESULTS, `# Results\n\n${command}\n\n\`\`\`text\n${output.text}\`\`\`\n`);
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
process.exit(); // kills what still runs
