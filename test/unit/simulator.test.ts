// The simulator over some seeds; that a run is data and can be made short. test/e2e/simulator.test.ts runs many, and
// test/e2e/mutants.test.ts shows that it finds bugs.

import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isFailure, perform, simulate } from "../simulator";
import { scriptOf } from "../simulator/author";
import { shrink } from "../simulator/shrink";

const SEEDS = 60;
const STEPS = 400;

const simulator = suite("simulator");

simulator(`finds no difference in ${SEEDS} seeds`, async () => {
  const first = Number(process.env.RINGCAST_SEED ?? 1);
  console.log(`seeds ${first} … ${first + SEEDS - 1}, ${STEPS} steps each`);
  for (let seed = first; seed < first + SEEDS; seed++) await simulate({ seed, steps: STEPS });
});

simulator("does the same again, and nothing but what its script says", async () => {
  for (const seed of [3, 4, 5]) {
    const script = scriptOf(seed, STEPS);
    assert.equal(scriptOf(seed, STEPS), script);
    const copy = JSON.parse(JSON.stringify(script)) as typeof script;
    assert.equal(await perform(copy), await perform(script));
  }
});

simulator("takes any part of a list", async () => {
  for (let seed = 10; seed < 20; seed++) {
    const { settings, steps } = scriptOf(seed, STEPS);
    const some = steps.filter((_, i) => (i * 2654435761) % 7 < 4);
    const result = await perform({ settings, steps: some });
    assert.not(isFailure(result), JSON.stringify(result));
  }
});

simulator("what fails is made as short as it can be", async () => {
  const list = Array.from({ length: 200 }, (_, i) => i);
  let runs = 0;
  const fails = async (part: readonly number[]): Promise<boolean> => {
    runs++;
    return part.includes(17) && part.includes(130) && part.includes(131);
  };
  assert.equal(await shrink(list, fails), [17, 130, 131]);
  assert.ok(runs < 200, `${runs} runs`);
});

interface Mutant {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

simulator("each mutant changes what stands in its source exactly once", async () => {
  const file = pathToFileURL(path.join(process.cwd(), ".scripts/mutants.mjs")).href;
  const { MUTANTS } = (await import(file)) as { MUTANTS: Readonly<Record<string, Mutant>> };
  assert.ok(Object.keys(MUTANTS).length >= 15);
  for (const [name, { file, from, to }] of Object.entries(MUTANTS)) {
    const parts = readFileSync(path.join(process.cwd(), file), "utf8").split(from);
    assert.is(parts.length, 2, `${name}: ${JSON.stringify(from)} in ${file}`);
    assert.is.not(from, to);
  }
});

simulator.run();
