// Processes, as tests see them.

import { readFileSync } from "node:fs";

/**
 * Returns true while a process runs. One that has ended may stay as a zombie: where process 1 is no init, as in many a
 * container, nobody takes its exit code.
 */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
