// Errors that occur by the thousand: only a few of them are reported.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Complaints } from "../../worker/request/error-throttle";

const complaints = suite("complaints");

complaints("reports the first at once, then one in ten seconds, with their number", () => {
  const told: string[] = [];
  let now = 0;
  const all = new Complaints(
    () => now,
    (error) => told.push(`${now}: ${error.message}`),
  );
  for (; now < 25000; now += 10) all.add(new Error("EMFILE"));
  assert.equal(told, [
    "0: EMFILE",
    "10000: EMFILE (and 999 more before it)",
    "20000: EMFILE (and 999 more before it)",
  ]);
  now = 60000;
  all.add(new Error("EMFILE"));
  assert.is(told.at(-1), "60000: EMFILE (and 499 more before it)");
  now = 80000;
  all.add(new Error("EMFILE"));
  assert.is(told.at(-1), "80000: EMFILE");
});

complaints.run();
