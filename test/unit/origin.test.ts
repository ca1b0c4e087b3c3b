// Which origins and hosts may connect.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { settle } from "../../host/options/settle";
import { type TestOptions, createTestServer } from "../../host/testing";
import { isHostAllowed, isOriginAllowed } from "../../worker/request/origin";

const origin = suite("origin");

const same: [origin: string, host: string, allowed: boolean][] = [
  ["http://a.example", "a.example", true],
  ["http://a.example", "a.example:80", true],
  ["http://a.example:80", "a.example", true],
  ["https://a.example", "a.example", true],
  ["https://a.example", "a.example:443", true],
  ["https://a.example:443", "A.EXAMPLE", true],
  ["http://a.example:8080", "a.example:8080", true],
  ["http://[::1]:8080", "[::1]:8080", true],
  ["http://a.example", "b.example", false],
  ["http://a.example:8080", "a.example", false],
  ["http://a.example", "a.example:8080", false],
  ["https://a.example", "a.example:80", false],
  ["http://a.example.evil", "a.example", false],
  ["http://evil/a.example", "a.example", false],
  ["http://a.example@evil", "a.example", false],
  ["null", "a.example", false],
  ["", "a.example", false],
  ["nonsense", "nonsense", false],
  ["ws://a.example", "a.example", false],
  ["wss://a.example", "a.example", false],
  ["ftp://a.example", "a.example", false],
  ["file://a.example", "a.example", false],
  ["chrome-extension://a.example", "a.example", false],
  ["http://a.example/x", "a.example", false],
  ["http://a.example, http://a.example", "a.example", false],
  ["http://a.example.", "a.example", true],
  ["http://a.example", "a.example.", true],
  ["http://a.example", "a.example..", false],
  ["http://[0:0::1]", "[::1]", true],
  ["http://xn--bcher-kva.example", "xn--bcher-kva.example", true],
];

for (const [from, host, allowed] of same) {
  origin(`${from || "an empty origin"} ${allowed ? "may" : "may not"} connect to ${host}`, () => {
    assert.is(isOriginAllowed(from, host, {}), allowed);
  });
}

origin("over TLS only a page of https: is the server's own", () => {
  const secure = { secure: true };
  assert.ok(isOriginAllowed("https://a.example", "a.example", secure));
  assert.ok(isOriginAllowed("https://a.example:8443", "a.example:8443", secure));
  assert.not.ok(isOriginAllowed("http://a.example", "a.example", secure));
  assert.not.ok(isOriginAllowed("http://a.example:443", "a.example:443", secure));
  assert.ok(isOriginAllowed("http://b.example", "a", { ...secure, origins: ["http://b.example"] }));
});

/** Entries of `origins`, and origins of pages that they allow and do not. */
const listed: [entry: string, allows: string[], refuses: string[]][] = [
  ["https://a.example:443", ["https://a.example"], ["http://a.example", "https://a.example:8443"]],
  ["http://a.example:80", ["http://a.example"], ["https://a.example"]],
  ["https://a.example/", ["https://a.example"], ["https://b.a.example"]],
  ["HTTPS://A.Example", ["https://a.example"], []],
  ["https://a.example.", ["https://a.example", "https://a.example."], []],
  ["https://bücher.example", ["https://xn--bcher-kva.example"], ["https://bcher.example"]],
  ["https://xn--bcher-kva.example", ["https://xn--bcher-kva.example"], []],
  ["http://[0:0:0:0:0:0:0:1]:3000", ["http://[::1]:3000"], ["http://[::1]"]],
  [
    "https://*.a.example",
    ["https://b.a.example", "https://b.a.example:443"],
    ["https://a.example", "https://c.b.a.example", "http://b.a.example", "https://b.a.example:1"],
  ],
  ["http://*.a.example:3000", ["http://b.a.example:3000"], ["http://b.a.example"]],
  ["https://*.bücher.example", ["https://a.xn--bcher-kva.example"], []],
  ["http://*.localhost", ["http://b.localhost"], ["http://localhost"]],
  ["null", ["null"], ["http://null"]],
  ["chrome-extension://abcdef", ["chrome-extension://abcdef"], ["http://abcdef"]],
  ["capacitor://localhost", ["capacitor://localhost"], ["http://localhost"]],
  ["*", ["https://a.example", "null", "chrome-extension://abcdef"], []],
];

for (const [entry, allows, refuses] of listed) {
  origin(`origins: ["${entry}"] allows the origins it names and no other`, () => {
    const { lists } = settle({ origins: [entry] });
    const rules = { origins: lists.origins };
    for (const from of allows) assert.ok(isOriginAllowed(from, "z.example", rules), from);
    for (const from of refuses) assert.not.ok(isOriginAllowed(from, "z.example", rules), from);
    assert.is(isOriginAllowed("https://z.example", "z.example", rules), entry === "*");
  });
}

origin("refuses a value that is not an origin, by name", () => {
  for (const entry of [
    ...[
      "a.example",
      "",
      "https://",
      "https://a.example/path",
      "https://a.example?x",
      "ws://a.example",
    ],
    ...[
      "wss://a.example",
      "https://*",
      "https://*.*.a.example",
      "https://a*.example",
      "*://a.example",
    ],
    ...[
      "http://localhost:*",
      "https://u@a.example",
      "https://a.example:99999",
      "https://*.1.2.3.4",
    ],
    ...["https://a.example, https://b.example", "https://a b", "*.a.example", "//a.example"],
    ...["chrome-extension://*.a"],
  ])
    assert.throws(
      () => settle({ origins: [entry] }),
      (error: Error) =>
        error instanceof TypeError &&
        error.message.startsWith(`origins: ${JSON.stringify(entry)} is`),
      entry,
    );
});

/** Entries of `hosts`, and hosts of requests that they allow and do not; over TLS where that differs. */
const hosts: [entry: string, allows: string[], refuses: string[]][] = [
  ["a.example:443", ["a.example", "a.example:443"], ["a.example:80", "a.example:8443"]],
  ["a.example:8080", ["a.example:8080"], ["a.example"]],
  ["A.Example.", ["a.example", "A.EXAMPLE.", "a.example:99"], ["a.example.."]],
  ["bücher.example", ["xn--bcher-kva.example"], ["bcher.example"]],
  ["*.a.example", ["b.a.example", "b.a.example:99"], ["a.example", "c.b.a.example", ".a.example"]],
  ["*.a.example:8080", ["b.a.example:8080"], ["b.a.example"]],
  ["[0::1]", ["[::1]", "[::1]:80"], ["[::2]", "::1"]],
  ["*", ["anything", "b.a.example:99"], []],
];

for (const [entry, allows, refuses] of hosts) {
  origin(`hosts: ["${entry}"] allows the hosts it names and no other`, () => {
    for (const secure of [false, true]) {
      const rules = { hosts: settle({ hosts: [entry] }).lists.hosts ?? [], secure };
      for (const host of allows) assert.ok(isHostAllowed(host, rules), host);
      for (const host of refuses) assert.not.ok(isHostAllowed(host, rules), host);
    }
  });
}

origin("a host listed with port 80 is that of a plain listener's default", () => {
  const rules = { hosts: settle({ hosts: ["a.example:80"] }).lists.hosts ?? [] };
  assert.ok(isHostAllowed("a.example", rules));
  assert.not.ok(isHostAllowed("a.example", { ...rules, secure: true }));
});

origin("refuses a value that is not a host, by name", () => {
  for (const entry of [
    ...[
      "",
      "a b",
      "a/b",
      "https://a.example",

      "a.example:x",
      ".a.example",
      "*.",
      "a*.b",
    ],
    ...[
      "*.*.a.example",
      "u@a.example",
      "*.1.2.3.4",
      "[::1",
      "::1",
      "a.example:99999",
      "*a.example",
    ],
  ])
    assert.throws(
      () => settle({ hosts: [entry] }),
      (error: Error) =>
        error instanceof TypeError &&
        error.message.startsWith(`hosts: ${JSON.stringify(entry)} is`),
      entry,
    );
});

/** Upgrades as pages would, and returns what the server reported. */
async function reported(options: TestOptions, asks: readonly Record<string, string>[]) {
  const reports: [string, string][] = [];
  const t = createTestServer({
    handler: { request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200)) },
    ...options,
    onError: ({ message }, where) => reports.push([where, message]),
  });
  const answers: (number | undefined)[] = [];
  for (const headers of asks) {
    const client = t.connect("/", { headers });
    await t.settle();
    answers.push(client.answer?.status);
  }
  await t.close();
  return { reports, answers };
}

origin("a refused origin is reported once, with the option that would allow it", async () => {
  const evil = { Origin: "http://evil.example" };
  const { reports, answers } = await reported({}, [evil, evil, { Origin: "null" }, {}]);
  assert.equal(answers, [403, 403, 403, 101]);
  assert.equal(reports, [
    [
      "origin",
      'origins: an upgrade from the origin "http://evil.example" to the host "ringcast.test" was refused (403); ' +
        "to allow it, add it to origins",
    ],
    [
      "origin",
      'origins: an upgrade from the origin "null" to the host "ringcast.test" was refused (403); ' +
        "to allow it, add it to origins",
    ],
  ]);
});

origin("a refused host, and a missing origin, are reported alike", async () => {
  const { reports, answers } = await reported({ hosts: ["a.example"], requireOrigin: true }, [
    { Host: "b.example" },
    { Host: "b.example" },
    { Host: "a.example" },
  ]);
  assert.equal(answers, [421, 421, 403]);
  assert.equal(
    reports.map(([, message]) => message),
    [
      'hosts: a request for the host "b.example" was refused (421); to allow it, add it to hosts',
      "requireOrigin: an upgrade without an Origin was refused (403); requireOrigin: false would allow it",
    ],
  );
});

origin("a client that makes up origins causes at most sixteen reports", async () => {
  const asks = Array.from({ length: 40 }, (_, i) => ({ Origin: `http://${i}.example` }));
  const long = { Origin: `http://${"a".repeat(5000)}.example` };
  const { reports, answers } = await reported({}, [long, ...asks]);
  assert.ok(answers.every((status) => status === 403));
  assert.is(reports.length, 16);
  assert.ok((reports[0]?.[1].length ?? 0) < 500);
  assert.match(reports[15]?.[1] ?? "", /; further ones are counted and not reported$/);
});

origin("a client without an origin passes unless one is required", () => {
  assert.ok(isOriginAllowed(undefined, "a", {}));
  assert.not.ok(isOriginAllowed(undefined, "a", { requireOrigin: true }));
  assert.ok(isOriginAllowed("http://a", "a", { requireOrigin: true }));
});

origin("a list of origins replaces the rule of the own origin", () => {
  const rules = { origins: ["https://b.example"] };
  assert.ok(isOriginAllowed("https://b.example", "a", rules));
  assert.ok(isOriginAllowed("https://B.example", "a", rules));
  assert.not.ok(isOriginAllowed("http://a", "a", rules));
  assert.ok(isOriginAllowed("http://anything", "a", { origins: ["*"] }));
});

origin("hosts match with and without port", () => {
  const rules = { hosts: ["a.example", "b.example:8080", "[::1]"] };
  for (const host of ["a.example", "a.example:99", "A.Example", "b.example:8080", "[::1]:80"]) {
    assert.ok(isHostAllowed(host, rules), host);
  }
  for (const host of ["b.example", "b.example:80", "evil", "", "a.example.evil"]) {
    assert.not.ok(isHostAllowed(host, rules), host);
  }
  assert.ok(isHostAllowed("anything", {}));
});

origin.run();
