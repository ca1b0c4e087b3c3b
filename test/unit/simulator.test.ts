// The simulator over some seeds in both modes; a run is data, repeats itself, and can be shortened.
// test/e2e/simulator.test.ts runs many, and test/e2e/mutants.test.ts shows that it finds bugs.

import path from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isFailure, perform, simulate } from "../simulator/simulator";
import { scriptOf } from "../simulator/author";
import { shrink } from "../simulator/shrink";
import { MODES, type Step } from "../simulator/steps";

const SEEDS = 10;
const STEPS = 400;

const simulator = suite("simulator");

for (const mode of MODES) {
  simulator(`finds nothing in ${SEEDS} seeds of ${mode} mode`, async () => {
    const first = Number(process.env.RINGCAST_SEED ?? 1);
    console.log(`seeds ${first} … ${first + SEEDS - 1}, ${mode}, ${STEPS} steps each`);
    for (let seed = first; seed < first + SEEDS; seed++)
      await simulate({ seed, mode, steps: STEPS });
  });

  simulator(`a script of ${mode} mode is data, and has the same trace each time`, async () => {
    for (const seed of [3, 4, 5]) {
      const script = scriptOf(seed, mode, STEPS);
      assert.equal(scriptOf(seed, mode, STEPS), script);
      const copy = JSON.parse(JSON.stringify(script)) as typeof script;
      const [first, second] = [await perform(copy), await perform(script)];
      assert.not(isFailure(first), JSON.stringify(first));
      assert.equal(first, second);
    }
  });

  simulator(`takes any part of a list in ${mode} mode`, async () => {
    for (let seed = 10; seed < 20; seed++) {
      const { settings, steps } = scriptOf(seed, mode, STEPS);
      const some = steps.filter((_, i) => (i * 2654435761) % 7 < 4);
      const result = await perform({ settings, steps: some });
      assert.not(isFailure(result), JSON.stringify(result));
    }
  });
}

simulator("a client that ends between two pieces of what it sends sends no more", async () => {
  const whole = { at: [], turns: false };
  const upstream = { kind: "upstream", client: 0, act: "end", tag: 2, size: 0, pause: -1 } as const;
  const raw = { kind: "raw", client: 0, opening: 0, opens: "now", size: 60 } as const;
  const manners = { buffer: 1024, prompt: true, polite: true };
  const steps: Step[] = [
    { kind: "connect", client: 0, ...manners, pause: 0 },
    { ...raw, tag: 1, cut: whole, pause: 20 },
    upstream,
    { ...raw, tag: 3, cut: { at: [0.2, 0.4, 0.6, 0.8], turns: true }, pause: 0 },
  ];
  const settings = { ...scriptOf(1, "stress", STEPS).settings, isRaw: true };
  const result = await perform({ settings, steps });
  assert.not(isFailure(result), JSON.stringify(result));
});

simulator("a list that fails is made as short as it can be", async () => {
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

simulator("each mutant of the sources changes the line under its comment", async () => {
  const file = pathToFileURL(path.join(process.cwd(), ".scripts/mutants.mjs")).href;
  const { mutants } = (await import(file)) as { mutants(): Promise<Map<string, Mutant>> };
  const found = await mutants();
  assert.ok(found.size >= 40, `${found.size}`);
  for (const [name, { from, to }] of found) {
    assert.not(from === "" || from.startsWith("//"), `${name}: ${from}`);
    assert.is.not(from, to, name);
  }
});

simulator.run();
