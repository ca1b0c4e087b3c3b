// It needs a tool that is not there: the test that runs it sets PATH.

import { suite } from "uvu";
import { toolPath } from "../../../.scripts/tools.mjs";

const it = suite("missing");

it.before(() => {
  toolPath("wrk");
});
it("runs the tool", () => undefined);

it.run();
