// Upstreams: the option that names one, the descriptors that it needs, and the reports of failures.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { fitDescriptors } from "../../host/limits";
import { Log } from "../../host/log";
import { plan } from "../../host/options/plan";
import { settle } from "../../host/options/settle";
import type { FailedUpstream, LogFields, MountOptions, Options } from "../../host/options/types";
import { Upstreams } from "../../worker/control/upstreams";
import { VirtualClock } from "../../worker/net/memory";

const upstreams = suite("upstreams");

for (const [raw, address] of [
  ["127.0.0.1:22", { host: "127.0.0.1", port: 22 }],
  ["a.example:65535", { host: "a.example", port: 65535 }],
  ["localhost:022", { host: "localhost", port: 22 }],
  ["[::1]:22", { host: "::1", port: 22 }],
  ["[fe80::1%eth0]:22", { host: "fe80::1%eth0", port: 22 }],
  ["/run/x.sock", { path: "/run/x.sock" }],
  ["/run/a:22", { path: "/run/a:22" }],
] as const) {
  upstreams(`raw: ${raw}`, () => {
    assert.equal(settle({ raw }).raw, { name: raw, address });
  });
}

upstreams(
  "a port of this server on another address, or any free port, is no upstream of its own",
  () => {
    settle({ raw: "10.0.0.1:8080" });
    settle({ raw: "127.0.0.1:8080", port: 0 });
    settle({ raw: "127.0.0.1:8080", hostname: "10.0.0.1" });
    settle({ raw: "/a", path: "/b" });
  },
);

upstreams("each connection to an upstream needs a descriptor", () => {
  const limits = { maxConnections: 101, maxWebSockets: 200 };
  assert.is(plan(limits).descriptors, 301);
  assert.is(plan({ ...limits, raw: "a:22" }).descriptors, 352);
  const values = { maxConnections: 1000, maxWebSockets: 10000 };
  const standard = { values, raw: "a:22" };
  const fitted = fitDescriptors({ raw: "a:22" }, standard, 1024);
  assert.equal([fitted.maxConnections, fitted.maxWebSockets], [240, 600]);
  assert.throws(
    () => fitDescriptors({ raw: "a:22", ...limits }, standard, 352 + 63),
    "maxWebSockets: maxConnections 101 + maxWebSockets 200 + 51 for mounts and the upstream of raw + 64 others are " +
      "more than the 415 file descriptors of this process (ulimit -n)",
  );
  assert.is(fitDescriptors({ raw: "a:22", ...limits }, standard, 352 + 64).maxWebSockets, 200);
});

upstreams("files and backends of mounts need descriptors, and defaults leave room for them", () => {
  const limits = { maxConnections: 101, maxWebSockets: 200 };
  const files = { path: "/", files: "." };
  const proxies = ["/a", "/b", "/c"].map((path) => ({ path, proxy: "http://127.0.0.1:1" }));
  const of = (mounts: readonly MountOptions[], more: Options = {}): number =>
    plan({ ...limits, mounts, ...more }).descriptors - 301;
  assert.is(of([files]), 101);
  assert.is(of([{ path: "/", zip: "a.zip" }]), 1);
  assert.is(of([{ path: "/", redirect: "/a" }]), 0);
  // A third of 101 idle connections for each of three backends, beside the ones in use.
  assert.is(of([files, ...proxies]), 101 + 3 * 33);
  assert.is(of([files], { raw: "a:22" }), 101, "a connection has a file or an upstream");
  assert.is(of([], { virtualHosts: { "a.example": { mounts: [files] } } }), 101);
  const many = { path: "/", proxy: "http://127.0.0.1:1" };
  assert.is(
    plan({ ...limits, maxConnections: 1000, mounts: [many] }).descriptors,
    1000 + 200 + 1256,
  );
  for (const limit of [256, 1024, 65536]) {
    const { maxConnections, maxWebSockets } = fitDescriptors(
      {},
      settle({ mounts: proxies }),
      limit,
    );
    const fitted = { maxConnections, maxWebSockets, mounts: proxies } as Options;
    assert.ok(plan(fitted).descriptors <= limit - 64, `${limit}`);
  }
});

upstreams("failures are reported a second after the first, one entry for each upstream", () => {
  const clock = new VirtualClock();
  const reports: (readonly FailedUpstream[])[] = [];
  const all = new Upstreams(
    (ms, fn) => clock.after(ms, fn),
    (failures) => void reports.push(failures),
  );
  all.add("a:22", undefined);
  for (let i = 0; i < 1000; i++)
    all.add("a:22", Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
  all.add("/b", undefined);
  all.add("c:22", Object.assign(new Error("x".repeat(5000)), { code: "y".repeat(5000) }));
  clock.advance(999);
  assert.equal(reports, []);
  clock.advance(1);
  assert.equal(reports, [
    [
      { upstream: "a:22", count: 1001, code: "ECONNREFUSED", reason: "refused" },
      { upstream: "/b", count: 1, code: "ETIMEDOUT", reason: "it did not answer in time" },
      { upstream: "c:22", count: 1, code: "y".repeat(200), reason: "x".repeat(200) },
    ],
  ]);
  all.add("a:22", new Error("no code"));
  clock.advance(1000);
  assert.equal(reports[1], [{ upstream: "a:22", count: 1, code: "", reason: "no code" }]);
});

upstreams("are logged as warnings", () => {
  const lines: [LogFields, string][] = [];
  const log = new Log({ warn: (fields, message) => void lines.push([fields, message]) }, () => {
    throw new Error("no error");
  });
  const one = { upstream: "a:22", count: 1, code: "ECONNREFUSED", reason: "refused\x1b[31m" };
  log.upstreams([one, { ...one, count: 3 }]);
  assert.equal(lines, [
    [{ event: "upstreamFailed", ...one }, "the upstream a:22 failed once: refused\\x1b[31m"],
    [
      { event: "upstreamFailed", ...one, count: 3 },
      "the upstream a:22 failed 3 times: refused\\x1b[31m",
    ],
  ]);
});

upstreams.run();
