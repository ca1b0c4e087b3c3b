// Errors that occur by the thousand: only a few of them are reported.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { ErrorThrottle } from "../../worker/request/error-throttle";

const throttle = suite("error-throttle");

throttle("reports the first at once, then one in ten seconds, with their number", () => {
  const reports: string[] = [];
  let now = 0;
  const all = new ErrorThrottle(
    () => now,
    (error) => reports.push(`${now}: ${error.message}`),
  );
  for (; now < 25000; now += 10) all.add(new Error("EMFILE"));
  assert.equal(reports, [
    "0: EMFILE",
    "10000: EMFILE (and 999 more before it)",
    "20000: EMFILE (and 999 more before it)",
  ]);
  now = 60000;
  all.add(new Error("EMFILE"));
  assert.is(reports.at(-1), "60000: EMFILE (and 499 more before it)");
  now = 80000;
  all.add(new Error("EMFILE"));
  assert.is(reports.at(-1), "80000: EMFILE");
});

throttle.run();
