// What the bench prints: one header, then a table for each case.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { cpus } from "node:os";
import { PINS } from "./child.mjs";

const WASM = new URL("../dist/engine.wasm", import.meta.url);

/** @param {number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function git(...args) {
  const { status, stdout } = spawnSync("git", args, { cwd: new URL(".", import.meta.url) });
  return status === 0 ? stdout.toString().trim() : "";
}

export function header() {
  const changed = git("status", "--porcelain") === "" ? "" : " with changes";
  const commit = git("rev-parse", "--short", "HEAD");
  const wasm = statSync(WASM, { throwIfNoEntry: false });
  const cores = cpus();
  return [
    `commit ${commit === "" ? "none" : commit + changed}`,
    `node ${process.version} ${process.platform} ${process.arch}`,
    `${cores[0].model.trim()}, ${cores.length} cores${PINS ? "" : ", not pinned"}`,
    wasm ? `engine.wasm ${wasm.size} B` : "no dist/engine.wasm",
  ].join(" · ");
}

/** @param {number} rate deliveries a second */
function millions(rate) {
  return (rate / 1e6).toPrecision(3);
}

/** @param {number[]} shares */
function percent(shares) {
  return `${(100 * median(shares)).toFixed(0)}%`;
}

/** The median of the ratios of `a`'s rounds to those of `b`, which took turns. */
function ratio(a, b) {
  if (a === undefined || a === b) return "–";
  return median(a.map((round, i) => round.rate / b[i].rate)).toFixed(2);
}

/**
 * The table of one case.
 * @param {string} title
 * @param {{ name: string, n: number, rounds: import("./pair.mjs").Round[] }[]} results
 */
export function table(title, results) {
  const roundsOf = (name) => results.find((result) => result.name === name)?.rounds;
  const worker = roundsOf("ringcast");
  const app = roundsOf("ringcast-app");
  const head = [title, "M/s", "min–max", "ringcast ÷", "app ÷", "ns", "busy", "load", "waits", "n"];
  const rows = results.map(({ name, n, rounds }) => {
    const rates = rounds.map((round) => round.rate);
    return [
      name,
      millions(median(rates)),
      `${millions(Math.min(...rates))}–${millions(Math.max(...rates))}`,
      ratio(worker, rounds),
      ratio(app, rounds),
      median(rounds.map((round) => round.serverNanos)).toFixed(0),
      percent(rounds.map((round) => round.serverShare)),
      percent(rounds.map((round) => round.loadShare)),
      `${median(rounds.map((round) => round.waits))}`,
      `${n}`,
    ];
  });
  const widths = [14, 6, 14, 10, 6, 6, 5, 5, 6, 8];
  const line = (row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(" ");
  return [head, ...rows].map(line).join("\n");
}
