// Figures of bench/results.md in the README and bench/README.md: found where the bench prints them, and reported when
// they are missing.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { SHOWN, benchTable, targetsTable } from "../lib/results";

const results = suite("results");

/** Returns a variant's table as the bench prints it, with the figure of each server. */
function tableOf(variant: string, rates: Readonly<Record<string, number>>): string {
  const line = ([first = "", ...cells]: string[]): string =>
    [first.padEnd(24), ...cells.map((cell) => cell.padStart(10))].join("  ");
  const rows = Object.entries(rates).map(([name, rate]) => {
    const ratio = ((rates.ringcast ?? 0) / rate).toFixed(2);
    return [name, String(rate), `${rate - 1}–${rate + 1}`, ratio, "98%"];
  });
  return [[variant, "M/s", "min–max", "ringcast ÷", "busy"], ...rows].map(line).join("\n");
}

const TARGET = "echo, 8x16: ringcast ÷ uws, k/s";

/** Results of all that is shown, every case with a line that is no table's, as targets are. */
function written(but?: string): string {
  const lines = ["# Results", "", "```", "commit abc · node v20", "ws 8.0.0 · uws 20 · 2026-01-02"];
  let last = "";
  for (const shown of SHOWN) {
    if (shown.variant === but) continue;
    if (shown.case !== last) lines.push("", `${shown.case}: what it measures: all of it`);
    last = shown.case;
    const first: Record<string, number> =
      shown.case === "hello" ? { "node:http": 5 } : { ws: 5, "ws-corked": 7 };
    lines.push("", tableOf(shown.variant, { ...first, uws: 20, ringcast: 30, "ringcast-app": 40 }));
    lines.push("ringcast ÷ uws, M/s: 1.50 (1.50), at least 1.00: met");
  }
  lines.push("", "target  wanted  reached", `${TARGET}  at least 1.00  0.90  NOT MET`);
  return [...lines, "```", ""].join("\n");
}

results("the table has a row for each variant that is shown, and the ratio of the rounds", () => {
  const [about, , , , ...lines] = benchTable(written()).split("\n");
  assert.is(about, "commit abc, node v20; ws 8.0.0, uws 20, 2026-01-02.");
  assert.is(lines.length, SHOWN.length);
  for (const [i, { what, unit }] of SHOWN.entries())
    assert.is(lines[i], `| ${what}, ${unit} | 5 | 20 |  |  | 30 | 40 | 1.50 |`);
});

results("each target has a row, which says when it is not met", () => {
  const rows = targetsTable(written()).split("\n");
  assert.is(rows[0], "| target | wanted | reached | |");
  assert.is(rows[2], `| ${TARGET} | at least 1.00 | 0.90 | **not met** |`);
});

results("results without a variant that is shown are refused", () => {
  assert.throws(() => benchTable(written("8x16")), /bench\/results.md has no echo: 8x16/);
  assert.throws(() => benchTable(written().replace("commit", "")), /does not say what ran/);
  assert.throws(() => targetsTable(written().replace("target", "")), /has no targets/);
});

results.run();
