// Whatever user code throws or returns: described without throwing, and settled once.

import { createContext, runInContext } from "node:vm";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  describe,
  errorOf,
  isInstance,
  isThenable,
  toError,
  whenSettled,
} from "../../host/shared/result";
import { fileUrl } from "../e2e/peer";

const thrown = suite("thrown");

/** Values that are hard to describe: a description of each, and a function that makes one. */
const { THROWN } = (await import(fileUrl("handlers/thrown.mjs").href)) as {
  THROWN: readonly (readonly [name: string, make: () => unknown])[];
};

/** The lint rules refuse an object with a `then` of its own, which is what these tests are about. */
const THEN: string = "then";

function thenable(value: unknown): object {
  return { [THEN]: value };
}

function thenGetter(message: string): object {
  const get = (): never => {
    throw new Error(message);
  };
  return Object.defineProperty({}, THEN, { get });
}

/** Characters beyond which no text of an error goes, the note that it was cut included. */
const BOUND = 16384 + 40;

for (const [name, make] of THROWN) {
  thrown(`describes ${name} in bounded strings that another thread can get`, () => {
    const data = describe(make());
    for (const text of [data.name, data.message, data.stack]) {
      assert.type(text, "string");
      assert.ok(text.length <= BOUND, `${text.length} characters`);
    }
    assert.ok(data.message.length + data.stack.length > 0);
    assert.equal(structuredClone(data), data);
    const { message, stack } = errorOf(data);
    assert.equal([message, stack], [data.message, data.stack]);
  });

  thrown(`turns ${name} into an error`, () => {
    const value = make();
    const error = toError(value);
    assert.instance(error, Error);
    assert.ok(error.message.length <= BOUND);
    assert.ok((error.stack ?? "").length <= BOUND);
    assert.ok(error === value || Object.is(error.cause, value), "the original is not lost");
    // It can be printed.
    assert.ok(`${error}` !== "");
  });
}

thrown("keeps an ordinary error, its class, its code and its identity", () => {
  class Own extends TypeError {
    code = "E_OWN";
  }
  for (const error of [new Own("a"), new Error("b"), new DOMException("c", "AbortError")]) {
    assert.is(toError(error), error);
  }
  assert.is(toError(Object.freeze(new Error("frozen"))).message, "frozen");
  const { name, message, code, stack } = describe(new Own("a"));
  assert.equal({ name, message, code }, { name: "TypeError", message: "a", code: "E_OWN" });
  assert.match(stack, /TypeError: a\n.*thrown\.test/s);
  const again = errorOf(describe(new Own("a")));
  assert.is(String(again), "TypeError: a");
  assert.is((again as { code?: unknown }).code, "E_OWN");
  assert.equal(Object.keys(again), ["code"]);
});

/** Returns the texts of an error that programs print. */
function textsOf(error: Error): string[] {
  const { cause, errors = [] } = error as { cause?: unknown; errors?: unknown[] };
  const within = [cause, ...errors].filter((one) => one instanceof Error) as Error[];
  return [error.name, error.message, error.stack ?? "", ...within.flatMap(textsOf)];
}

thrown("an error that quotes a peer shows none of its control characters", () => {
  const hostile = "\x1b[2J\x9b\r\nnext\t\x07\u202e";
  const safe = "\\x1b[2J\\x9b\\x0d\nnext\t\\x07\\u202e";
  class Own extends TypeError {}
  const caused = new Own(hostile, { cause: new Error(hostile, { cause: new Error(hostile) }) });
  const many = new AggregateError([new Error(hostile), new Error(hostile)], "many");
  const foreign = runInContext("new RangeError(text)", createContext({ text: hostile })) as Error;
  const named = Object.assign(new Error("a"), { name: hostile });
  for (const error of [new SyntaxError(hostile), caused, many, named]) {
    assert.is(toError(error), error, "its class and identity stay");
  }
  const frozen = Object.freeze(new Error(hostile));
  for (const value of [caused, many, named, foreign, frozen, hostile, { message: hostile }]) {
    const error = toError(value);
    for (const text of textsOf(error)) assert.not.match(text, /(?![\n\t])\p{Cc}|\u202e/u);
    assert.not.match(describe(value).stack, /(?![\n\t])\p{Cc}|\u202e/u);
  }
  assert.is(describe(hostile).message, safe);
  assert.is(toError(frozen).message, safe);
  assert.is(caused.message, safe);
  assert.match(caused.stack ?? "", /thrown\.test/);
});

thrown("describes an error of another realm by its own words", () => {
  const foreign = runInContext("new RangeError('from elsewhere')", createContext()) as Error;
  assert.not(foreign instanceof Error);
  const error = toError(foreign);
  assert.is(String(error), "RangeError: from elsewhere");
  assert.is(error.cause, foreign);
});

thrown("describes a thrown value that is no error", () => {
  const say = (value: unknown): string => describe(value).message;
  assert.equal([undefined, null, 5, "text", Symbol("s"), { message: "own" }, {}, 1n].map(say), [
    "undefined",
    "null",
    "5",
    "text",
    "Symbol(s)",
    "own",
    "[object Object]",
    "1",
  ]);
  assert.is(describe("a".repeat(20000)).message, `${"a".repeat(16384)}… (20000 characters)`);
});

thrown("treats as a thenable any value that `await` waits for", () => {
  const nothing = (): undefined => undefined;
  const callable = Object.assign(() => undefined, thenable(nothing));
  for (const value of [Promise.resolve(), thenable(nothing), thenGetter("then"), callable]) {
    assert.is(isThenable(value), true);
  }
  const plain = [undefined, null, 1, "then", {}, thenable(1), nothing, Symbol("s")];
  for (const value of plain) assert.is(isThenable(value), false);
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assert.is(isThenable(proxy), true);
});

thrown("recognizes an instance, and no value that throws when it is asked", () => {
  assert.is(isInstance(new TypeError("a"), Error), true);
  for (const [, make] of THROWN) assert.is(isInstance(make(), Map), false);
});

/** Settles a value and notes each call. */
async function settle(value: unknown): Promise<unknown[]> {
  const calls: unknown[] = [];
  whenSettled(
    value,
    (result) => calls.push("fulfilled", result),
    (reason) => calls.push("rejected", describe(reason).message),
  );
  assert.equal(calls, [], "nothing is called before it returns");
  for (let i = 0; i < 10; i++) await Promise.resolve();
  return calls;
}

type Settle = (value: unknown) => void;

function fail(message: string): never {
  throw new Error(message);
}

thrown("calls one callback once, whatever a thenable does", async () => {
  const own = Promise.resolve(1);
  Object.defineProperty(own, "constructor", {
    get() {
      throw new Error("constructor");
    },
  });
  const asked = (): never => {
    throw new Error("never asked");
  };
  const overridden = Object.assign(Promise.resolve(2), thenable(asked));
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const cases: readonly [unknown, readonly unknown[]][] = [
    [Promise.resolve("a"), ["fulfilled", "a"]],
    [Promise.reject(new Error("b")), ["rejected", "b"]],
    [thenable((yes: Settle, no: Settle) => [yes("c"), no("d"), yes("e")]), ["fulfilled", "c"]],
    [thenable((yes: Settle, no: Settle) => [no("d"), yes("c"), no("e")]), ["rejected", "d"]],
    [thenable((yes: Settle) => yes("first") ?? fail("late")), ["fulfilled", "first"]],
    [thenable(() => fail("at once")), ["rejected", "at once"]],
    [thenGetter("getter"), ["rejected", "getter"]],
    [thenable(() => undefined), []],
    [own, ["rejected", "constructor"]],
    [overridden, ["fulfilled", 2]],
  ];
  for (const [value, calls] of cases) assert.equal(await settle(value), calls);
  assert.is((await settle(proxy))[0], "rejected");
});

thrown.run();
