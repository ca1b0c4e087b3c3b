// Its hooks after fail.

import { suite } from "uvu";

const it = suite("after");

it.after.each(({ __test__ }) => {
  if (__test__ === "is cleaned up") throw new Error("not clean");
});
it.after(() => {
  throw new Error("still open");
});
it("is cleaned up", () => undefined);
it("passes", () => undefined);

it.run();
