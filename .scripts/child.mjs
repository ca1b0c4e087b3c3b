// Programs that a script starts and waits for.
//
// Invariant: a signal that ends the script ends them and what they have started.

import { spawn } from "node:child_process";
import os from "node:os";

/** Process ids of what runs, each the leader of a group of its own. */
const running = new Set();

function endGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is empty.
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    for (const pid of running) endGroup(pid, signal);
    process.exit(128 + os.constants.signals[signal]);
  });
}

/**
 * Runs a program to its end. Processes that it leaves are killed.
 * @param {readonly string[]} command
 * @param {object} options
 * @param {(bytes: Buffer) => void} [options.output] gets what it writes to stdout; else that goes to this stdout
 * @param {boolean} [options.hasErrors] true: `output` gets what it writes to stderr, too; else that goes to this stderr
 * @param {number} [options.limit] ms after which it is killed
 * @param {Record<string, string | undefined>} [options.env] variables beside this process's
 * @returns {Promise<{ code: number, isLate: boolean }>} code −1: it could not be started, or a signal ended it
 */
export function ended([program, ...args], { output, hasErrors, limit, env, ...options } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      ...options,
      detached: true,
      env: { ...process.env, ...env },
      stdio: ["ignore", output ? "pipe" : "inherit", hasErrors ? "pipe" : "inherit"],
    });
    const { pid } = child;
    if (pid !== undefined) running.add(pid);
    let isLate = false;
    const timer =
      limit &&
      setTimeout(() => {
        isLate = true;
        endGroup(pid, "SIGKILL");
      }, limit);
    if (output) child.stdout.on("data", output);
    if (hasErrors) child.stderr.on("data", output);
    child.once("error", () => resolve({ code: -1, isLate }));
    // Processes that are left of the group could hold its output open.
    child.once("exit", () => endGroup(pid, "SIGKILL"));
    child.once("close", (code) => {
      clearTimeout(timer);
      running.delete(pid);
      resolve({ code: code ?? -1, isLate });
    });
  });
}
