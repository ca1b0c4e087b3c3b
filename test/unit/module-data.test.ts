// The data of a WebSocket that a handler on the application's thread gives to a module: an equal value, or an error.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { runInNewContext } from "node:vm";
import { jsonOf } from "../../host/local/data";

const data = suite("module data");

data("data that JSON keeps arrives as it was", () => {
  const shared = { a: 1 };
  for (const value of [
    ...[null, true, 0, -1.5, 1e300, "", "\u2028\n\0\ud83e\udd8a", [], {}, [[], [null]]],
    { user: "ada", roles: ["a", "b"], deep: { deeper: { deepest: [1, { x: "" }] } } },
    [shared, shared],
    Object.assign(Object.create(null), { a: 1 }),
    runInNewContext("({ a: [1] })") as object,
    "x".repeat(65534),
  ]) {
    const text = jsonOf(value);
    assert.equal(JSON.parse(text), JSON.parse(JSON.stringify(value)));
    assert.not.ok(text.includes("\n"), "it is one line");
  }
  assert.is(jsonOf(undefined), "");
  assert.equal(JSON.parse(jsonOf({ a: undefined, b: 1 })), { b: 1 });
});

/** Nests lists. */
function nested(depth: number): unknown {
  return depth === 0 ? 1 : [nested(depth - 1)];
}

/** Returns a list of two lists, of two lists, …: few objects, many values. */
function bush(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value, value];
  return value;
}

data("data that JSON would change or drop is refused, and so is too much of it", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  class Own {
    readonly a = 1;
  }
  const wrong: readonly unknown[] = [
    ...[() => 1, Symbol("s"), 1n, Number.NaN, Number.POSITIVE_INFINITY, new Date(), new Map()],
    ...[/x/, new Own(), new Uint8Array(1), new Error("x"), Promise.resolve(), cycle],
    ...[[undefined], new Array(2), { f() {} }, { toJSON: () => 1 }, { a: { b: [new Set()] } }],
    nested(33),
  ];
  for (const value of wrong)
    assert.throws(
      () => jsonOf(value),
      (error: Error) =>
        error instanceof TypeError && /^data: .* that JSON keeps/.test(error.message),
    );
  jsonOf(nested(32));
  assert.throws(() => jsonOf("x".repeat(65535)), /^data: 65537 bytes of JSON are more than 65536$/);
  assert.throws(() => jsonOf(bush(30)), /^data: more than 65536 values$/);
});

data.run();
