// Responses: status line, Date, framing fields, the application's fields, bodies.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Control, Outcome } from "../../assembly/abi";
import { type AnswerOptions, Drive, type Wire } from "../lib/drive";
import { handshake } from "../lib/handshake";
import { type TextResponse, fieldOf, responsesOf } from "../lib/response";

const answer = suite("answer");

const head = (method: string, minor = 1): string =>
  `${method} / HTTP/1.${minor}\r\nHost: a\r\n\r\n`;

/** Returns a response as a client reads it. */
function reply(status: number, options: AnswerOptions = {}, method = "GET"): TextResponse {
  const drive = new Drive();
  drive.answer = (wire) => {
    assert.is(wire.respond(status, options), Outcome.Ok);
  };
  const wire = drive.connect().send(head(method));
  const found = responsesOf(wire.text, method === "HEAD" ? [0] : []);
  assert.is(found.length, 1);
  drive.end();
  return found[0] as TextResponse;
}

/** Registered statuses (RFC 9110 15 and the IANA registry) that a server sends. */
const PHRASES: Record<number, string> = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  203: "Non-Authoritative Information",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  207: "Multi-Status",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  507: "Insufficient Storage",
  511: "Network Authentication Required",
};

answer("each registered status has its phrase, the others their class's", () => {
  const drive = new Drive();
  const wire = drive.connect();
  for (let status = 200; status < 600; status++) {
    drive.answer = (other) => other.respond(status);
    wire.send(head("GET"));
    const [found] = responsesOf(Buffer.from(wire.take()).toString("latin1"));
    assert.is(found?.status, status);
    const expected = PHRASES[status];
    if (expected) assert.is(found?.phrase, expected);
    else assert.match(found?.phrase ?? "", /^[A-Z][A-Za-z ]+$/);
  }
  drive.end();
});

answer("Content-Length is the body's, and is sent once", () => {
  for (const length of [0, 1, 9, 10, 99, 100, 4000, 4096, 10000, 12345]) {
    const found = reply(200, { body: "x".repeat(length) });
    assert.is(fieldOf(found, "content-length"), `${length}`);
    assert.is(found.body.length, length);
  }
});

answer("204 and 304 have neither Content-Length nor body", () => {
  for (const status of [204, 304]) {
    const found = reply(status, { body: "x" });
    assert.is(fieldOf(found, "content-length"), undefined);
    assert.is(found.body, "");
  }
});

answer("205 has no body", () => {
  // RFC 9110 15.3.6: no content, and a length of zero says so.
  const found = reply(205, { body: "x" });
  assert.is(fieldOf(found, "content-length"), "0");
});

answer("HEAD gets the length and no body", () => {
  const found = reply(200, { body: "hello" }, "HEAD");
  assert.is(fieldOf(found, "content-length"), "5");
});

answer("a refused HEAD gets no body", () => {
  const drive = new Drive();
  const wire = drive.connect().send("HEAD / HTTP/1.1\r\n\r\n");
  const [found] = responsesOf(wire.text, [0]);
  assert.is(found?.status, 400);
  assert.ok(Number(fieldOf(found as TextResponse, "content-length")) > 0);
  drive.end();
});

answer("a refusal has its reason as its body, and Connection: close", () => {
  const drive = new Drive();
  const wire = drive.connect().send("GET / HTTP/1.1\r\n\r\n");
  const [found] = responsesOf(wire.text);
  assert.ok(found);
  assert.is(found.body, "Bad Request\n");
  assert.is(fieldOf(found, "connection"), "close");
  assert.is(fieldOf(found, "content-type"), "text/plain");
  assert.ok(fieldOf(found, "date"));
  drive.end();
});

answer("Date has the form of toUTCString", () => {
  const drive = new Drive();
  const wire = drive.connect();
  const DAY = 86400;
  const times = [0, 1, 59, 60, 3599, 3600, DAY - 1, DAY, 951782399, 951782400, 951868800];
  for (const year of [
    1970, 1972, 1999, 2000, 2001, 2024, 2025, 2026, 2038, 2096, 2099, 2100, 2101, 2400, 9999,
  ]) {
    for (const month of [0, 1, 2, 11]) {
      for (const day of [1, 28, 29, 31]) times.push(Date.UTC(year, month, day, 23, 59, 59) / 1000);
    }
  }
  for (let day = 0; day < 366 * 4; day++) times.push(1700000000 + day * DAY + day * 61);
  for (const seconds of times.filter((time) => time < 253402300800)) {
    drive.engine.set(Control.Date, seconds);
    wire.send(head("GET"));
    const [found] = responsesOf(Buffer.from(wire.take()).toString("latin1"));
    const expected = new Date(seconds * 1000).toUTCString();
    assert.is(fieldOf(found as TextResponse, "date"), expected);
  }
  drive.end();
});

answer("the application's Date replaces ours", () => {
  const found = reply(200, { fields: [["dAtE", "Thu, 01 Jan 1970 00:00:01 GMT"]] });
  assert.is(fieldOf(found, "date"), "Thu, 01 Jan 1970 00:00:01 GMT");
});

answer("fields are sent as they are, in order, repeated ones too", () => {
  const fields: [string, string][] = [
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
    ["X-Empty", ""],
    ["X-Text", "\t a \xe4 \xff"],
    ["!#$%&'*+-.^_`|~1a", "~"],
    ["X-Long", "v".repeat(3000)],
  ];
  const found = reply(200, { fields, body: "hi" });
  assert.equal(found.fields.slice(0, fields.length), fields);
  assert.is(found.body, "hi");
});

/** Returns the result of `respond` with one field. The request must still be answerable afterwards. */
function attempt(name: string, value: string): number {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(head("GET"));
  const outcome = wire.respond(200, {
    fields: [
      ["X", "1"],
      [name, value],
    ],
  });
  drive.turn();
  if (outcome === Outcome.TooLarge) {
    assert.is(wire.text, "", "nothing is sent");
    assert.is(wire.respond(), Outcome.Ok);
    drive.turn();
  }
  assert.is(responsesOf(wire.text).length, 1);
  drive.end();
  return outcome;
}

answer("no octet of a value can break out of its line", () => {
  for (let c = 0; c < 256; c++) {
    const octet = String.fromCharCode(c);
    const isText = c === 9 || (c >= 32 && c !== 127);
    for (const pad of [0, 5, 15, 16]) {
      const outcome = attempt("X-Y", `${"a".repeat(pad)}${octet}b`);
      assert.is(outcome, isText ? Outcome.Ok : Outcome.TooLarge, `octet ${c}`);
    }
  }
  assert.is(attempt("X-Y", "a\r\nSet-Cookie: b=c"), Outcome.TooLarge);
  assert.is(attempt("X-Y", "a\r\n\r\n<html>"), Outcome.TooLarge);
});

answer("a name is a token", () => {
  for (let c = 0; c < 256; c++) {
    const octet = String.fromCharCode(c);
    const isToken = /^[!#$%&'*+.^_`|~0-9A-Za-z-]$/.test(octet);
    const outcome = attempt(`X${octet}`, "v");
    assert.is(outcome, isToken ? Outcome.Ok : Outcome.TooLarge, `octet ${c}`);
  }
  assert.is(attempt("", "v"), Outcome.TooLarge);
});

answer("the fields that frame a message are the engine's alone", () => {
  for (const name of ["Content-Length", "Transfer-Encoding", "Connection", "Upgrade"]) {
    for (const one of [name, name.toLowerCase(), name.toUpperCase()]) {
      assert.is(attempt(one, "5"), Outcome.TooLarge, one);
    }
  }
});

answer("an application's 426 names the protocol to upgrade to", () => {
  const found = reply(426);
  assert.is(fieldOf(found, "upgrade"), "websocket");
  assert.is(fieldOf(found, "sec-websocket-version"), "13");
  assert.is(fieldOf(found, "connection"), "upgrade");
});

answer("an answer larger than a block is sent whole", () => {
  const body = Array.from({ length: 15000 }, (_, i) => String.fromCharCode(32 + (i % 90))).join("");
  assert.is(reply(200, { body }).body, body);
});

answer("a request is answered once", () => {
  const drive = new Drive();
  drive.answer = (wire) => {
    wire.respond();
    assert.is(wire.respond(), Outcome.Gone);
    assert.is(wire.respondStatic(1), Outcome.Gone);
    assert.is(wire.upgrade(), Outcome.Gone);
  };
  const wire = drive.connect().send(head("GET"));
  assert.is(responsesOf(wire.text).length, 1);
  drive.end();
});

answer("the Server field is in every answer, unless the caller sets one", () => {
  const drive = new Drive();
  const { engine } = drive;
  const text = `${"s".repeat(255)}/`;
  engine.setServer(text);
  const servers = (...requests: string[]): (string | undefined)[] => {
    const wire = drive.connect().send(...requests);
    return responsesOf(wire.text).map((found) => fieldOf(found, "server"));
  };
  assert.equal(servers(head("GET"), "\0"), [text, text]);
  drive.answer = (wire) => {
    wire.respond(200, { fields: [["sErVeR", "mine"]] });
  };
  assert.equal(servers(head("GET")), ["mine"]);
  assert.equal(servers(handshake().replace("Version: 13", "Version: 12")), [text]);
  drive.answer = (wire) => {
    wire.upgrade();
  };
  assert.equal(servers(handshake()), [text]);
  engine.setServer("");
  drive.answer = (wire) => {
    wire.respond();
  };
  assert.equal(servers(head("GET"), "\0"), [undefined, undefined]);
  for (const bad of ["a\r\nb", "a\0", "x".repeat(257)]) {
    assert.throws(() => engine.setServer(bad), /serverHeader/);
  }
  assert.equal(servers(head("GET")), [undefined]);
  drive.end();
});

// ---- bodies that the host holds ---------------------------------------------------------------

function withBody(length: number): { drive: Drive; wire: Wire; body: string } {
  const drive = new Drive();
  const body = Array.from({ length }, (_, i) => String.fromCharCode(33 + (i % 90))).join("");
  drive.bodies.set(7, Buffer.from(body, "latin1"));
  drive.answer = (wire) => wire.respondStatic(7);
  return { drive, wire: drive.connect(), body };
}

answer("a static body is sent in runs, whole", () => {
  for (const length of [0, 1, 100, 511, 512, 2047, 2048, 2049, 50000]) {
    const { drive, wire, body } = withBody(length);
    wire.send(head("GET"));
    const [found] = responsesOf(wire.text);
    assert.is(fieldOf(found as TextResponse, "content-length"), `${length}`);
    assert.ok(found?.body === body, `${length}`);
    drive.end();
  }
});

answer("static and other bodies keep their order in a pipeline", () => {
  const { drive, wire, body } = withBody(5000);
  let n = 0;
  drive.answer = (other) => (n++ % 2 ? other.respond(200, { body: "x" }) : other.respondStatic(7));
  wire.send(head("GET").repeat(6));
  const bodies = responsesOf(wire.text).map((found) => found.body);
  assert.equal(bodies, [body, "x", body, "x", body, "x"]);
  drive.end();
});

answer("HEAD, 204 and 304 send nothing of a static body", () => {
  const { drive, wire } = withBody(3000);
  wire.send(head("HEAD"));
  assert.is(fieldOf(responsesOf(wire.text, [0])[0] as TextResponse, "content-length"), "3000");
  for (const status of [204, 304]) {
    wire.take();
    drive.answer = (other) => other.respondStatic(7, status);
    wire.send(head("GET"));
    assert.is(responsesOf(wire.text)[0]?.body, "");
  }
  drive.end();
});

answer("a static body for a client that stops reading is released when the client ends", () => {
  const { drive, wire } = withBody(50000);
  wire.stalled = true;
  wire.send(head("GET"));
  for (let i = 0; i < 5; i++) wire.deliver();
  assert.ok(wire.pending);
  wire.lose();
  drive.end();
});

/** Sends a response in pieces whose length is stated. @returns the client, and the outcomes of the pieces */
function counted(
  length: number,
  pieces: readonly string[],
  { minor = 1, method = "GET", status = 200 } = {},
): { wire: Wire; outcomes: Outcome[]; drive: Drive } {
  const drive = new Drive();
  const outcomes: Outcome[] = [];
  drive.answer = (wire, { method: asked }) => {
    if (asked === "OPTIONS") {
      wire.respond(200);
      return;
    }
    assert.is(wire.begin(status, 0, length), Outcome.Ok);
    for (const piece of pieces) outcomes.push(wire.piece(piece));
    wire.conclude();
  };
  const persists = minor === 0 ? "Connection: keep-alive\r\n" : "";
  const request = `${method} / HTTP/1.${minor}\r\nHost: a\r\n${persists}\r\n`;
  const wire = drive.connect().send(request + head("OPTIONS"));
  return { wire, outcomes, drive };
}

for (const minor of [0, 1]) {
  answer(`a stated length frames pieces, HTTP/1.${minor}`, () => {
    const { wire, drive } = counted(6, ["ab", "cdef"], { minor });
    const [first, next] = responsesOf(wire.text);
    assert.is(first?.body, "abcdef");
    assert.is(fieldOf(first as TextResponse, "content-length"), "6");
    assert.is(fieldOf(first as TextResponse, "transfer-encoding"), undefined);
    assert.is(next?.status, 200, "it persists");
    drive.end();
  });
}

answer("the body of a response with a stated length is neither longer nor shorter", () => {
  const { wire, outcomes, drive } = counted(4, ["abc", "de", "d"]);
  assert.equal(outcomes, [Outcome.Ok, Outcome.TooLarge, Outcome.Ok]);
  assert.match(wire.text, /\r\n\r\nabcdHTTP\/1\.1 200/);
  drive.end();
  const short = counted(4, ["abc"]);
  assert.ok(short.wire.reset && short.wire.dead);
  assert.is(short.wire.reason, CloseReason.HandlerError);
  short.drive.end();
});

for (const [what, options, length] of [
  ["a HEAD", { method: "HEAD" }, "9007199254740991"],
  ["a 304", { status: 304 }, "9007199254740991"],
  ["a 205", { status: 205 }, "0"],
  ["a 204", { status: 204 }, undefined],
] as const) {
  answer(`${what} with a stated length has no body`, () => {
    const { wire, outcomes, drive } = counted(Number.MAX_SAFE_INTEGER, ["abc"], options);
    assert.equal(outcomes, [Outcome.TooLarge]);
    const [first, next] = responsesOf(wire.text, [0]);
    assert.is(fieldOf(first as TextResponse, "content-length"), length);
    assert.is(fieldOf(first as TextResponse, "transfer-encoding"), undefined);
    assert.is(next?.status, 200, "it persists");
    drive.end();
  });
}

answer.run();
