// `npm run fuzz -- --seed N --seconds S [http|ws]`: engine against models, from seed N on.

import { numberGiven } from "../lib/arguments";
import { fuzzHttp } from "../fuzz/http";
import { fuzzWs } from "../fuzz/ws";

const FUZZERS = { http: fuzzHttp, ws: fuzzWs };
const seed = numberGiven("seed", Date.now() % 1000000000);
const seconds = numberGiven("seconds", 60);
const named = process.argv.slice(2).filter((word) => word in FUZZERS);
console.log(`seed ${seed}, ${seconds} s each`);

for (const [name, run] of Object.entries(FUZZERS)) {
  if (named.length > 0 && !named.includes(name)) continue;
  try {
    const { inputs, ends } = run({ seed, seconds });
    console.log(`${name}: ${inputs} inputs, no difference;`, ends);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
