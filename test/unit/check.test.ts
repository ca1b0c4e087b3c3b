// check(): a record that is broken on purpose is found by the name of its rule, with the place and both values.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CONN_BYTES, CONN_BACKLOG, CONN_GENERATION, Control, Rule } from "../../assembly/abi";
import { brokenRule, checkEngine } from "../lib/check";
import { Drive } from "../lib/drive";

const check = suite("check");

check("reports nothing when all rules hold", () => {
  const drive = new Drive();
  drive.webSocket();
  drive.publish("x");
  assert.is(brokenRule(drive.engine), undefined);
  drive.end();
});

check("names the gauge that is wrong, with the values found and expected", () => {
  const { engine } = new Drive();
  engine.set(Control.DeadCount, 7);
  assert.is(
    brokenRule(engine),
    "the engine's rule DeadCount does not hold at 0: found 7, expected 0",
  );
  assert.throws(() => checkEngine(engine), /rule DeadCount does not hold/);
});

check("names the slot whose record is wrong", () => {
  const drive = new Drive();
  const first = drive.connect();
  const second = drive.webSocket();
  const { engine } = drive;
  const at = (slot: number): number => (engine.slots + slot * CONN_BYTES) >>> 2;
  // The first slot's record under the WebSocket's slot: an HTTP connection where none may be.
  const from = at(first.slot);
  const to = at(second.slot);
  const before = engine.u32.slice(to, to + CONN_BYTES / 4);
  engine.u32.copyWithin(to, from, from + CONN_BYTES / 4);
  engine.u32[to + (CONN_GENERATION >>> 2)] = second.generation;
  assert.match(brokenRule(engine) ?? "", new RegExp(`rule \\w+ does not hold at ${first.slot}`));
  engine.u32.set(before, to);
  assert.is(brokenRule(engine), undefined);
  engine.u32[to + (CONN_BACKLOG >>> 2)] = 5;
  assert.is(brokenRule(engine), undefined, "a backlog alone breaks no rule");
});

check("has a name for each rule", () => {
  const names = Object.keys(Rule).filter((name) => Number.isNaN(Number(name)));
  assert.is(names.length, 50);
  assert.is(new Set(names).size, names.length);
});

check.run();
