// Which origins and hosts may connect.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isHostAllowed, isOriginAllowed } from "../../worker/origin";

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
];

for (const [from, host, allowed] of same) {
  origin(`${from || "an empty origin"} ${allowed ? "may" : "may not"} connect to ${host}`, () => {
    assert.is(isOriginAllowed(from, host, {}), allowed);
  });
}

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
