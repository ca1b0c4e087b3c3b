// The same again over 'data' events: the read path where sockets cannot read into the window.

import { test } from "uvu";
import * as assert from "uvu/assert";

process.env.RINGCAST_STREAM = "1";
// Their suites run after this module has been evaluated.
await import("./http.test");
await import("./upload.test");
await import("./websocket.test");

test("the servers of this file read by 'data' events", () => {
  assert.is(process.env.RINGCAST_STREAM, "1");
});

test.run();
