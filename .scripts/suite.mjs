// uvu's `suite` and `test` for the tests, which import them from "uvu": .scripts/test.mjs puts this file in its place.
// It adds what uvu leaves out: a hook that fails is reported with its error and fails the tests that needed it, a value
// that is no Error can be thrown, and only tests whose names contain RINGCAST_TEST_NAME run.
//
// Each event is also written at once to the file RINGCAST_TEST_REPORT, one JSON object a line, so the report of a
// process that dies or hangs says in which test that was. .scripts/report.mjs reads it.

import { appendFileSync } from "node:fs";
import { inspect } from "node:util";
import * as uvu from "uvu";

const REPORT = process.env.RINGCAST_TEST_REPORT;
const NAME = process.env.RINGCAST_TEST_NAME ?? "";
/** Longest value in an error's line, in characters. */
const VALUE_LENGTH = 60;

function report(event) {
  if (REPORT) appendFileSync(REPORT, `${JSON.stringify(event)}\n`);
}

/** Returns a thrown value as an Error, because uvu prints nothing else. It never throws, whatever the value is. */
function errorOf(thrown) {
  try {
    const isError = typeof thrown?.name === "string" && typeof thrown.message === "string";
    return isError ? thrown : new Error(`${inspect(thrown)} was thrown`);
  } catch {
    return new Error("a value that cannot be printed was thrown");
  }
}

/** Returns two values as text, from shortly before they differ. */
function shown(actual, expected) {
  const texts = [actual, expected].map((value) =>
    inspect(value, { breakLength: Infinity, depth: 2 }),
  );
  const [one, other] = texts;
  let at = 0;
  while (at < one.length && one[at] === other[at]) at++;
  const from = at > VALUE_LENGTH / 2 ? at - VALUE_LENGTH / 4 : 0;
  return texts.map((text) => {
    const end = from + VALUE_LENGTH;
    return `${from > 0 ? "…" : ""}${text.slice(from, end)}${text.length > end ? "…" : ""}`;
  });
}

/**
 * Returns an error in one line. After a message that ends with a colon the next line follows; a comparison without a
 * message gets the values.
 */
function lineOf({ name, message, generated, operator, actual, expects }) {
  const [head = "", ...rest] = message.split("\n").filter((text) => text.trim() !== "");
  const first = head.endsWith(":") && rest.length > 0 ? `${head} ${rest[0]}` : head;
  const line = name === "Assertion" ? first : `${name}: ${first}`;
  if (!generated || (operator !== "is" && operator !== "equal")) return line;
  const [found, due] = shown(actual, expects);
  return `${line} ${found} instead of ${due}`;
}

// An error that nothing catches ends the process, unless a test listens for it.
process.on("uncaughtExceptionMonitor", (thrown) => {
  let line = "an error that cannot be printed";
  try {
    line = lineOf(errorOf(thrown));
  } catch {
    // A getter of the error throws the second time, too, so the line above stays.
  }
  report({ uncaught: line });
});

/** Runs hooks in order. @returns the first error; the hooks after it do not run */
async function failing(kind, hooks, state) {
  report({ begun: kind });
  try {
    for (const hook of hooks) await hook(state);
    report({ done: kind });
    return undefined;
  } catch (thrown) {
    const error = errorOf(thrown);
    report({ failed: kind, line: lineOf(error) });
    console.error(`\n  ${kind} failed: ${error.stack ?? error.message}`);
    // uvu sets the exit code once all has run.
    process.once("exit", () => {
      process.exitCode ||= 1;
    });
    return error;
  }
}

/** Creates a suite as uvu does. Its `name`, which may be empty, is printed before the results. */
export function suite(name = "", initial = {}) {
  const inner = uvu.suite(name, initial);
  const hooks = { before: [], after: [], beforeEach: [], afterEach: [] };
  /** The error of `before`. */
  let broken;
  let count = 0;

  const wrap = (title, handler) => async (state) => {
    if (broken) {
      report({ missed: title });
      throw new Error(`it did not run: before failed: ${lineOf(broken)}`);
    }
    report({ begun: title });
    try {
      try {
        for (const hook of hooks.beforeEach) await hook(state);
        await handler(state);
      } finally {
        for (const hook of hooks.afterEach) await hook(state);
      }
    } catch (thrown) {
      const error = errorOf(thrown);
      report({ failed: title, line: lineOf(error) });
      throw error;
    }
    report({ passed: title });
  };
  const add = (into) => (title, handler) => {
    if (!title.includes(NAME)) return inner.skip();
    count++;
    return into(title, wrap(title, handler));
  };
  const test = add(inner);
  test.only = add(inner.only);
  test.skip = () => inner.skip();
  test.before = (hook) => hooks.before.push(hook);
  test.after = (hook) => hooks.after.push(hook);
  test.before.each = (hook) => hooks.beforeEach.push(hook);
  test.after.each = (hook) => hooks.afterEach.push(hook);
  test.run = () => {
    // Hooks of a suite without a test that is wanted would start servers for nothing.
    if (count === 0) return;
    inner.before(async (state) => {
      broken = await failing("before", hooks.before, state);
    });
    inner.after(async (state) => {
      await failing("after", hooks.after, state);
    });
    inner.run();
  };
  return test;
}

export const test = suite();
