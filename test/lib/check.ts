// The engine's own invariants (assembly/engine/check.ts), as an error that names the one that does not hold.

import { Control, Rule } from "../../assembly/abi";
import type { Engine } from "../../worker/engine/engine";

/** Says which rule does not hold, where, and with which values; undefined when all do. */
export function brokenRule(engine: Engine): string | undefined {
  const rule: Rule = engine.x.check();
  if (rule === Rule.Ok) return undefined;
  const [at, found, expected] = [Control.CheckAt, Control.CheckFound, Control.CheckExpected].map(
    (index) => engine.get(index),
  );
  return `the engine's rule ${Rule[rule]} does not hold at ${at}: found ${found}, expected ${expected}`;
}

/** Checks the engine's invariants. @throws Error naming the rule that does not hold */
export function checkEngine(engine: Engine): void {
  const text = brokenRule(engine);
  if (text !== undefined) throw new Error(text);
}
