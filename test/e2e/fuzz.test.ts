// The parsers against slow models for some seconds, from another seed than the unit tests; RINGCAST_SEED tries others,
// and so does `npm run fuzz`.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { fuzzHttp } from "../fuzz/http";
import { fuzzWs } from "../fuzz/ws";

const SECONDS = 10;
const seed = Number(process.env.RINGCAST_SEED ?? 1_000_000);

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
