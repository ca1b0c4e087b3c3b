// A test of it waits for an event that never occurs.

import { suite } from "uvu";

const it = suite("unsettled");

it("passes", () => undefined);
it("waits", () => new Promise<void>(() => undefined));
it("is not reached", () => undefined);

it.run();
