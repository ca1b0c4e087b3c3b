// `npm test`: makes the machine ready, then runs all tests: check, end to end, and the smoke set of the other runtimes.
// The last line counts all of them.
//
// Invariant: it exits with 0 only when each step has passed and has run tests.

import "./node.mjs";
import { fileURLToPath } from "node:url";
import { ended } from "./child.mjs";
import { setUp } from "./setup.mjs";

const STEPS = [["check.mjs"], ["test.mjs", "e2e"], ["matrix.mjs", "--smoke"]];
const script = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Runs a step and shows what it prints. @returns the tests that it counts; a step that fails has one that fails */
async function run([name, ...args]) {
  let text = "";
  const { code } = await ended([process.execPath, script(name), ...args], {
    output(bytes) {
      process.stdout.write(bytes);
      text += bytes;
    },
  });
  // A test that fails may have printed such a line, too.
  const counts = [...text.matchAll(/^(\d+) passed, (\d+) failed$/gm)];
  const [, passed = 0, failed = 0] = counts.at(-1) ?? [];
  const isWrong = code !== 0 || Number(passed) === 0;
  return { passed: Number(passed), failed: Number(failed) || Number(isWrong) };
}

await setUp();
const total = { passed: 0, failed: 0 };
for (const step of STEPS) {
  const { passed, failed } = await run(step);
  total.passed += passed;
  total.failed += failed;
  // It has not been built, or nothing of it works.
  if (passed === 0) break;
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed > 0 ? 1 : 0);
