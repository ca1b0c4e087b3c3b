// The same again over TLS: writes never complete on return, and are copied.
//
// Differences of TLS, which the tests assert in the form that holds for both:
//   A half-close is an alert (close_notify) before the FIN; a client that has sent everything still gets its answers.
//   A reset is one of the TCP connection below, for TLS knows none; its server receives an error or an end.
//   A stream that is reset is a prefix of whole records: a frame may be cut, never changed.

import { once } from "node:events";
import { connect } from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";

process.env.RINGCAST_TLS = "1";
// Their suites run after this module has been evaluated.
await import("./http.test");
await import("./websocket.test");
await import("./streams.test");
await import("./pieces.test");
await import("./deflate.test");

test("the servers and clients of this file speak TLS", async () => {
  const { CERTIFICATE, SECURE, serving } = await import("./peer");
  assert.ok(SECURE);
  await serving("http", {}, async (_server, port) => {
    const socket = connect({ port, host: "127.0.0.1", ca: CERTIFICATE.cert });
    await once(socket, "secureConnect");
    assert.ok(socket.encrypted && socket.authorized);
    socket.destroy();
  });
});

test.run();
