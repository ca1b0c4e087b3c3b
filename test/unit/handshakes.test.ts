// Reports of failed TLS handshakes: in batches, with a bound on their number and on the clients that they name.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { FailedHandshake, LogFields } from "../../host/options/types";
import { Log } from "../../host/log";
import { Handshakes } from "../../worker/control/handshakes";
import { VirtualClock } from "../../worker/net/memory";

const handshakes = suite("handshakes");

handshakes("are reported a second after the first, ten of them by name", () => {
  const clock = new VirtualClock();
  const reports: [number, readonly FailedHandshake[]][] = [];
  const all = new Handshakes(
    (ms, fn) => clock.after(ms, fn),
    (count, clients) => void reports.push([count, clients]),
  );
  const alert = Object.assign(new Error("0A000418:SSL routines::tlsv1 alert unknown ca"), {
    ...{ code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", reason: "tlsv1 alert unknown ca" },
  });
  all.add("192.0.2.1", alert);
  all.add("192.0.2.2", undefined);
  all.add("192.0.2.3", Object.assign(new Error("x".repeat(5000)), { code: "c".repeat(5000) }));
  for (let i = 0; i < 1000; i++) all.add("192.0.2.4", new Error("late"));
  clock.advance(999);
  assert.equal(reports, []);
  clock.advance(1);
  const [[count, clients] = [0, []]] = reports;
  assert.equal([reports.length, count, clients.length], [1, 1003, 10]);
  assert.equal(clients.slice(0, 2), [
    {
      ...{ remoteAddress: "192.0.2.1", code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA" },
      reason: "tlsv1 alert unknown ca",
    },
    { remoteAddress: "192.0.2.2", code: "ECONNRESET", reason: "the client left" },
  ]);
  assert.equal([clients[2]?.code.length, clients[2]?.reason.length], [200, 200]);
  assert.equal(clients[3], { remoteAddress: "192.0.2.4", code: "", reason: "late" });
  clock.advance(5000);
  assert.is(reports.length, 1);
  all.add("192.0.2.5", undefined);
  clock.advance(1000);
  assert.equal([reports.length, reports[1]?.[0], reports[1]?.[1].length], [2, 1, 1]);
});

handshakes("are logged for debugging, and are no errors", () => {
  const lines: [LogFields, string][] = [];
  const debug = (fields: LogFields, message: string): void => void lines.push([fields, message]);
  const errors: unknown[] = [];
  const log = new Log({ debug }, (error) => void errors.push(error));
  const clients = [{ remoteAddress: "192.0.2.1", code: "ECONNRESET", reason: "the client left" }];
  log.handshakes(7, clients);
  assert.equal(lines, [[{ event: "tlsFailed", count: 7, clients }, "7 TLS handshakes failed"]]);
  assert.equal(errors, []);
});

handshakes.run();
