// The live page's figures: axes, and what is said about stalled clients.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  COUNTS,
  DELAYS,
  MESSAGES,
  RATES,
  SIZES,
  type Scale,
  axis,
} from "../../host/demo/page/units";
import { Stalled } from "../../host/demo/stalled";

const live = suite("live");

const SCALES: Readonly<Record<string, Scale>> = { SIZES, RATES, COUNTS, MESSAGES, DELAYS };

for (const [name, scale] of Object.entries(SCALES)) {
  live(`an axis of ${name} has two to four labels, each a whole number of its unit`, () => {
    for (let most = 1; most < 1e12; most *= 1.037) {
      const { end, marks } = axis(most, scale);
      const labels = marks.map(([, label]) => label);
      assert.ok(end >= most * 0.999, `${most} is below the end ${end}`);
      assert.ok(marks.length >= 2 && marks.length <= 4, labels.join());
      assert.is(new Set(labels).size, labels.length, labels.join());
      assert.equal([marks[0]?.[0], marks.at(-1)?.[0]], [0, end]);
      const suffix = labels[0]?.slice(1);
      for (const [value, label] of marks) {
        const [, figure = "", rest] = /^([\d,]+)(.*)$/.exec(label) ?? [];
        assert.is(rest, suffix, "one unit");
        const power = scale.units.indexOf((suffix ?? "").trim());
        assert.is(Number(figure.replaceAll(",", "")) * scale.base ** power, value, label);
      }
    }
  });
}

live("an axis ends little above the largest value", () => {
  const ends = [1, 2, 3, 4, 7, 16, 31, 61, 100].map((most) => axis(most, COUNTS).end);
  assert.equal(ends, [1, 2, 3, 4, 10, 20, 40, 100, 100]);
  assert.equal(
    axis(120 * 2 ** 20, SIZES).marks.map(([, label]) => label),
    ["0 MiB", "50 MiB", "100 MiB", "150 MiB"],
  );
});

live("a stalled client fills the kernel's buffers first, then the ring", () => {
  const stalled = new Stalled();
  const client = { lag: { bytes: 0, frames: 0, queued: 0 } };
  const other = { lag: { bytes: 0, frames: 0, queued: 0 } };
  stalled.add(client);
  const ring = 65536;
  assert.equal(stalled.sample(5000, ring), { kernel: 1, taken: 0, ring: 0, lag: 0 });
  client.lag.bytes = 100;
  assert.equal(stalled.sample(9000, ring), { kernel: 1, taken: 3900, ring: 0, lag: 0 });
  client.lag.bytes = 40000;
  assert.equal(stalled.sample(60000, ring), { kernel: 0, taken: 0, ring: 1, lag: 40000 });
  stalled.add(other);
  stalled.sample(60000, ring);
  assert.equal(stalled.sample(60700, ring), { kernel: 1, taken: 700, ring: 1, lag: 40000 });
  stalled.remove(client);
  stalled.remove(other);
  assert.equal(stalled.sample(60000, ring), { kernel: 0, taken: 0, ring: 0, lag: 0 });
});

live.run();
