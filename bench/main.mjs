// Runs cases one after the other, prints their tables.
//
//   node main.mjs [--smoke] [CASE …]     --smoke: one short round, without figures that mean anything

import { parseArgs } from "node:util";
import echo from "./cases/echo.mjs";
import fanout from "./cases/fanout.mjs";
import hello from "./cases/hello.mjs";
import paced from "./cases/paced.mjs";
import topics from "./cases/topics.mjs";
import { contest } from "./contest.mjs";
import { header } from "./report.mjs";

const CASES = [fanout, paced, echo, hello, topics];

function chosen(names) {
  const unknown = names.filter((name) => !CASES.some((one) => one.name === name));
  if (unknown.length > 0) {
    throw new Error(`no case ${unknown}; there are ${CASES.map(({ name }) => name).join(" ")}`);
  }
  return CASES.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** @param {import("./contest.mjs").Case} one @param {boolean} smoke */
async function runCase(one, smoke) {
  one.need?.();
  console.log(`\n${one.name}: ${one.title}`);
  for (const variant of smoke ? one.variants.slice(0, 1) : one.variants) {
    const { text, verdicts } = await contest(one, variant, smoke);
    console.log(`\n${text}`);
    if (smoke) continue;
    for (const { what, target, reached, rounds, met } of verdicts) {
      console.log(`${what}: ${reached} (${rounds}), ${target}: ${met}`);
    }
  }
}

try {
  const { values, positionals } = parseArgs({
    options: { smoke: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const cases = chosen(positionals);
  console.log(header());
  for (const one of cases) await runCase(one, values.smoke);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
process.exit(); // kills what still runs
