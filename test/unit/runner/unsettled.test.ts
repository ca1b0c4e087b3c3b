// A test of it waits for what nobody does.

import { suite } from "uvu";

const it = suite("unsettled");

it("passes", () => undefined);
it("waits", () => new Promise<void>(() => undefined));
it("is not reached", () => undefined);

it.run();
