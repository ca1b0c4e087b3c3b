// The simulator over many seeds. What they come to is looked at, too: a simulator that reaches nothing finds nothing.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { simulate } from "../simulator";
import { CloseReason } from "../../assembly/abi";

const SEEDS = 500;
const STEPS = 400;

/** Reasons that no run can come to: none of what they are for is part of it, or there is nothing yet that has them. */
const ELSEWHERE = new Set(
  [
    ["TooSlow", "ExpectedEof", "MissingContentLength", "WsBadKey", "WsMissingKey"],
    [
      "WsMissingVersion",
      "WsMissingUpgrade",
      "OriginRefused",
      "HostRefused",
      "AddressLimit",
      "Rate",
      "ReceiveTooSlow",
      "AddressBuffers",
      "BadProxyHeader",
      "ProxyRefused",
      "TlsFailed",
    ],
    ["NetworkError", "Configured"],
  ].flat(),
);

const simulator = suite("simulator");

simulator(
  `finds no difference in ${SEEDS} seeds, which come to nearly every end there is`,
  async () => {
    const first = Number(process.env.RINGCAST_SEED ?? 1000);
    console.log(`seeds ${first} … ${first + SEEDS - 1}, ${STEPS} steps each`);
    const ends: Record<string, number> = {};
    const totals = { published: 0, refused: 0, evicted: 0, requests: 0, messages: 0 };
    for (let seed = first; seed < first + SEEDS; seed++) {
      const result = await simulate({ seed, steps: STEPS });
      for (const name of Object.keys(totals) as (keyof typeof totals)[])
        totals[name] += result[name];
      for (const [name, count] of Object.entries(result.closed))
        ends[name] = (ends[name] ?? 0) + count;
    }
    console.log(JSON.stringify(totals));
    console.log(JSON.stringify(ends));
    for (const [name, count] of Object.entries(totals))
      assert.ok(count > 1000, `${name}: ${count}`);
    const reasons = Object.keys(CloseReason).filter((name) => Number.isNaN(Number(name)));
    const missing = reasons.filter((name) => !ends[name] && !ELSEWHERE.has(name));
    assert.equal(missing, [], "no run comes to it");
  },
);

simulator.run();
