// The simulator over many seeds, in both modes. The events that it reaches are checked, too: a simulator that reaches
// nothing finds nothing.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason } from "../../assembly/abi";
import { simulate } from "../simulator/simulator";
import type { Mode } from "../simulator/steps";

/** Seeds of each mode. */
const SEEDS = { exact: 200, stress: 300 } as const;
const STEPS = 400;

/** Reasons that no run has, because no run has their cases. */
const ELSEWHERE = new Set(
  [
    ["TooSlow", "MissingContentLength", "WsBadKey", "WsMissingKey"],
    ["WsMissingVersion", "WsMissingUpgrade", "OriginRefused", "HostRefused", "AddressLimit"],
    ["Rate", "ReceiveTooSlow", "AddressBuffers", "BadProxyHeader", "ProxyRefused", "TlsFailed"],
  ].flat(),
);

const simulator = suite("simulator");

/** Runs the seeds of a mode. @returns how much of what they have reached, and how connections ended */
async function run(mode: Mode): Promise<[Record<string, number>, Record<string, number>]> {
  const first = Number(process.env.RINGCAST_SEED ?? 2000);
  console.log(`seeds ${first} … ${first + SEEDS[mode] - 1}, ${mode}, ${STEPS} steps each`);
  const ends: Record<string, number> = {};
  const totals = { published: 0, refused: 0, evicted: 0, requests: 0, messages: 0 };
  for (let seed = first; seed < first + SEEDS[mode]; seed++) {
    const result = await simulate({ seed, mode, steps: STEPS });
    for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += result[name];
    for (const [name, count] of Object.entries(result.closed))
      ends[name] = (ends[name] ?? 0) + count;
  }
  console.log(JSON.stringify(totals));
  console.log(JSON.stringify(ends));
  return [totals, ends];
}

simulator(
  `each client receives the model's bytes in ${SEEDS.exact} seeds of exact mode`,
  async () => {
    const [{ published = 0, requests = 0, messages = 0, evicted, refused }] = await run("exact");
    assert.ok(Math.min(published, requests, messages) > 1000);
    assert.is(evicted, 0);
    assert.is(refused, 0);
  },
);

simulator(
  `the rules hold in ${SEEDS.stress} seeds of stress mode, which end in nearly every way`,
  async () => {
    const [totals, ends] = await run("stress");
    for (const [name, count] of Object.entries(totals))
      assert.ok(count > 1000, `${name}: ${count}`);
    const reasons = Object.keys(CloseReason).filter((name) => Number.isNaN(Number(name)));
    const missing = reasons.filter((name) => !ends[name] && !ELSEWHERE.has(name));
    assert.equal(missing, [], "no run has them");
  },
);

simulator.run();
