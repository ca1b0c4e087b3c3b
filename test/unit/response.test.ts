// The oracle that all clients in the tests read responses with: it accepts the responses that RFC 9112 allows a server,
// and no others.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type ResponseOptions, fieldOf, fieldsOf, serverResponse } from "../lib/response";

const oracle = suite("response");

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const head = (line: string, ...fields: string[]): string =>
  [`HTTP/1.1 ${line}`, ...fields, "", ""].join("\r\n");

/** Status and body of a response; a number of octets while it is not whole. */
function read(text: string, options?: ResponseOptions): [status: number, body: string] | number {
  const found = serverResponse(bytes(text), 0, options);
  if (typeof found === "number") return found;
  assert.is(found.size, text.length);
  return [found.status, Buffer.from(found.body).toString("latin1")];
}

oracle("reads a body by its length, by its chunks, and to the end", () => {
  assert.equal(read(`${head("200 OK", "Content-Length: 5")}hello`), [200, "hello"]);
  const chunked = head("200 OK", "Transfer-Encoding: chunked");
  assert.equal(read(`${chunked}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n`), [200, "hello"]);
  assert.equal(read(`${head("200 OK")}hello`, { ended: true }), [200, "hello"]);
});

oracle("reads no body after a response to HEAD, 1xx, 204 and 304", () => {
  assert.equal(read(head("200 OK", "Content-Length: 5"), { method: "HEAD" }), [200, ""]);
  assert.equal(read(head("304 Not Modified", "Content-Length: 5")), [304, ""]);
  for (const status of [100, 101, 204]) assert.equal(read(head(`${status} x`)), [status, ""]);
});

oracle("says how many octets a part of a response needs at least, and refuses a cut one", () => {
  for (const [text, lengths] of [
    [`${head("200 OK", "Content-Length: 5")}hello`, "known"],
    [`${head("200 OK", "Transfer-Encoding: chunked")}5\r\nhello\r\n0\r\n\r\n`, "chunks"],
  ] as const) {
    const all = bytes(text);
    const body = text.indexOf("\r\n\r\n") + 4;
    for (let n = 0; n < all.length; n++) {
      const needed = serverResponse(all.subarray(0, n));
      assert.type(needed, "number", `${n} octets`);
      assert.ok((needed as number) > n && (needed as number) <= all.length, `${needed} of ${n}`);
      if (lengths === "known" && n >= body) assert.is(needed, all.length);
      assert.throws(() => serverResponse(all.subarray(0, n), 0, { ended: true }), /cut/);
    }
    const moved = serverResponse(Buffer.concat([bytes("xx"), all, bytes("HTTP")]), 2);
    assert.is((moved as { size: number }).size, all.length);
  }
});

oracle("gives fields as they were spelled, and joins repeated ones", () => {
  const found = serverResponse(bytes(head("204 ", "X-A: 1", "x-a: 2", "B: \xe9")));
  if (typeof found === "number") throw new Error("it is whole");
  assert.equal(found.phrase, "");
  assert.equal(found.fields[0], ["X-A", "1"]);
  assert.is(fieldOf(found, "x-a"), "1, 2");
  assert.is(fieldOf(found, "x-b"), undefined);
  assert.equal(
    [...fieldsOf(found)],
    [
      ["x-a", "1, 2"],
      ["b", "\xe9"],
    ],
  );
});

oracle("refuses octets that no server may send", () => {
  for (const [text, why] of [
    ["HTTP/1.0 200 OK\r\n\r\n", /status line/],
    ["HTTP/1.1 600 x\r\n\r\n", /status line/],
    ["HTTP/1.1 200\r\n\r\n", /status line/],
    [head("200 OK", "A : b"), /not a field/],
    [head("200 OK", "A: b", " folded"), /not a field/],
    [head("200 OK", "A: \x00"), /not a field/],
    [head("200 OK", "A:\nB: c"), /not a field/],
    [head("200 OK", "Content-Length: 1", "Content-Length: 1"), /several lengths/],
    [head("200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"), /several lengths/],
    [head("200 OK", "Content-Length: +1"), /not a length/],
    [head("200 OK", "Transfer-Encoding: gzip"), /not a coding/],
    [head("204 No Content", "Content-Length: 0"), /204 with a length/],
    [head("101 x", "Transfer-Encoding: chunked"), /101 with a length/],
    [`${head("200 OK", "Transfer-Encoding: chunked")}x\r\n`, /not a chunk/],
    [`${head("200 OK", "Transfer-Encoding: chunked")}1;a\r\n`, /not a chunk/],
    [`${head("200 OK", "Transfer-Encoding: chunked")}1\r\nabc`, /has no end/],
  ] as const)
    assert.throws(() => read(text), why, JSON.stringify(text));
});

oracle.run();
