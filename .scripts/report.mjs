// The result of a test file's run, from the report that .scripts/suite.mjs writes and from how its process ended.
//
// Invariant: a run in which anything failed, died, hung or did not run counts at least one failure, with a reason.

/**
 * @typedef {object} Failure
 * @property {string} test name of a test or hook; "" for the file as a whole
 * @property {string} line first line of the error
 */

/**
 * @typedef {object} Ended
 * @property {number} code of the process; −1 when a signal ended it
 * @property {boolean} isLate true when it was killed because of its time limit
 * @property {number} limit ms
 * @property {string} output
 */

/** Returns the last line of an output that looks like an error, for example of a module that does not load. */
function errorLine(output) {
  const lines = output.match(/^ *(?:Uncaught )?\w*(?:Error|Exception)\b.*:.*$/gm);
  return lines?.at(-1)?.trim();
}

/** Returns the reason why a process ended before its tests did. */
function reason({ code, isLate, limit, output }, uncaught) {
  if (isLate) return `not done after ${limit / 1000} s`;
  if (uncaught) return uncaught;
  if (output.includes("Exiting early before testing is finished."))
    return "nothing was left to wait for, but it had not settled";
  const error = errorLine(output);
  if (error) return error;
  return code === -1 ? "a signal ended the process" : `the process exited with ${code}`;
}

/**
 * Returns how many tests of a file passed and failed, with the reason of each failure.
 * @param {string} report JSON objects, one a line
 * @param {Ended} ended
 * @param {boolean} isNarrowed true when tests are selected by name, so that a file may have none
 * @returns {{ passed: number, failed: number, failures: Failure[] }}
 */
export function verdict(report, ended, isNarrowed) {
  const failures = [];
  let passed = 0;
  let missed = 0;
  let current = "";
  let uncaught;
  for (const text of report.split("\n")) {
    // A process that is killed may leave half a line.
    if (!text.endsWith("}")) continue;
    const event = JSON.parse(text);
    if (event.begun !== undefined) current = event.begun;
    else if (event.uncaught !== undefined) uncaught = event.uncaught;
    else if (event.missed !== undefined) missed++;
    else {
      if (event.passed !== undefined) passed++;
      if (event.failed !== undefined) failures.push({ test: event.failed, line: event.line });
      current = "";
    }
  }
  const isBare = passed === 0 && failures.length === 0;
  const isDead = ended.isLate || current !== "" || (ended.code !== 0 && failures.length === 0);
  if (isDead) failures.push({ test: current, line: reason(ended, uncaught) });
  else if (isBare && !isNarrowed) failures.push({ test: "", line: "it ran no test" });
  return { passed, failed: failures.length + missed, failures };
}
