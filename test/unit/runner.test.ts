// .scripts/test.mjs: the files and tests that it runs, its counts, and that it gives a reason for each failure. The
// files of test/unit/runner fail on purpose.

import { spawnSync } from "node:child_process";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const runner = suite("runner");

interface Ran {
  readonly code: number | null;
  /** Files that ran. */
  readonly files: readonly string[];
  /** Below "Failures:", by file: names of tests and the lines of their errors. */
  readonly failures: Readonly<Record<string, readonly string[]>>;
  readonly lastLine: string | undefined;
}

/** Returns the list of failures, in pairs of lines. Files end in any order, the tests of each in theirs. */
function failuresOf(lines: readonly string[]): Ran["failures"] {
  const failures: Record<string, string[]> = {};
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const place = /^ {2}test\/unit\/runner\/([\w-]+)\.test\.ts(?: › (.*))?$/.exec(
      lines[i] as string,
    );
    const [, file = "", test = ""] = place ?? [];
    failures[file] ??= [];
    failures[file].push(`${test}: ${lines[i + 1]?.trim()}`);
  }
  return failures;
}

/** Runs files of test/unit/runner. */
function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Ran {
  const { status, stdout } = spawnSync(
    process.execPath,
    [".scripts/test.mjs", "unit/runner", ...args],
    { encoding: "utf8", env: { ...process.env, ...env }, maxBuffer: 1 << 20 },
  );
  const lines = stdout.trimEnd().split("\n");
  const at = lines.lastIndexOf("Failures:");
  const files = [...stdout.matchAll(/^# test\/unit\/runner\/(\S+)\.test\.ts$/gm)];
  return {
    code: status,
    files: files.map(([, name = ""]) => name).sort(),
    failures: failuresOf(at < 0 ? [] : lines.slice(at + 1, -2)),
    lastLine: lines.at(-1),
  };
}

runner("a name selects the file that has it, and others only when none has", () => {
  const passed = { code: 0, failures: {} };
  assert.equal(run(["ring"]), { ...passed, files: ["ring"], lastLine: "2 passed, 0 failed" });
  const both = { files: ["ring", "ring-x"], lastLine: "3 passed, 0 failed" };
  assert.equal(run(["rin"]), { ...passed, ...both });
});

runner("a name that selects nothing is a failure, as is an unknown option", () => {
  for (const args of [["ring", "nothing"], ["--quick"]]) {
    const { code, files, lastLine } = run(args);
    assert.equal([code, files, lastLine], [1, [], "0 passed, 1 failed"]);
  }
});

runner("-t runs the tests whose names contain a text; without any, not even hooks run", () => {
  const { code, failures, lastLine } = run(["ring", "ring-x", "before", "-t", "passes, too"]);
  assert.equal([code, failures, lastLine], [0, {}, "1 passed, 0 failed"]);
});

runner("each failure is listed with its reason, and a missing tool with how to install it", () => {
  const equal = "Expected values to be strictly equal:";
  const failing = {
    after: ["is cleaned up: Error: not clean", "after: Error: still open"],
    before: ["before: RangeError: no room"],
    empty: [": it ran no test"],
    fails: [
      `compares: ${equal} 2 instead of 3`,
      "compares, with a message: the list",
      `compares long values: ${equal} …${"a".repeat(15)}b' instead of …${"a".repeat(15)}c'`,
      "lists what is wrong: Error: wrong are: this",
      "throws no error: Error: 'a string' was thrown",
    ],
    import: [": URIError: not today"],
    missing: [
      "before: Error: there is no wrk: apt-get install -y --no-install-recommends wrk, or its path in RINGCAST_WRK",
    ],
    uncaught: ["waits: TypeError: late"],
    unsettled: ["waits: nothing was left to wait for, but it had not settled"],
  };
  const names = Object.keys(failing);
  const { code, failures, lastLine } = run(names, { PATH: "", RINGCAST_WRK: "" });
  assert.equal(failures, failing);
  // Tests that a hook kept from running count as failed: two of `before`, one of `missing`.
  assert.equal([code, lastLine], [1, "3 passed, 16 failed"]);
});

runner.run();
