// The same again with handlers on the application's thread, which is this one.

import { test } from "uvu";
import * as assert from "uvu/assert";

process.env.RINGCAST_HANDLER = "application";
// Their suites run after this module has been evaluated.
await import("./http.test");
await import("./websocket.test");
await import("./streams.test");
await import("./pieces.test");
await import("./inflate.test");

test("the handlers of this file run on the application's thread", () => {
  assert.is(process.env.RINGCAST_HANDLER, "application");
});

test.run();
