// The slope by which a soak is judged.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { slopeOf } from "../lib/slope";

const slope = suite("slope");
const points = (...ys: number[]): { x: number; y: number }[] => ys.map((y, x) => ({ x, y }));

slope("is that of a line, whatever its height", () => {
  assert.is(slopeOf(points(1, 3, 5, 7)), 2);
  assert.is(slopeOf(points(1007, 1005, 1003)), -2);
  assert.is(slopeOf(points(5, 5, 5, 5)), 0);
});

slope("is the best one for points beside the line", () => {
  assert.is(slopeOf(points(0, 10, 0, 10)), 2);
  assert.is(slopeOf(points(0, 9, 0)), 0);
  const far = slopeOf(points(...Array.from({ length: 100 }, (_, i) => 3 * i + ((i * 37) % 11))));
  assert.ok(Math.abs(far - 3) < 0.02, `${far}`);
});

slope("of points at one time is none, of one point an error", () => {
  assert.is(
    slopeOf([
      { x: 1, y: 1 },
      { x: 1, y: 9 },
    ]),
    0,
  );
  assert.throws(() => slopeOf(points(1)), /1 points have no slope/);
});

slope.run();
