// Processes, as tests see them.

import { readFileSync } from "node:fs";

/**
 * Returns true while a process runs. A process that has ended may stay as a zombie: in many containers process 1 is no
 * init and collects no exit codes.
 */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
