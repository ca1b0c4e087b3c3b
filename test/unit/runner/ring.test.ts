// Passes.

import { suite } from "uvu";

const it = suite("ring");

it("passes", () => undefined);
it("passes, too", () => undefined);

it.run();
