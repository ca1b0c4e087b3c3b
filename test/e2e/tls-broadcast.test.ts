// Broadcasts again over TLS: as tls.test.ts, in a file of its own for its time.

import { test } from "uvu";
import * as assert from "uvu/assert";

process.env.RINGCAST_TLS = "1";
// Its suite runs after this module has been evaluated.
await import("./broadcast.test");

test("the servers of this file speak TLS", async () => {
  const { SERVER_TLS } = await import("./peer");
  assert.ok(SERVER_TLS.tls);
});

test.run();
