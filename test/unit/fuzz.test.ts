// The parsers against slow models, for a moment, from the same seed each time; RINGCAST_SEED tries others.
// test/e2e/fuzz.test.ts takes longer, and `npm run fuzz` as long as it is asked to.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { fuzzHttp } from "../fuzz/http";
import { fuzzWs } from "../fuzz/ws";

const SECONDS = 1.5;
const seed = Number(process.env.RINGCAST_SEED ?? 1);

const fuzzers = suite("fuzz");

for (const [name, run] of Object.entries({ http: fuzzHttp, ws: fuzzWs })) {
  fuzzers(`${name}: engine and model agree`, () => {
    console.log(`${name}: seed ${seed}, ${SECONDS} s`);
    const { inputs, ends } = run({ seed, seconds: SECONDS });
    console.log(`${inputs} inputs, ${Object.keys(ends).length} kinds of end`);
    assert.ok(inputs > 0);
  });
}

fuzzers.run();
