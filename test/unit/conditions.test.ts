// Conditional requests and ranges of files (RFC 9110 13, 14).

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Request } from "../../host/handler";
import { judgeConditions, rangeOf } from "../../worker/mount/conditions";

const conditions = suite("conditions");

const TAG = '"abc-1"';
const MODIFIED = "Tue, 01 Dec 2026 10:00:00 GMT";
const EARLIER = "Tue, 01 Dec 2026 09:59:59 GMT";
const LATER = "Tue, 01 Dec 2026 10:00:01 GMT";
const VALIDATORS = { tag: TAG, modified: MODIFIED };

const request = (fields: Readonly<Record<string, string>>, method = "GET"): Request =>
  ({ method, header: (name: string) => fields[name] }) as unknown as Request;

conditions("are judged in their order (RFC 9110 13.2.2)", () => {
  for (const [fields, status] of [
    [{}, 0],
    [{ "if-none-match": TAG }, 304],
    [{ "if-none-match": `W/${TAG}` }, 304],
    [{ "if-none-match": `"x", W/"y" ,${TAG}` }, 304],
    [{ "if-none-match": "*" }, 304],
    [{ "if-none-match": '"abc"' }, 0],
    [{ "if-none-match": "abc-1" }, 0],
    [{ "if-none-match": "" }, 0],
    [{ "if-none-match": '"x,y"' }, 0],
    [{ "if-modified-since": MODIFIED }, 304],
    [{ "if-modified-since": LATER }, 304],
    [{ "if-modified-since": EARLIER }, 0],
    [{ "if-modified-since": "Tuesday, 01-Dec-26 10:00:00 GMT" }, 304],
    [{ "if-modified-since": "Tue Dec  1 10:00:00 2026" }, 304],
    [{ "if-modified-since": "2026-12-02" }, 0],
    [{ "if-modified-since": "0" }, 0],
    [{ "if-none-match": '"x"', "if-modified-since": LATER }, 0],
    [{ "if-match": TAG }, 0],
    [{ "if-match": "*" }, 0],
    [{ "if-match": `W/${TAG}` }, 412],
    [{ "if-match": '"x"' }, 412],
    [{ "if-match": '"x"', "if-none-match": TAG }, 412],
    [{ "if-match": TAG, "if-none-match": TAG }, 304],
    [{ "if-unmodified-since": MODIFIED }, 0],
    [{ "if-unmodified-since": EARLIER }, 412],
    [{ "if-match": TAG, "if-unmodified-since": EARLIER }, 0],
    [{ "if-unmodified-since": "yesterday" }, 0],
  ] as const)
    assert.is(judgeConditions(request(fields), VALIDATORS), status, JSON.stringify(fields));
});

conditions("one range is served, any other one is not", () => {
  const of = (range: string, more: Record<string, string> = {}, size = 100, method = "GET") =>
    rangeOf(request({ range, ...more }, method), size, VALIDATORS);
  for (const [range, start, end] of [
    ["bytes=0-0", 0, 1],
    ["bytes=0-", 0, 100],
    ["bytes=99-", 99, 100],
    ["bytes=10-19", 10, 20],
    ["bytes=10-1000", 10, 100],
    ["bytes=-1", 99, 100],
    ["bytes=-1000", 0, 100],
    ["BYTES=5-6", 5, 7],
    ["bytes= 5-6 ", 5, 7],
    ["bytes=0-99999999999999999999999", 0, 100],
  ] as const)
    assert.equal(of(range), { start, end }, range);
  for (const range of ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"])
    assert.is(of(range), "none", range);
  for (const range of [
    "bytes=0-1,3-4",
    "bytes=5-2",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=1",
    "bytes=1-2-3",
    "bytes=+1-2",
    "bytes 1-2",
    "lines=1-2",
    "bytes=1.5-2",
    "",
  ])
    assert.is(of(range), undefined, range);
  assert.is(of("bytes=0-1", {}, 100, "HEAD"), undefined);
  assert.is(of("bytes=0-", {}, 0), "none");
  assert.is(of("bytes=-5", {}, 0), undefined);
});

conditions("a range is for one version only (RFC 9110 13.1.5)", () => {
  const isMeant = (field: string): boolean =>
    rangeOf(request({ range: "bytes=0-1", "if-range": field }), 100, VALIDATORS) !== undefined;
  for (const field of [TAG, ` ${TAG}`, MODIFIED]) assert.ok(isMeant(field), field);
  for (const field of [
    `W/${TAG}`,
    '"x"',
    EARLIER,
    LATER,
    "",
    "*",
    "Tuesday, 01-Dec-26 10:00:00 GMT",
  ])
    assert.not(isMeant(field), field);
});

conditions.run();
