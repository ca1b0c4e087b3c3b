// The simulator over many seeds, and the bugs it must find.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { BUGS, simulate } from "../simulator";

const SEEDS = 200;
const STEPS = 400;

const simulator = suite("simulator");

simulator(`finds no difference in ${SEEDS} seeds`, async () => {
  const first = Number(process.env.RINGCAST_SEED ?? 1);
  console.log(`seeds ${first} … ${first + SEEDS - 1}, ${STEPS} steps each`);
  let evicted = 0;
  let published = 0;
  let refused = 0;
  for (let seed = first; seed < first + SEEDS; seed++) {
    const result = await simulate({ seed, steps: STEPS });
    evicted += result.evicted;
    published += result.published;
    refused += result.refusedPublications;
  }
  console.log(`published ${published}, evicted ${evicted}, no room ${refused}`);
  // The steps reach what they are for.
  assert.ok(evicted > 50, "evictions happen");
  assert.ok(refused > 50, "publications wait");
});

for (const bug of BUGS.filter((name) => name !== "none")) {
  simulator(`finds the bug ${bug}`, async () => {
    let found = "";
    for (let seed = 1; seed <= 40 && found === ""; seed++) {
      found = await simulate({ seed, steps: STEPS, bug }).then(
        () => "",
        (error: Error) => error.message.split("\n")[0] as string,
      );
    }
    assert.ok(found, "no seed shows it");
    console.log(`${bug}: ${found.replace(/[^ -~]/g, "?")}`);
  });
}

simulator.run();
