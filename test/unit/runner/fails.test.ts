// Its tests fail, each in another way.

import { suite } from "uvu";
import * as assert from "uvu/assert";

const it = suite("fails");

it("compares", () => assert.is(1 + 1, 3));
it("compares, with a message", () => assert.equal([1], [2], "the list"));
it("compares long values", () => assert.is(`${"a".repeat(100)}b`, `${"a".repeat(100)}c`));
it("lists what is wrong", () => {
  throw new Error("wrong are:\n\nthis\nthat");
});
it("throws no error", () => {
  throw "a string";
});
it("passes", () => undefined);

it.run();
