// HTTP/1.1 bodies: Content-Length, the chunked coding with extensions and trailers.

import { type Area, head, refused } from "../lib/case";

const OK = "> 200";
const sized = (length: string, body: string): string =>
  head("POST / HTTP/1.1", "Host: a", `Content-Length: ${length}`) + body;
const chunked = (body: string): string =>
  head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + body;

export const bodies: Area = {
  name: "bodies",
  of: "requests",
  limits: { BodyBytes: 64 },
  cases: [
    [
      "a body has the length it says",
      "RFC 9112 6.2",
      sized("5", "hello"),
      ['POST / 1.1 "hello"', OK],
    ],
    ["a length of zero is no body", "RFC 9112 6.2", sized("0", ""), ["POST / 1.1", OK]],
    [
      "without length and coding there is no body",
      "RFC 9112 6.3",
      head("POST / HTTP/1.1", "Host: a"),
      ["POST / 1.1", OK],
    ],
    [
      "a body may look like a request",
      "RFC 9112 6.3",
      sized("18", "GET / HTTP/1.1\r\n\r\n"),
      ['POST / 1.1 "GET / HTTP/1.1\\r\\n\\r\\n"', OK],
    ],
    [
      "a body as large as the limit",
      "RFC 9110 15.5.14",
      sized("64", "x".repeat(64)),
      ["POST / 1.1 (64)", OK],
    ],
    [
      "a larger one is refused at its head",
      "RFC 9110 15.5.14",
      sized("65", ""),
      refused(413, "LargeRequest"),
    ],
    [
      "chunks are joined",
      "RFC 9112 7.1",
      chunked("4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n"),
      ['POST / 1.1 "Wikipedia"', OK],
    ],
    [
      "the last chunk alone is an empty body",
      "RFC 9112 7.1",
      chunked("0\r\n\r\n"),
      ["POST / 1.1", OK],
    ],
    [
      "a chunk-size is hexadecimal in either case",
      "RFC 9112 7.1",
      chunked(`a\r\n${"x".repeat(10)}\r\nB\r\n${"y".repeat(11)}\r\n0\r\n\r\n`),
      [`POST / 1.1 "${"x".repeat(10)}${"y".repeat(11)}"`, OK],
    ],
    [
      "a chunk-size may begin with zeros, the last one be many",
      "RFC 9112 7.1",
      chunked("0001\r\na\r\n0000\r\n\r\n"),
      ['POST / 1.1 "a"', OK],
    ],
    [
      "chunk data may hold CRLF and what looks like chunks",
      "RFC 9112 7.1",
      chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
      ['POST / 1.1 "0\\r\\n\\r\\n"', OK],
    ],
    [
      "extensions are ignored",
      "RFC 9112 7.1.1",
      chunked('1;a;b=c;d="e\\"; f"\r\nx\r\n0;last\r\n\r\n'),
      ['POST / 1.1 "x"', OK],
    ],
    [
      "bad white space in an extension is ignored",
      "RFC 9112 7.1.1",
      chunked("1 ; a = b\r\nx\r\n0\r\n\r\n"),
      ['POST / 1.1 "x"', OK],
    ],
    [
      "trailers are read and dropped",
      "RFC 9112 7.1.2, RFC 9110 6.5.1",
      chunked("1\r\nx\r\n0\r\nExpires: never\r\nContent-Length: 9\r\n\r\n"),
      ['POST / 1.1 "x"', OK],
    ],
    [
      "codings are named without case, empty elements ignored",
      "RFC 9112 7, RFC 9110 5.6.1",
      `${head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: , CHUNKED")}0\r\n\r\n`,
      ["POST / 1.1", OK],
    ],
    [
      "chunks over the limit are refused",
      "RFC 9110 15.5.14",
      chunked("41\r\n"),
      refused(413, "LargeRequest"),
    ],
    ...[
      ["no size", "\r\nx\r\n"],
      ["a sign", "+1\r\nx\r\n"],
      ["a prefix", "0x1\r\nx\r\n"],
      ["a size that is no number", "g\r\nx\r\n"],
      ["a size over 2^64", "10000000000000001\r\nx\r\n"],
      ["a bare LF after a size", "1\nx\r\n"],
      ["a bare LF after data", "1\r\nx\n0\r\n\r\n"],
      ["more data than the size", "1\r\nxy\r\n"],
      ["an open quote in an extension", '1;a="b\r\nx\r\n'],
      ["a trailer that is folded", "0\r\nX: y\r\n z\r\n\r\n"],
      ["a trailer without a colon", "0\r\nX\r\n\r\n"],
    ].map(
      ([name = "", body = ""]) =>
        [`${name} is refused`, "RFC 9112 7.1", chunked(body), refused(400, "BadChunk")] as const,
    ),
  ],
};
