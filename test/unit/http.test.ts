// HTTP/1.1 requests (RFC 9110, 9112), on the engine itself. Each case runs whole, cut in two at each point and byte by
// byte, and must leave the same log: the events, then the statuses sent.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Answer, Control, Param, Trait } from "../../assembly/abi";
import { Drive, type Wire } from "../lib/drive";
import { upgradeFields } from "../lib/handshake";
import { fieldOf, responsesOf } from "../lib/response";
import { describeSplit, splits } from "../lib/split";

const http = suite("http");

/** Small limits, so that a short input reaches them. */
const LIMITS = { HeadBytes: 512, Headers: 8, TargetBytes: 64, BodyBytes: 64 };

interface Case {
  readonly name: string;
  readonly input: string;
  /** The expected log. */
  readonly log: readonly string[];
  /** The peer ends its side after the input. */
  readonly fin?: boolean;
  /** Indices of the answers to HEAD. */
  readonly heads?: readonly number[];
}

/** A head: its lines, then the empty one. */
const head = (...lines: string[]): string => `${lines.join("\r\n")}\r\n\r\n`;
/** A GET with fields beside Host. */
const get = (...fields: string[]): string => head("GET / HTTP/1.1", "Host: a", ...fields);
const post = (...fields: string[]): string => head("POST / HTTP/1.1", "Host: a", ...fields);
const chunked = (body: string): string => post("Transfer-Encoding: chunked") + body;

const taken = (line: string): string[] => [line, "= 200"];
const last = (line: string): string[] => [`${line} last`, "end Ok", "= 200"];
const refused = (status: number, reason: string): string[] => [`end ${reason}`, `= ${status}`];
const bad = refused(400, "BadRequest");
const badChunk = refused(400, "BadChunk");

function statuses(wire: Wire, heads: readonly number[]): string {
  const found = responsesOf(wire.text, heads).map((reply) => reply.status);
  return `= ${found.join(" ")}`.trimEnd();
}

function observe(drive: Drive, pieces: readonly Uint8Array[], one: Case): string[] {
  const wire = drive.connect();
  for (const piece of pieces) wire.send(piece);
  if (one.fin) wire.finish();
  const log = [...wire.log, statuses(wire, one.heads ?? [])];
  if (!wire.dead) wire.lose();
  return log;
}

function define(group: string, cases: readonly Case[], params: object = {}): void {
  for (const one of cases) {
    http(`${group}: ${one.name}`, () => {
      const drive = new Drive({ ...LIMITS, StreamBytes: LIMITS.BodyBytes, ...params });
      // Bodies that are collected, streamed, or collected when the host was asked.
      for (const decide of [undefined, () => true, () => false]) {
        drive.streamed(decide);
        const how = decide ? (decide() ? ", streamed" : ", collected") : "";
        for (const pieces of splits(Buffer.from(one.input, "latin1"))) {
          assert.equal(observe(drive, pieces, one), one.log, describeSplit(pieces) + how);
        }
      }
      drive.end();
    });
  }
}

// ---- the request line -------------------------------------------------------------------------

const METHODS = [
  ..."GET HEAD POST PUT DELETE OPTIONS PATCH TRACE ACL BASELINE-CONTROL BIND CHECKIN".split(" "),
  ..."CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF".split(" "),
  ..."MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH QUERY REBIND REPORT SEARCH UNBIND".split(" "),
  ..."UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL".split(" "),
  // In use, and not registered.
  ..."M-SEARCH NOTIFY PURGE SOURCE SUBSCRIBE UNSUBSCRIBE".split(" "),
];

define(
  "method",
  METHODS.map((method) => ({
    name: `${method} is taken`,
    input: head(`${method} / HTTP/1.1`, "Host: a"),
    log: taken(`${method} / 1.1`),
    heads: method === "HEAD" ? [0] : [],
  })),
);

http("method: the table holds all that are taken and CONNECT, each once", () => {
  const { engine } = new Drive();
  const found: string[] = [];
  for (let i = 0; ; i++) {
    const name = engine.methodName(i);
    if (name === undefined) break;
    found.push(name);
  }
  assert.is(found.length, 45);
  assert.equal([...found].sort(), [...METHODS, "CONNECT"].sort());
});

define("method", [
  {
    name: "CONNECT is not implemented",
    input: head("CONNECT a:80 HTTP/1.1", "Host: a:80"),
    log: refused(501, "UnknownMethod"),
  },
  {
    name: "an unknown one is not implemented",
    input: head("BREW / HTTP/1.1", "Host: a"),
    log: refused(501, "UnknownMethod"),
  },
  {
    name: "case matters",
    input: head("get / HTTP/1.1", "Host: a"),
    log: refused(501, "UnknownMethod"),
  },
  {
    name: "a prefix of one is not it",
    input: head("GE / HTTP/1.1", "Host: a"),
    log: refused(501, "UnknownMethod"),
  },
  {
    name: "one with more letters is not it",
    input: head("GETS / HTTP/1.1", "Host: a"),
    log: refused(501, "UnknownMethod"),
  },
  {
    name: "a long one is not implemented, whatever the cut",
    input: head(`${"X".repeat(150)} / HTTP/1.1`, "Host: a"),
    log: refused(501, "UnknownMethod"),
  },
  {
    name: "an octet no token holds is refused",
    input: head("G@T / HTTP/1.1", "Host: a"),
    log: bad,
  },
  { name: "an empty one is refused", input: head(" / HTTP/1.1", "Host: a"), log: bad },
  { name: "obs-text is refused", input: head("G\xc9T / HTTP/1.1", "Host: a"), log: bad },
]);

const target = (text: string, method = "GET"): string =>
  head(`${method} ${text} HTTP/1.1`, "Host: a");

define("target", [
  { name: "origin-form is taken", input: target("/a/b?c=d&e"), log: taken("GET /a/b?c=d&e 1.1") },
  { name: "absolute-form is taken", input: target("http://b/c"), log: taken("GET http://b/c 1.1") },
  {
    name: "absolute-form with a port, a query and no path is taken",
    input: target("http://b:80?q"),
    log: taken("GET http://b:80?q 1.1"),
  },
  {
    name: "absolute-form with an IPv6 address is taken",
    input: target("http://[::1]:8080/"),
    log: taken("GET http://[::1]:8080/ 1.1"),
  },
  {
    name: "the scheme's case is free",
    input: target("HTTP://b/"),
    log: taken("GET HTTP://b/ 1.1"),
  },
  ...["https://b/", "ws://b/", "WSS://b/"].map((text) => ({
    name: `${text} is taken`,
    input: target(text),
    log: taken(`GET ${text} 1.1`),
  })),
  ...["ftp://b/", "h://b/", "httpx://b/", "http:b/", "wsss://b/"].map((text) => ({
    name: `${text} is refused`,
    input: target(text),
    log: bad,
  })),
  { name: "absolute-form without a host is refused", input: target("http:///c"), log: bad },
  { name: "absolute-form with userinfo is refused", input: target("http://u@b/"), log: bad },
  { name: "absolute-form with a bad port is refused", input: target("http://b:x/"), log: bad },
  {
    name: "asterisk-form is for OPTIONS",
    input: target("*", "OPTIONS"),
    log: taken("OPTIONS * 1.1"),
  },
  { name: "asterisk-form is refused for GET", input: target("*"), log: bad },
  { name: "more than an asterisk is refused", input: target("*/", "OPTIONS"), log: bad },
  { name: "authority-form is refused for GET", input: target("a:80"), log: bad },
  { name: "a relative one is refused", input: target("a/b"), log: bad },
  { name: "an empty one is refused", input: head("GET  HTTP/1.1", "Host: a"), log: bad },
  { name: "none is refused", input: head("GET HTTP/1.1", "Host: a"), log: bad },
  { name: "two spaces before it are refused", input: target(" /"), log: bad },
  { name: "a space within it is refused", input: target("/a b"), log: bad },
  { name: "HTAB within it is refused", input: target("/a\tb"), log: bad },
  { name: "DEL within it is refused", input: target("/a\x7fb"), log: bad },
  { name: "obs-text within it is refused", input: target("/\xe4"), log: bad },
  { name: "NUL within it is refused", input: target("/\0"), log: bad },
  {
    name: "64 octets are taken",
    input: target(`/${"x".repeat(63)}`),
    log: taken("GET (64) 1.1"),
  },
  {
    name: "65 octets are too long",
    input: target(`/${"x".repeat(64)}`),
    log: refused(414, "PathTooLong"),
  },
  {
    name: "one without an end is too long",
    input: `GET /${"x".repeat(200)}`,
    log: refused(414, "PathTooLong"),
  },
]);

const version = (text: string): string => head(`GET / ${text}`, "Host: a");

define("version", [
  { name: "1.1 persists", input: version("HTTP/1.1"), log: taken("GET / 1.1") },
  { name: "1.0 does not", input: version("HTTP/1.0"), log: last("GET / 1.0") },
  { name: "1.2 is read as 1.1", input: version("HTTP/1.2"), log: taken("GET / 1.1") },
  { name: "1.9 is read as 1.1", input: version("HTTP/1.9"), log: taken("GET / 1.1") },
  {
    name: "2.0 is not supported",
    input: version("HTTP/2.0"),
    log: refused(505, "UnsupportedVersion"),
  },
  {
    name: "0.9 is not supported",
    input: version("HTTP/0.9"),
    log: refused(505, "UnsupportedVersion"),
  },
  {
    name: "HTTP/2's preface is not supported",
    input: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    log: refused(505, "UnsupportedVersion"),
  },
  { name: "none (HTTP/0.9) is refused", input: "GET /\r\n", log: bad },
  { name: "lower case is refused", input: version("http/1.1"), log: bad },
  { name: "no minor digit is refused", input: version("HTTP/1"), log: bad },
  { name: "a dot without a digit is refused", input: version("HTTP/1."), log: bad },
  { name: "two minor digits are refused", input: version("HTTP/1.10"), log: bad },
  { name: "two major digits are refused", input: version("HTTP/01.1"), log: bad },
  { name: "letters are refused", input: version("HTTP/a.b"), log: bad },
  { name: "another protocol is refused", input: version("HTCPCP/1.0"), log: bad },
  { name: "a space after it is refused", input: version("HTTP/1.1 "), log: bad },
  { name: "a comma for the dot is refused", input: version("HTTP/1,1"), log: bad },
  { name: "no slash is refused", input: version("HTTP1.1"), log: bad },
]);

// ---- header fields ----------------------------------------------------------------------------

define("field", [
  { name: "obs-fold with SP is refused", input: get("X: 1", " 2"), log: bad },
  { name: "obs-fold with HTAB is refused", input: get("X: 1", "\t2"), log: bad },
  {
    name: "a line of white space before the fields is refused",
    input: head("GET / HTTP/1.1", " Host: a"),
    log: bad,
  },
  { name: "an empty name is refused", input: get(": 1"), log: bad },
  { name: "a space before the colon is refused", input: get("X : 1"), log: bad },
  { name: "HTAB before the colon is refused", input: get("X\t: 1"), log: bad },
  { name: "a line without a colon is refused", input: get("X"), log: bad },
  { name: "a separator in the name is refused", input: get("X(: 1"), log: bad },
  { name: "obs-text in the name is refused", input: get("X\xe4: 1"), log: bad },
  {
    name: "obs-text in the value is taken",
    input: get("X: \xe4\xff\x80"),
    log: taken("GET / 1.1"),
  },
  { name: "an empty value is taken", input: get("X:", "Y: "), log: taken("GET / 1.1") },
  { name: "NUL in the value is refused", input: get("X: a\0b"), log: bad },
  { name: "DEL in the value is refused", input: get("X: a\x7fb"), log: bad },
  { name: "a bare CR in the value is refused", input: get("X: a\rb"), log: bad },
  { name: "a bare LF ends nothing", input: get("X: a\nY: b"), log: bad },
  {
    name: "a bare LF after the request line is refused",
    input: "GET / HTTP/1.1\nHost: a\n\n",
    log: bad,
  },
  { name: "CR CR LF is refused", input: get("X: a\r"), log: bad },
  { name: "LF CR is refused", input: get("X: a\n\r"), log: bad },
  {
    name: "a bare LF for the empty line is refused",
    input: "GET / HTTP/1.1\r\nHost: a\r\n\n",
    log: bad,
  },
  {
    name: "a bare CR for the empty line is refused",
    input: "GET / HTTP/1.1\r\nHost: a\r\n\rX",
    log: bad,
  },
  {
    name: "as many as the limit are taken",
    input: get(..."bcdefgh".split("").map((name) => `${name}: 1`)),
    log: taken("GET / 1.1"),
  },
  {
    name: "one more than the limit are too many",
    input: get(..."bcdefghi".split("").map((name) => `${name}: 1`)),
    log: refused(431, "TooManyHeaders"),
  },
  {
    name: "a head of the limit's size is taken",
    input: get(`X: ${"x".repeat(512 - 16 - 9 - 3 - 4)}`),
    log: taken("GET / 1.1"),
  },
  {
    name: "a head one octet larger is too large",
    input: get(`X: ${"x".repeat(512 - 16 - 9 - 3 - 4 + 1)}`),
    log: refused(431, "LargeHead"),
  },
  {
    name: "a field without an end is too large",
    input: `GET / HTTP/1.1\r\nX: ${"x".repeat(600)}`,
    log: refused(431, "LargeHead"),
  },
]);

http("field: names and values are handed out as they came, blanks trimmed", () => {
  const drive = new Drive();
  const wire = drive.connect();
  wire.send(get("X-Y: \t a\tb c \t", "x-Z:", "E:\t", "U:d\xe4", "!#$%&'*+-.^_`|~0z: ,"));
  assert.equal(wire.asked[0]?.fields, [
    ["Host", "a"],
    ["X-Y", "a\tb c"],
    ["x-Z", ""],
    ["E", ""],
    ["U", "d\xe4"],
    ["!#$%&'*+-.^_`|~0z", ","],
  ]);
  drive.end();
});

http("field: each octet is allowed where the grammar says", () => {
  const drive = new Drive();
  const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]$/;
  for (let c = 0; c < 256; c++) {
    const octet = String.fromCharCode(c);
    // Behind 0 … 17 other octets, so that every lane of a vector sees it.
    for (const pad of [0, 1, 7, 14, 15, 16, 17]) {
      const name = drive.connect().send(get(`X${"y".repeat(pad)}${octet}z: 1`));
      const allowed = token.test(octet) || octet === ":";
      assert.is(name.asked.length === 1, allowed, `octet ${c} in a name, pad ${pad}`);
      const value = drive.connect().send(get(`X: ${"y".repeat(pad)}${octet}z`));
      const isText = c === 9 || (c >= 32 && c !== 127);
      assert.is(value.asked.length === 1, isText, `octet ${c} in a value, pad ${pad}`);
      name.lose();
      value.lose();
    }
  }
  drive.end();
});

const host = (...values: string[]): string =>
  head("GET / HTTP/1.1", ...values.map((value) => `Host: ${value}`));
const badHost = refused(400, "BadHost");

define("Host", [
  { name: "none is refused in 1.1", input: host(), log: refused(400, "MissingHost") },
  { name: "none is allowed in 1.0", input: head("GET / HTTP/1.0"), log: last("GET / 1.0") },
  { name: "two are refused", input: host("a", "a"), log: badHost },
  {
    name: "two are refused in 1.0",
    input: head("GET / HTTP/1.0", "Host: a", "Host: b"),
    log: badHost,
  },
  { name: "an empty one is refused", input: host(""), log: badHost },
  { name: "a list is refused", input: host("a, b"), log: badHost },
  { name: "userinfo is refused", input: host("u@a"), log: badHost },
  { name: "a path is refused", input: host("a/b"), log: badHost },
  { name: "a scheme is refused", input: host("http://a"), log: badHost },
  { name: "a space is refused", input: host("a b"), log: badHost },
  { name: "a port alone is refused", input: host(":80"), log: badHost },
  { name: "a port of letters is refused", input: host("a:b"), log: badHost },
  { name: "a port over 65535 is refused", input: host("a:65536"), log: badHost },
  { name: "a signed port is refused", input: host("a:-1"), log: badHost },
  { name: "two ports are refused", input: host("a:1:2"), log: badHost },
  { name: "an open bracket is refused", input: host("[::1"), log: badHost },
  { name: "brackets without an address are refused", input: host("[zzz]"), log: badHost },
  { name: "empty brackets are refused", input: host("[]"), log: badHost },
  { name: "text after brackets is refused", input: host("[::1]a"), log: badHost },
  { name: "half an escape is refused", input: host("a%4"), log: badHost },
  { name: "an escape of letters is refused", input: host("a%zz"), log: badHost },
  { name: "obs-text is refused", input: host("\xe4"), log: badHost },
  ...["a", "a.b-c_d~e", "a:80", "a:", "a:65535", "127.0.0.1", "[::1]", "[fe80::1]:443"].map(
    (value) => ({ name: `${value} is taken`, input: host(value), log: taken("GET / 1.1") }),
  ),
  ...[
    ..."1:2:3:4:5:6:7:8 :: 1:: ::1 1::8 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 abCD::EF01".split(" "),
    ..."1:2:3:4:5:6:1.2.3.4 ::1.2.3.4 ::ffff:255.255.255.0 1::6:7.8.9.10".split(" "),
  ].map((value) => ({
    name: `[${value}] is an address`,
    input: host(`[${value}]`),
    log: taken("GET / 1.1"),
  })),
  ...[
    ..."1:2: :1:2 : ::: ::::: 1:::2 1::2::3 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9".split(" "),
    ..."1:2:3:4:5:6:7::8 ::1:2:3:4:5:6:7:8 12345::1 ::g 1.2.3.4 1:2:3:4:5:6:7:1.2.3.4".split(" "),
    ..."::1.2.3 ::1.2.3.4.5 ::01.2.3.4 ::256.1.1.1 ::1.2.3.4:5 ::1.2.3. ::.1.2.3 ::1..2.3".split(
      " ",
    ),
    ..."1:2:3:4:5:6:7:8: fe80::1%25a v1.x ::1000.1.1.1".split(" "),
  ].map((value) => ({
    name: `[${value}] is none`,
    input: host(`[${value}]`),
    log: badHost,
  })),
  {
    name: "escapes and sub-delims are taken",
    input: host("a%4Fb!$&'()*+;="),
    log: taken("GET / 1.1"),
  },
]);

// ---- framing ----------------------------------------------------------------------------------

const length = (value: string, body = ""): string => post(`Content-Length: ${value}`) + body;
const badLength = refused(400, "BadContentLength");

define("Content-Length", [
  { name: "a body of it is taken", input: length("5", "hello"), log: taken('POST / 1.1 "hello"') },
  { name: "zero is no body", input: length("0"), log: taken("POST / 1.1") },
  {
    name: "leading zeros are taken",
    input: length("0005", "hello"),
    log: taken('POST / 1.1 "hello"'),
  },
  { name: "none is no body", input: post(), log: taken("POST / 1.1") },
  {
    name: "a GET may have a body",
    input: `${get("Content-Length: 2")}hi`,
    log: taken('GET / 1.1 "hi"'),
  },
  {
    name: "the name's case is free",
    input: `${get("cOnTeNt-LeNgTh: 2")}hi`,
    log: taken('GET / 1.1 "hi"'),
  },
  {
    name: "a body may hold any octet",
    input: length("6", "\0\r\n\r\n\xff"),
    log: taken('POST / 1.1 "\\u0000\\r\\n\\r\\nÿ"'),
  },
  ...["", "-1", "+5", "5,5", "5, 5", "0x5", "5 5", "5.0", "1e1", "a", "5;", '"5"'].map((value) => ({
    name: `"${value}" is refused`,
    input: length(value, "hello"),
    log: badLength,
  })),
  {
    name: "two that differ are refused",
    input: `${post("Content-Length: 5", "Content-Length: 6")}hello!`,
    log: badLength,
  },
  {
    name: "two that agree are refused",
    input: `${post("Content-Length: 5", "Content-Length: 5")}hello`,
    log: badLength,
  },
  {
    name: "over 2^53 is too large",
    input: length("9007199254740992"),
    log: refused(413, "LargeRequest"),
  },
  {
    name: "over 2^64 is too large",
    input: length("18446744073709551617", "x"),
    log: refused(413, "LargeRequest"),
  },
  {
    name: "over 2^64 and a letter is refused",
    input: length("18446744073709551617x"),
    log: badLength,
  },
  {
    name: "the limit is taken",
    input: length("64", "x".repeat(64)),
    log: taken("POST / 1.1 (64)"),
  },
  { name: "over the limit is too large", input: length("65"), log: refused(413, "LargeRequest") },
  {
    name: "2^32 and a bit is too large",
    input: length("4294967301", "hello"),
    log: refused(413, "LargeRequest"),
  },
]);

const coding = (...values: string[]): string =>
  `${post(...values.map((value) => `Transfer-Encoding: ${value}`))}0\r\n\r\n`;
const badCoding = refused(400, "BadTransferEncoding");
const unknownCoding = refused(501, "UnsupportedTransferEncoding");

define("Transfer-Encoding", [
  { name: "chunked is taken", input: coding("chunked"), log: taken("POST / 1.1") },
  { name: "its case is free", input: coding("ChUnKeD"), log: taken("POST / 1.1") },
  {
    name: "empty list elements are ignored",
    input: coding(", chunked ,"),
    log: taken("POST / 1.1"),
  },
  { name: "chunked twice is refused", input: coding("chunked, chunked"), log: badCoding },
  { name: "chunked in two fields is refused", input: coding("chunked", "chunked"), log: badCoding },
  { name: "chunked that is not last is refused", input: coding("chunked, gzip"), log: badCoding },
  { name: "gzip is not implemented", input: coding("gzip, chunked"), log: unknownCoding },
  { name: "gzip alone leaves the length open", input: coding("gzip"), log: badCoding },
  {
    name: "gzip in a field before is not implemented",
    input: coding("gzip", "chunked"),
    log: unknownCoding,
  },
  { name: "identity is not chunked", input: coding("identity"), log: badCoding },
  { name: "a longer name is not chunked", input: coding("xchunked"), log: badCoding },
  { name: "an empty value is refused", input: coding(""), log: badCoding },
  { name: "a list of nothing is refused", input: coding(", ,"), log: badCoding },
  { name: "parameters are refused", input: coding("chunked;a=b"), log: badCoding },
  ...["gzip;q=1, chunked", 'gzip ; q = "a,b\\"" ;r=2 , chunked', "gzip;q=1,,chunked"].map(
    (value) => ({
      name: `${value} is not implemented`,
      input: coding(value),
      log: unknownCoding,
    }),
  ),
  ...[
    "gzip;, chunked",
    "gzip;q, chunked",
    "gzip;q=, chunked",
    'gzip;q="a, chunked',
    ";q=1, chunked",
  ].map((value) => ({ name: `${value} is malformed`, input: coding(value), log: badCoding })),
  { name: "a quoted name is refused", input: coding('"chunked"'), log: badCoding },
  { name: "two words are refused", input: coding("chunked gzip"), log: badCoding },
  { name: "a control octet is refused", input: coding("\x0bchunked"), log: bad },
  {
    name: "Content-Length before it is refused",
    input: `${post("Content-Length: 5", "Transfer-Encoding: chunked")}0\r\n\r\n`,
    log: badCoding,
  },
  {
    name: "Content-Length after it is refused",
    input: `${post("Transfer-Encoding: chunked", "Content-Length: 5")}0\r\n\r\n`,
    log: badCoding,
  },
  {
    name: "it is refused in 1.0",
    input: `${head("POST / HTTP/1.0", "Transfer-Encoding: chunked")}0\r\n\r\n`,
    log: badCoding,
  },
  {
    name: "the name with a space before the colon is refused",
    input: `${post("Transfer-Encoding : chunked")}0\r\n\r\n`,
    log: bad,
  },
]);

define("chunked", [
  {
    name: "chunks are joined",
    input: chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    log: taken('POST / 1.1 "abcde"'),
  },
  { name: "no chunk is no body", input: chunked("0\r\n\r\n"), log: taken("POST / 1.1") },
  {
    name: "sizes are hexadecimal, in either case",
    input: chunked(`A\r\n${"x".repeat(10)}\r\nb\r\n${"y".repeat(11)}\r\n0\r\n\r\n`),
    log: taken(`POST / 1.1 "${"x".repeat(10)}${"y".repeat(11)}"`),
  },
  {
    name: "leading zeros are taken",
    input: chunked("0003\r\nabc\r\n000\r\n\r\n"),
    log: taken('POST / 1.1 "abc"'),
  },
  {
    name: "chunks may hold any octet",
    input: chunked("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    log: taken('POST / 1.1 "\\r\\n0\\r\\n\\r\\n"'),
  },
  {
    name: "an extension is ignored",
    input: chunked("3;a\r\nabc\r\n0;b=c\r\n\r\n"),
    log: taken('POST / 1.1 "abc"'),
  },
  {
    name: "a quoted extension is ignored",
    input: chunked('3;a="b;\\"c\xe4"\r\nabc\r\n0\r\n\r\n'),
    log: taken('POST / 1.1 "abc"'),
  },
  {
    name: "blanks around an extension's parts are ignored",
    input: chunked("3 \t; a = b ;\tc\r\nabc\r\n0\r\n\r\n"),
    log: taken('POST / 1.1 "abc"'),
  },
  {
    name: "an extension without a name is refused",
    input: chunked("3;\r\nabc\r\n0\r\n\r\n"),
    log: badChunk,
  },
  {
    name: "an extension without a value is refused",
    input: chunked("3;a=\r\nabc\r\n0\r\n\r\n"),
    log: badChunk,
  },
  { name: "an open quote is refused", input: chunked('3;a="b\r\nabc\r\n0\r\n\r\n'), log: badChunk },
  {
    name: "a quote that ends in a backslash is refused",
    input: chunked('3;a="b\\\r\nabc\r\n0\r\n\r\n'),
    log: badChunk,
  },
  {
    name: "text after a quote is refused",
    input: chunked('3;a="b"c\r\nabc\r\n0\r\n\r\n'),
    log: badChunk,
  },
  {
    name: "a bare LF in an extension is refused",
    input: chunked("3;a\nabc\r\n0\r\n\r\n"),
    log: badChunk,
  },
  {
    name: "a bare CR in an extension is refused",
    input: chunked("3;a\rb\r\nabc\r\n0\r\n\r\n"),
    log: badChunk,
  },
  {
    name: "trailers are dropped",
    input: chunked("1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n"),
    log: taken('POST / 1.1 "a"'),
  },
  {
    name: "a trailer that frames is dropped",
    input: chunked("0\r\nContent-Length: 5\r\n\r\n"),
    log: taken("POST / 1.1"),
  },
  { name: "a trailer without a colon is refused", input: chunked("0\r\nX\r\n\r\n"), log: badChunk },
  { name: "a folded trailer is refused", input: chunked("0\r\nX: y\r\n z\r\n\r\n"), log: badChunk },
  {
    name: "a space before a trailer's colon is refused",
    input: chunked("0\r\nX : y\r\n\r\n"),
    log: badChunk,
  },
  { name: "NUL in a trailer is refused", input: chunked("0\r\nX: \0\r\n\r\n"), log: badChunk },
  {
    name: "trailers over the limit are too large",
    input: chunked(`0\r\nX: ${"x".repeat(600)}`),
    log: refused(431, "LargeHead"),
  },
  ...["", " 3", "x", "-3", "+3", "0x3", "3 3", "3 ", "g", '"3"', "3,"].map((size) => ({
    name: `the size "${size}" is refused`,
    input: chunked(`${size}\r\nabc\r\n0\r\n\r\n`),
    log: badChunk,
  })),
  {
    name: "a size over 2^32 is refused",
    input: chunked("100000003\r\nabc\r\n0\r\n\r\n"),
    log: refused(413, "LargeRequest"),
  },
  {
    name: "a size over 2^64 is refused",
    input: chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"),
    log: badChunk,
  },
  { name: "a size with LF alone is refused", input: chunked("3\nabc\r\n0\r\n\r\n"), log: badChunk },
  {
    name: "a chunk that is too long is refused",
    input: chunked("2\r\nabc\r\n0\r\n\r\n"),
    log: badChunk,
  },
  {
    name: "a chunk that ends in LF alone is refused",
    input: chunked("3\r\nabc\n0\r\n\r\n"),
    log: badChunk,
  },
  {
    name: "a chunk that ends in CR alone is refused",
    input: chunked("3\r\nabc\r0\r\n\r\n"),
    log: badChunk,
  },
  {
    name: "the limit is taken",
    input: chunked(`20\r\n${"x".repeat(32)}\r\n20\r\n${"y".repeat(32)}\r\n0\r\n\r\n`),
    log: taken("POST / 1.1 (64)"),
  },
  {
    name: "a chunk over the limit is too large",
    input: chunked("41\r\n"),
    log: refused(413, "LargeRequest"),
  },
  {
    name: "chunks over the limit together are too large",
    input: chunked(`40\r\n${"x".repeat(64)}\r\n1\r\n`),
    log: refused(413, "LargeRequest"),
  },
]);

http("HEAD: a refusal has no body once the method is there", () => {
  const drive = new Drive(LIMITS);
  for (const text of [
    head("HEAD / HTTP/1.1"),
    head("HEAD / HTTP/3.0", "Host: a"),
    "HEAD /\0",
    "HEAD a",
    `HEAD /${"x".repeat(100)} HTTP/1.1\r\n`,
    `\r\nHEAD /${"x".repeat(300)}`,
    head("HEAD / HTTP/1.1", "Host: a", "Host: b"),
  ]) {
    for (const pieces of splits(Buffer.from(text, "latin1"))) {
      const wire = drive.connect();
      for (const piece of pieces) wire.send(piece);
      if (!wire.dead && wire.log.length === 0) drive.after(20000);
      assert.match(wire.text, /^HTTP\/1\.1 [45][\s\S]*\r\n\r\n$/, describeSplit(pieces));
      assert.is(responsesOf(wire.text, [0]).length, 1, describeSplit(pieces));
      if (!wire.dead) wire.lose();
    }
  }
  for (const text of ["HEAD\0", "HEA / HTTP/1.1\r\n", "HEADS / HTTP/1.1\r\n"]) {
    const wire = drive.connect().send(text);
    assert.match(wire.text, /\r\n\r\n./, JSON.stringify(text));
    wire.lose();
  }
  drive.end();
});

http("HEAD: the request before does not count", () => {
  const drive = new Drive(LIMITS);
  const wire = drive.connect().send(target("/", "HEAD"), "\0");
  assert.is(responsesOf(wire.text, [0])[1]?.body, "Bad Request\n");
  drive.end();
});

http("chunked: a size line over 1024 octets is refused", () => {
  const drive = new Drive();
  const wire = drive.connect().send(chunked(`1;${"a".repeat(2000)}`));
  assert.equal(wire.log, ["end BadChunk"]);
  drive.end();
});

http("chunked: a body of the limit's size may come in chunks of one octet", () => {
  const drive = new Drive({ BodyBytes: 16384, ReceivePoolBytes: 65536 });
  const wire = drive.connect().send(chunked("1\r\nx\r\n".repeat(16384)), "0\r\n\r\n");
  assert.equal(wire.log, ["POST / 1.1 (16384)"]);
  drive.end();
});

// ---- persistence, pipelining ------------------------------------------------------------------

const one = (minor: number, connection: string): string =>
  connection === ""
    ? head(`GET / HTTP/1.${minor}`, "Host: a")
    : head(`GET / HTTP/1.${minor}`, "Host: a", `Connection: ${connection}`);

define("Connection", [
  { name: "1.1 persists", input: one(1, ""), log: taken("GET / 1.1") },
  { name: "1.1 with close does not", input: one(1, "close"), log: last("GET / 1.1") },
  { name: "1.1 with keep-alive persists", input: one(1, "keep-alive"), log: taken("GET / 1.1") },
  { name: "1.1 with both does not", input: one(1, "keep-alive, close"), log: last("GET / 1.1") },
  { name: "1.1 with another option persists", input: one(1, "X"), log: taken("GET / 1.1") },
  { name: "1.0 does not persist", input: one(0, ""), log: last("GET / 1.0") },
  { name: "1.0 with keep-alive persists", input: one(0, "keep-alive"), log: taken("GET / 1.0") },
  { name: "1.0 with close does not", input: one(0, "close"), log: last("GET / 1.0") },
  { name: "1.0 with both does not", input: one(0, "close, keep-alive"), log: last("GET / 1.0") },
  { name: "case is free", input: one(0, "Keep-Alive"), log: taken("GET / 1.0") },
  { name: "a list is read", input: one(1, "x,, \tClOsE ,y"), log: last("GET / 1.1") },
  {
    name: "a part of a word is no option",
    input: one(1, "closed, xclose"),
    log: taken("GET / 1.1"),
  },
  {
    name: "several fields count together",
    input: get("Connection: x", "Connection: close"),
    log: last("GET / 1.1"),
  },
]);

http("Connection: the response says whether it is kept", () => {
  const said = (request: string): (string | undefined)[] => {
    const drive = new Drive();
    const wire = drive.connect().send(request);
    return responsesOf(wire.text).map((reply) => fieldOf(reply, "connection"));
  };
  assert.equal(said(one(1, "")), ["keep-alive"]);
  assert.equal(said(one(1, "close")), ["close"]);
  assert.equal(said(one(0, "")), ["close"]);
  assert.equal(said(one(0, "keep-alive")), ["keep-alive"]);
});

http("Keep-Alive: answers that persist say for how long, in whole seconds", () => {
  const said = (KeepAliveTimeout: number, request: string): (string | undefined)[] => {
    const wire = new Drive({ KeepAliveTimeout }).connect().send(request);
    return responsesOf(wire.text).flatMap((reply) => [
      fieldOf(reply, "keep-alive"),
      fieldOf(reply, "connection"),
    ]);
  };
  assert.equal(said(5000, one(1, "")), ["timeout=5", "keep-alive"]);
  assert.equal(said(71999, one(1, "")), ["timeout=71", "keep-alive"]);
  assert.equal(said(5000, one(0, "keep-alive")), ["timeout=5", "keep-alive"]);
  assert.equal(said(5000, one(1, "close")), [undefined, "close"]);
  assert.equal(said(5000, one(0, "")), [undefined, "close"]);
  assert.equal(said(999, one(1, "")), [undefined, undefined]);
  assert.equal(said(999, one(0, "keep-alive")), [undefined, "keep-alive"]);
  // The announced value follows the option.
  const drive = new Drive();
  const wire = drive.connect().send(one(1, ""));
  drive.engine.configure(Param.KeepAliveTimeout, 9000);
  wire.send(one(1, ""));
  const all = responsesOf(wire.text).map((reply) => fieldOf(reply, "keep-alive"));
  assert.equal(all, ["timeout=5", "timeout=9"]);
  drive.end();
});

http("Connection: an answer may end it", () => {
  const drive = new Drive();
  drive.answer = (wire) => wire.respond(200, { flags: Answer.Close });
  const wire = drive.connect().send(get() + get());
  assert.equal(wire.log, ["GET / 1.1", "end Ok"]);
  assert.is(fieldOf(responsesOf(wire.text)[0] as never, "connection"), "close");
  drive.end();
});

define("pipelining", [
  {
    name: "requests are answered in order",
    input: head("GET /1 HTTP/1.1", "Host: a") + length("2", "hi") + target("/3"),
    log: ["GET /1 1.1", 'POST / 1.1 "hi"', "GET /3 1.1", "= 200 200 200"],
  },
  {
    name: "a chunked body is followed by the next request",
    input: chunked("2\r\nhi\r\n0\r\nX: y\r\n\r\n") + target("/2"),
    log: ['POST / 1.1 "hi"', "GET /2 1.1", "= 200 200"],
  },
  {
    name: "HEAD is answered without a body",
    input: target("/1", "HEAD") + target("/2"),
    log: ["HEAD /1 1.1", "GET /2 1.1", "= 200 200"],
    heads: [0],
  },
  {
    name: "empty lines before a request are ignored",
    input: `\r\n\r\n${get()}\r\n${get()}`,
    log: ["GET / 1.1", "GET / 1.1", "= 200 200"],
  },
  { name: "a bare LF before a request is refused", input: `\n${get()}`, log: bad },
  { name: "a bare CR before a request is refused", input: `\r${get()}`, log: bad },
  {
    name: "garbage after a good request is refused",
    input: `${get()}\0garbage`,
    log: ["GET / 1.1", "end BadRequest", "= 200 400"],
  },
  {
    name: "a body longer than it says is the next request, and refused",
    input: `${length("2", "hi!")} / HTTP/1.1\r\n\r\n`,
    log: ['POST / 1.1 "hi"', "end UnknownMethod", "= 200 501"],
  },
  {
    name: "what follows a refusal is not read",
    input: host() + get(),
    log: refused(400, "MissingHost"),
  },
  {
    name: "what follows the last request is not read",
    input: get("Connection: close") + get(),
    log: last("GET / 1.1"),
  },
]);

define("maxRequestsPerSocket", [
  {
    name: "the last of them ends the connection",
    input: get() + get() + get(),
    log: ["GET / 1.1", "GET / 1.1", "end Ok", "= 200 200"],
  },
], { RequestsPerSocket: 2 });

http("maxRequestsPerSocket: the last answer says so", () => {
  const drive = new Drive({ RequestsPerSocket: 2 });
  const wire = drive.connect().send(get() + get());
  const said = responsesOf(wire.text).map((reply) => fieldOf(reply, "connection"));
  assert.equal(said, ["keep-alive", "close"]);
  drive.end();
});

define("requireContentLength", [
  ...["POST", "PUT", "PATCH"].map((method) => ({
    name: `${method} without a length is refused`,
    input: target("/", method),
    log: refused(411, "MissingContentLength"),
  })),
  { name: "GET without one is taken", input: get(), log: taken("GET / 1.1") },
  { name: "a length of zero is one", input: length("0"), log: taken("POST / 1.1") },
  { name: "chunks are one", input: chunked("0\r\n\r\n"), log: taken("POST / 1.1") },
], { RequireContentLength: 1 });

// ---- Expect -----------------------------------------------------------------------------------

const expecting = (minor: number, ...fields: string[]): string =>
  head(`POST / HTTP/1.${minor}`, "Host: a", "Expect: 100-continue", ...fields);
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

http("Expect: 100 (Continue) is sent once, when the head arrives alone", () => {
  const drive = new Drive();
  const wire = drive.connect().send(expecting(1, "Content-Length: 5"));
  assert.is(wire.text, CONTINUE);
  wire.send("he");
  assert.is(wire.text, CONTINUE);
  wire.send("llo");
  assert.equal(wire.log, ['POST / 1.1 "hello"']);
  assert.equal(statuses(wire, []), "= 100 200");
  wire.send(expecting(1, "Transfer-Encoding: chunked"));
  wire.send("1\r\n", "x\r\n", "0\r\n\r\n");
  assert.equal(statuses(wire, []), "= 100 200 100 200");
  drive.end();
});

http("Expect: byte by byte, 100 (Continue) is sent once", () => {
  const drive = new Drive();
  const wire = drive.connect();
  for (const byte of Buffer.from(`${expecting(1, "Content-Length: 5")}hello`)) {
    wire.send(Uint8Array.of(byte));
  }
  assert.equal(statuses(wire, []), "= 100 200");
  drive.end();
});

http("Expect: 100 (Continue) is left out when the body has begun", () => {
  const drive = new Drive();
  const wire = drive.connect().send(`${expecting(1, "Content-Length: 5")}h`, "ello");
  assert.equal(statuses(wire, []), "= 200");
  drive.end();
});

http("Expect: 100 (Continue) is left out when there is no body", () => {
  const drive = new Drive();
  assert.equal(statuses(drive.connect().send(expecting(1)), []), "= 200");
  assert.equal(statuses(drive.connect().send(expecting(1, "Content-Length: 0")), []), "= 200");
  drive.end();
});

http("Expect: HTTP/1.0 never gets 100 (Continue)", () => {
  const drive = new Drive();
  const wire = drive.connect().send(expecting(0, "Content-Length: 5"));
  assert.is(wire.text, "");
  wire.send("hello");
  assert.equal(statuses(wire, []), "= 200");
  drive.end();
});

http("Expect: a body that is too large is refused instead", () => {
  const drive = new Drive();
  const wire = drive.connect().send(expecting(1, "Content-Length: 16385"));
  assert.equal(statuses(wire, []), "= 413");
  drive.end();
});

define("Expect", [
  {
    name: "another expectation fails",
    input: get("Expect: 200-ok"),
    log: refused(417, "UnsupportedExpectation"),
  },
  {
    name: "a second expectation fails",
    input: get("Expect: 100-continue", "Expect: x"),
    log: refused(417, "UnsupportedExpectation"),
  },
  { name: "case is free", input: get("Expect: 100-CONTINUE"), log: taken("GET / 1.1") },
]);

// ---- FIN --------------------------------------------------------------------------------------

define("FIN", [
  { name: "on an idle connection ends it", input: "", log: ["closed PeerClosed", "="], fin: true },
  {
    name: "after a request ends the connection after the answer",
    input: get(),
    log: ["GET / 1.1", "closed PeerClosed", "= 200"],
    fin: true,
  },
  {
    name: "within the request line ends the connection",
    input: "GET / HT",
    log: ["closed PeerEnded", "="],
    fin: true,
  },
  {
    name: "within a head ends the connection",
    input: "GET / HTTP/1.1\r\nHost: a\r\n",
    log: ["closed PeerEnded", "="],
    fin: true,
  },
  {
    name: "within a body ends the connection",
    input: length("5", "hel"),
    log: ["closed PeerEnded", "="],
    fin: true,
  },
  {
    name: "within a chunk ends the connection",
    input: chunked("5\r\nhel"),
    log: ["closed PeerEnded", "="],
    fin: true,
  },
  {
    name: "within the next request ends the connection after the answers",
    input: `${get()}GET /`,
    log: ["GET / 1.1", "closed PeerEnded", "= 200"],
    fin: true,
  },
  {
    name: "after a refusal ends the linger",
    input: host(),
    log: ["end MissingHost", "closed MissingHost", "= 400"],
    fin: true,
  },
]);

http("FIN: a pending request is still answered", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive
    .connect()
    .send(get() + get())
    .finish();
  assert.equal(wire.log, ["GET / 1.1"]);
  wire.respond(200, { body: "1" });
  drive.turn();
  assert.equal(wire.log, ["GET / 1.1", "GET / 1.1"], "what came before the FIN counts");
  wire.respond(200, { body: "2" });
  drive.turn();
  assert.equal(wire.log.slice(2), ["closed PeerClosed"]);
  assert.equal(
    responsesOf(wire.text).map((reply) => reply.body),
    ["1", "2"],
  );
  drive.end();
});

// ---- what a handler relies on -----------------------------------------------------------------

http("a request that is retained survives other reads", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(`${length("5", "hello")}GET /next HTTP/1.1\r\n`);
  for (let i = 0; i < 3; i++) drive.connect().send(target(`/${i}`.repeat(50), "PUT"));
  const { engine } = drive;
  const at = engine.head(wire.slot);
  const body = Buffer.from(engine.u8).toString("latin1", at.body, at.body + at.bodyLength);
  assert.is(body, "hello");
  drive.answer = (other) => other.respond();
  wire.respond();
  drive.turn();
  wire.send("Host: a\r\n\r\n");
  assert.equal(wire.log, ['POST / 1.1 "hello"', "GET /next 1.1"]);
  drive.end();
});

http("a handshake from HTTP/1.0 is a plain request", () => {
  const drive = new Drive();
  const wire = drive.connect().send(`GET / HTTP/1.0\r\n${upgradeFields()}\r\n`);
  assert.is((wire.asked[0]?.traits ?? 0) & Trait.Upgrade, 0);
  assert.equal(statuses(wire, []), "= 200");
  drive.end();
});

http("an idle connection owns no buffer", () => {
  const drive = new Drive();
  drive.connect();
  drive.connect().send(get());
  drive.connect().send(length("5", "he"), "llo");
  drive.engine.x.gauge();
  assert.is(drive.engine.get(Control.ReceivePoolUsed), 0);
  drive.end();
});

http("many fields that trickle in cost no second look", () => {
  const drive = new Drive({ HeadBytes: 60000, Headers: 2000, ReceivePoolBytes: 1 << 20 });
  const wire = drive.connect();
  const fields = Array.from({ length: 1500 }, (_, i) => `x-${i}: ${i}`);
  for (const byte of Buffer.from(get(...fields))) wire.send(Uint8Array.of(byte));
  assert.is(wire.asked[0]?.fields.length, 1501);
  assert.equal(wire.asked[0]?.fields[1500], ["x-1499", "1499"]);
  drive.end();
});

http.run();
