// Resources that a process has used, as Linux counts them, read from outside: the same for every runtime, and no work
// for the measured process. On other systems each figure is NaN, printed as "–".

import { readFileSync, readdirSync, writeFileSync } from "node:fs";

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // no Linux, or a thread that has just ended
  }
}

function threads(pid) {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** Returns the CPU time of a thread in µs. */
function threadMicros(pid, thread) {
  return Number.parseInt(read(`/proc/${pid}/task/${thread}/schedstat`), 10) / 1000;
}

/**
 * Returns the CPU time so far, in µs, of all threads of a process and of its main thread.
 * @param {number} pid
 */
export function cpuOf(pid) {
  const main = threadMicros(pid, pid);
  const others = threads(pid).filter((thread) => thread !== `${pid}`);
  const micros = others.map((thread) => threadMicros(pid, thread)).filter((one) => one > 0);
  return { all: main + micros.reduce((sum, one) => sum + one, 0), main };
}

/** Returns resident memory in bytes: the current size, and the peak since `resetPeak`. @param {number} pid */
export function memoryOf(pid) {
  const status = read(`/proc/${pid}/status`);
  const bytes = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  return { now: bytes("VmRSS"), peak: bytes("VmHWM") };
}

/** Makes the present memory of a process its peak (proc(5), clear_refs). @param {number} pid */
export function resetPeak(pid) {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
  } catch {
    // No Linux: memoryOf knows nothing either.
  }
}
