// Output that every bench prints: the header with versions and machine, medians, cells in columns.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { cpus } from "node:os";
import { PINS } from "./child.mjs";

const WASM = new URL("../dist/engine.wasm", import.meta.url);

/** Returns the median. @param {number[]} values */
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

/**
 * Cells in columns: the first to the left, the others to the right.
 * @param {string[][]} rows the first is the head
 */
export function grid(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  return rows.map(line).join("\n");
}
