// The parser of event streams, case by case (WHATWG HTML 9.2.6): whole, cut at each byte, and byte by byte.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type ParsedEvent, eventParser } from "../../host/client/parser";

const parser = suite("event parser");

/** The contents of a stream, in order: events as [id, name, data], times to reconnect as numbers. */
type Found = (readonly [string | undefined, string, string | undefined] | number)[];

function found(pieces: readonly Uint8Array[]): Found {
  const all: Found = [];
  const parse = eventParser({
    event: ({ id, name, data }: ParsedEvent) => all.push([id, name, data]),
    retry: (ms) => all.push(ms),
  });
  for (const piece of pieces) parse(piece);
  return all;
}

const data = (text: string): Found[number] => [undefined, "", text];

const CASES: readonly (readonly [title: string, stream: string, wanted: Found])[] = [
  ["one line", "data: a\n\n", [data("a")]],
  ["only the first space is left out", "data:  a\ndata:b\n\n", [data(" a\nb")]],
  [
    "CR, LF and CRLF end lines",
    "data: a\rdata: b\ndata: c\r\n\r\ndata: d\r\rdata: e\n\n",
    [data("a\nb\nc"), data("d"), data("e")],
  ],
  [
    "LF after CR is two lines, CR after LF, too",
    "data: a\n\rdata: b\r\n\ndata: c\n\r",
    [data("a"), data("b"), data("c")],
  ],
  [
    "fields without a colon or a value",
    "data\n\ndata:\n\ndata\ndata\n\n",
    [data(""), data(""), data("\n")],
  ],
  ["comments and unknown fields", ": a\n:\n\ndata: b\n data: c\nDATA: d\nx\n\n:\n\n", [data("b")]],
  [
    "names",
    "event: a\ndata: b\n\ndata: c\n\nevent: d\n\nevent: e\nevent\ndata: f\n\n",
    [[undefined, "a", "b"], data("c"), data("f")],
  ],
  [
    "ids, also without data, and empty ones",
    "id: 1\ndata: a\n\nid: 2\n\ndata: b\nid\n\ndata: c\n\n",
    [["1", "", "a"], ["2", "", undefined], ["", "", "b"], data("c")],
  ],
  ["an id with NUL is ignored", "id: 1\nid: 2\0\ndata: a\0\n\n", [["1", "", "a\0"]]],
  [
    "retry: digits alone",
    "retry: 12\nretry: 1e3\nretry: -5\nretry:\nretry: 7x\nretry:0\n",
    [12, 0],
  ],
  ["a byte order mark at the start", "\ufeffdata: a\n\n", [data("a")]],
  [
    "only one, and only there",
    "\ufeff\ufeffdata: a\n\n\ufeffdata: b\n\n\ndata: \ufeff\n\n",
    [data("\ufeff")],
  ],
  [
    "characters of two to four bytes",
    "event: \u00e9\ndata: \u20ac \u{1f98a}\n\n",
    [[undefined, "\u00e9", "\u20ac \u{1f98a}"]],
  ],
  ["the end drops what has no blank line", "data: a\n\nid: 5\ndata: b\n", [data("a")]],
  [
    "colons within a value, and JSON",
    'data: {"a": 1}\ndata: a:b: c\n\n',
    [data('{"a": 1}\na:b: c')],
  ],
  [
    "a publication of Ringcast, and its control events",
    "retry: 1234\n\nevent: ringcast-hello\nid: k2v9x0aa-00000000001\ndata: {}\n\n:\n\n" +
      "id: k2v9x0aa-00000000002\ndata: x\n\n",
    [1234, ["k2v9x0aa-00000000001", "ringcast-hello", "{}"], ["k2v9x0aa-00000000002", "", "x"]],
  ],
  ["nothing", "", []],
  ["blank lines", "\n\r\n\r\r\n\n", []],
];

for (const [title, stream, wanted] of CASES) {
  parser(title, () => {
    const bytes = new TextEncoder().encode(stream);
    assert.equal(found([bytes]), wanted, "whole");
    for (let at = 0; at <= bytes.length; at++)
      assert.equal(found([bytes.subarray(0, at), bytes.subarray(at)]), wanted, `cut at ${at}`);
    const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
    assert.equal(found(single), wanted, "byte by byte");
    const empty = new Uint8Array(0);
    assert.equal(found(single.flatMap((one) => [one, empty])), wanted, "with empty pieces");
  });
}

parser("bytes that are not UTF-8 are replaced, and end nothing", () => {
  const bytes = Uint8Array.of(0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0xc3, 0x0a, 0x0a);
  assert.equal(found([bytes]), [data("\ufffd\ufffd")]);
});

parser("a line of a MiB in small pieces takes no longer than its length", () => {
  const all: string[] = [];
  const parse = eventParser({
    event: (event) => all.push(event.data ?? ""),
    retry: () => undefined,
  });
  const piece = new TextEncoder().encode("x".repeat(64));
  parse(new TextEncoder().encode("data: "));
  for (let i = 0; i < 16384; i++) parse(piece);
  parse(new TextEncoder().encode("\n\n"));
  assert.is(all[0]?.length, 1048576);
});

parser.run();
