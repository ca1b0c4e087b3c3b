// Its before hook fails.

import { suite } from "uvu";

const it = suite("before");

it.before(() => {
  throw new RangeError("no room\nfor anything");
});
it("needs the hook", () => undefined);
it("needs it, too", () => undefined);

it.run();
