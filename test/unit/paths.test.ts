// Paths of requests: one reading, or none, before a mount is chosen.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { decodePath, encodePath, readingsOf } from "../../worker/mount/path";

const paths = suite("paths");

const octets = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text));

paths("are decoded once", () => {
  for (const [path, decoded] of [
    ["/", "/"],
    ["/a/b.txt", "/a/b.txt"],
    ["/a/", "/a/"],
    ["/a%20b", "/a b"],
    ["/%61%62", "/ab"],
    ["/b%C3%BCcher", "/bücher"],
    [octets("/bücher"), "/bücher"],
    ["/%F0%9F%90%9F", "/🐟"],
    ["/%252e%252e/x", "/%2e%2e/x"],
    ["/%2541", "/%41"],
    ["/...", "/..."],
    ["/.a", "/.a"],
    ["/a..b", "/a..b"],
    ["/a;b=c,d@e:f", "/a;b=c,d@e:f"],
    ["/%3Fa%23b", "/?a#b"],
    ['/"^`', '/"^`'],
    ["/%EF%BB%BF", "/\ufeff"],
  ] as const)
    assert.is(decodePath(path), decoded, path);
});

/** Paths that another program may read as `/private/x`. */
const SPELLINGS = [
  "//private/x",
  "/private//x",
  "///private/x",
  "/./private/x",
  "/private/./x",
  "/a/../private/x",
  "/private/a/../x",
  "/../private/x",
  "/%2e/private/x",
  "/a/%2e%2e/private/x",
  "/a/.%2E/private/x",
  "/a/%2e./private/x",
  "/private%2fx",
  "/private%2Fx",
  "/%2fprivate/x",
  "/private%5cx",
  "/private\\x",
  "/a/..\\private\\x",
  "/a/..%5cprivate/x",
  "\\private\\x",
  "/private%00/x",
  "/private/x%00.txt",
  "/private\t/x",
  "/private%0a/x",
  "/private%7f/x",
  "/private/x/..%2f",
  "/a/..%2fprivate%2fx",
];

paths("with a second reading have no decoded form, and a reading tells for which mount", () => {
  for (const path of SPELLINGS) {
    assert.is(decodePath(path), undefined, path);
    const isBelow = readingsOf(path).some((one) => /^\/private(?:\/|$)/.test(one));
    assert.ok(isBelow, `${path}: ${readingsOf(path).join(" ")}`);
  }
});

paths("that are malformed have no decoded form", () => {
  for (const path of ["", "*", "a", "/%", "/%2", "/%zz", "/%C3", "/%C3%28", "/%FF", "/%ED%A0%80"])
    assert.is(decodePath(path), undefined, path);
  assert.is(decodePath("/\xc3"), undefined);
  assert.is(decodePath("/a/."), undefined);
  assert.is(decodePath("/a/.."), undefined);
  assert.is(decodePath("/%C0%AE%C0%AE/"), undefined, "an overlong dot");
});

paths("of random octets have one reading or none", () => {
  const alphabet = ["/", ".", "%", "2", "e", "f", "5", "c", "\\", "a", "\0", "\xff", "%2e", "%2f"];
  let seed = 1;
  const random = (n: number): number => {
    seed = (seed * 48271) % 2147483647;
    return seed % n;
  };
  for (let i = 0; i < 20000; i++) {
    const path = `/${Array.from({ length: random(8) }, () => alphabet[random(alphabet.length)]).join("")}`;
    const decoded = decodePath(path);
    assert.ok(readingsOf(path).every((one) => one.startsWith("/")));
    if (decoded === undefined) continue;
    const segments = decoded.split("/").slice(1);
    const last = segments.pop() as string;
    assert.ok(segments.every((one) => one !== "" && one !== "." && one !== ".."));
    assert.ok(last !== "." && last !== ".." && !decoded.includes("\\"), path);
    assert.is(decodePath(encodePath(decoded)), decoded, path);
  }
});

paths("are written as in a URL", () => {
  assert.is(encodePath("/a b/c?d#e%f"), "/a%20b/c%3Fd%23e%25f");
  assert.is(encodePath("/bücher/"), "/b%C3%BCcher/");
  assert.is(encodePath("/!$&'()*+,;=:@-._~"), "/!$&'()*+,;=:@-._~");
});

paths.run();
