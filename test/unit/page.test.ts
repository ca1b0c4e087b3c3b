// The client's side within a page, without a page: responses and frames of a server whole, at every split and byte by
// byte; violations of the protocol; the inbox that is copied instead of shared.

import { createHash } from "node:crypto";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  INBOX_HEAD,
  INBOX_TAIL,
  INBOX_WORDS,
  RECORD_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_TOTAL,
  RecordKind,
} from "../../assembly/abi";
import { InboxWriter } from "../../host/send/inbox-writer";
import { Mirror } from "../../host/send/mirror-writer";
import { AnswerError, AnswerReader } from "../../host/codec/response";
import { FrameError, frameOf } from "../../host/codec/frames";
import { MessageReader, closePayload } from "../../host/codec/messages";
import { matcherOf } from "../../host/page/install";
import { sha1 } from "../../host/codec/sha1";
import { SharedInbox } from "../../worker/inbox/inbox-reader";
import { MirroredInbox } from "../../worker/inbox/mirror-reader";
import { Random } from "../../host/testing/random";
import { splits } from "../lib/split";

const page = suite("page");

const bytesOf = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(Buffer.from(text, "latin1"));

page("sha1 is node:crypto's", () => {
  for (let length = 0; length < 200; length++) {
    const text = "abc7".repeat(50).slice(0, length);
    assert.is(sha1(text), createHash("sha1").update(text).digest("base64"), `${length}`);
  }
  // RFC 6455 1.3
  const key = "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  assert.is(sha1(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
});

// ---- answers ----------------------------------------------------------------------------------------

interface Read {
  readonly log: string;
  readonly reusable: boolean;
  readonly rest: number;
}

function readAnswer(method: string, parts: readonly Uint8Array<ArrayBuffer>[], end: boolean): Read {
  const log: string[] = [];
  let body = "";
  const reader = new AnswerReader(method, {
    head: ({ status, reason, fields }) => log.push(`${status} ${reason} ${fields.join("; ")}`),
    data: (bytes) => {
      body += Buffer.from(bytes).toString("latin1");
    },
    end: () => log.push("end"),
  });
  let rest = 0;
  try {
    for (const part of parts) rest += part.length - reader.push(part);
    if (end) reader.close();
  } catch (error) {
    assert.instance(error, AnswerError);
    log.push(`error: ${(error as Error).message}`);
  }
  return { log: `${log.join(" | ")} "${body}"`, reusable: reader.isReusable, rest };
}

const ANSWERS: readonly (readonly [name: string, bytes: string, log: string, method?: string])[] = [
  [
    "a length",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    '200 OK Content-Length,3 | end "abc"',
  ],
  ["no body", "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n", '204 No Content A,b | end ""'],
  [
    "HEAD",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    '200 OK Content-Length,3 | end ""',
    "HEAD",
  ],
  [
    "an empty reason",
    "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
    '404  Content-Length,0 | end ""',
  ],
  [
    "an interim answer",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    '304 Not Modified Content-Length,9 | end ""',
  ],
  [
    "chunks and trailers",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
    '200 OK Transfer-Encoding,chunked | end "abc0123456789"',
  ],
  ["up to the end", "HTTP/1.1 200 OK\r\n\r\nabc", '200 OK  | end "abc"'],
  ["spaces around a value", "HTTP/1.1 204 X\r\nA: \t b c \t\r\n\r\n", '204 X A,b c | end ""'],
];

const BAD_ANSWERS: readonly (readonly [bytes: string, error: RegExp])[] = [
  ["HTTP/2.0 200 OK\r\n\r\n", /status line/],
  ["HTTP/1.1 20 OK\r\n\r\n", /status line/],
  ["HTTP/1.1 200\r\n\r\n", /status line/],
  ["HTTP/1.1 200 OK\n\r\n", /CR LF/],
  ["HTTP/1.1 200 OK\r\nA : b\r\n\r\n", /header field/],
  ["HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", /header field/],
  ["HTTP/1.1 200 OK\r\nA: \u0001\r\n\r\n", /header field/],
  ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", /Content-Length/],
  ["HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", /Content-Length/],
  ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", /both/],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", /Transfer-Encoding/],
  ["HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", /fields of a body/],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", /chunk size/],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", /longer than its size/],
  ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", /ended within/],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", /ended within/],
  [`HTTP/1.1 200 OK\r\nA: ${"x".repeat(300000)}`, /too large/],
];

for (const [name, bytes, log, method = "GET"] of ANSWERS) {
  page(`an answer: ${name}`, () => {
    for (const parts of splits(bytesOf(bytes))) {
      const own = parts.map((part) => new Uint8Array(part));
      assert.is(readAnswer(method, own, true).log, log);
    }
  });
}

for (const [bytes, error] of BAD_ANSWERS) {
  page(`a bad answer: ${JSON.stringify(bytes.slice(0, 70))}`, () => {
    assert.match(readAnswer("GET", [bytesOf(bytes)], true).log, error);
  });
}

page("separates the end of a response from the bytes after it", () => {
  const whole = bytesOf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1");
  const { rest, reusable } = readAnswer("GET", [whole], false);
  assert.equal([rest, reusable], [8, true]);
  const last = bytesOf("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n");
  assert.not.ok(readAnswer("GET", [last], false).reusable);
});

// ---- frames -----------------------------------------------------------------------------------------

function readFrames(parts: readonly Uint8Array[]): string[] {
  const log: string[] = [];
  const reader = new MessageReader({
    message: (data) =>
      log.push(typeof data === "string" ? `text "${data}"` : `binary [${data.join()}]`),
    ping: (data) => log.push(`ping ${Buffer.from(data)}`),
    closed: (code, reason) => log.push(`close ${code} ${reason}`),
  });
  try {
    for (const part of parts) reader.push(new Uint8Array(part));
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    log.push(`error ${error.code}`);
  }
  return log;
}

/** Returns the bytes of a text of hex digits, and of texts in quotes. */
function octets(text: string): Uint8Array {
  const parts = text.match(/'[^']*'|[0-9a-f]{2}/g) ?? [];
  return Buffer.concat(
    parts.map((part) =>
      part[0] === "'" ? Buffer.from(part.slice(1, -1)) : Buffer.from(part, "hex"),
    ),
  );
}

const FRAMES: readonly (readonly [bytes: string, ...log: string[]])[] = [
  ["81 05 'hello'", 'text "hello"'],
  ["81 00 82 00", 'text ""', "binary []"],
  ["82 03 010203", "binary [1,2,3]"],
  [`81 7e 00 7e '${"x".repeat(126)}'`, `text "${"x".repeat(126)}"`],
  ["01 02 e282 89 01 'p' 80 01 ac", "ping p", 'text "€"'],
  ["02 01 01 00 00 80 01 02", "binary [1,2]"],
  ["8a 01 'p' 81 03 efbbbf", 'text "\ufeff"'],
  ["88 00 81 01 'x'", "close 1005 "],
  ["88 05 03e8 'bye'", "close 1000 bye"],
  ["88 02 0bb8", "close 3000 "],
  ["c1 00", "error 1002"],
  ["83 00", "error 1002"],
  ["8b 00", "error 1002"],
  ["09 00", "error 1002"],
  ["89 7e", "error 1002"],
  ["81 80", "error 1002"],
  ["80 00", "error 1002"],
  ["01 00 81 00", "error 1002"],
  ["81 7e 00 7d", "error 1002"],
  ["81 7f 00 00 00 00 00 00 ff ff", "error 1002"],
  ["81 7f 80 00 00 00 00 00 00 00", "error 1009"],
  ["81 01 ff", "error 1007"],
  ["01 02 c0 80", "error 1007"],
  ["81 02 e2 82", "error 1007"],
  ["88 01 03", "error 1002"],
  ["88 02 03ed", "error 1002"],
  ["88 02 03ee", "error 1002"],
  ["88 02 0000", "error 1002"],
  ["88 02 1388", "error 1002"],
  ["88 03 03e8 ff", "error 1007"],
];

for (const [bytes, ...log] of FRAMES) {
  page(`frames: ${bytes.slice(0, 60)}`, () => {
    for (const parts of splits(octets(bytes))) assert.equal(readFrames(parts), log);
  });
}

page("a client's frames are masked, in every length form", () => {
  for (const length of [0, 1, 125, 126, 65535, 65536]) {
    const payload = new Uint8Array(length).map((_, i) => i % 253);
    const frame = Buffer.from(frameOf(2, payload));
    assert.is(frame[0], 0x82);
    const short = (frame[1] as number) & 127;
    assert.ok((frame[1] as number) & 128);
    const start = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (start === 4) assert.is(frame.readUInt16BE(2), length);
    if (start === 10) assert.is(Number(frame.readBigUInt64BE(2)), length);
    if (start === 2) assert.is(short, length);
    const mask = frame.subarray(start, start + 4);
    const plain = frame.subarray(start + 4).map((octet, i) => octet ^ (mask[i & 3] as number));
    assert.ok(Buffer.from(payload).equals(plain), `${length}`);
  }
  assert.not.equal(frameOf(1, new Uint8Array(8)), frameOf(1, new Uint8Array(8)));
});

page("a Close without a code has no payload", () => {
  assert.is(closePayload(1005, "").length, 0);
  assert.equal([...closePayload(1000, "é")], [3, 232, 195, 169]);
});

// ---- what is taken over -------------------------------------------------------------------------------

page("URLs are matched by origin, pattern and function", () => {
  const is = (match: Parameters<typeof matcherOf>[0], url: string): boolean =>
    matcherOf(match)(new URL(url));
  assert.ok(is("http://a.test", "ws://a.test/x"));
  assert.ok(is("wss://a.test/path", "https://a.test:443/"));
  assert.not.ok(is("http://a.test", "https://a.test/"));
  assert.not.ok(is("http://a.test", "http://a.test:81/"));
  assert.not.ok(is("http://a.test", "http://b.a.test/"));
  assert.ok(is(["http://a.test", new URL("http://b.test")], "http://b.test/"));
  const pattern = /\/api\//g;
  assert.ok(is(pattern, "http://a.test/api/") && is(pattern, "http://a.test/api/"));
  assert.ok(is((url) => url.port === "81", "http://a.test:81/"));
  for (const wrong of ["a.test", "ftp://a.test", ""])
    assert.throws(() => matcherOf(wrong), /^match: .* is not an origin/);
});

// ---- the inbox that is copied ---------------------------------------------------------------------------

page("a copied inbox holds what was put into it, in order, however it wraps", () => {
  const SIZE = 65536;
  const random = new Random(7);
  const pump: InstanceType<typeof MirroredInbox>[] = [];
  const mirror: Mirror = new Mirror(SIZE, (records) => pump[0]?.give(records));
  const writer = new InboxWriter(mirror.memory, {
    ring: () => mirror.ring(),
    transfer: () => assert.unreachable("nothing is that large"),
  });
  const memory = new ArrayBuffer(INBOX_WORDS * 4 + SIZE);
  const none = (): void => undefined;
  const inbox = new SharedInbox(memory, { room: none, credit: none, retry: none });
  const tails: number[] = [];
  const mirrored = new MirroredInbox(inbox, memory, (tail) => tails.push(tail));
  pump.push(mirrored);
  const words = new Int32Array(memory, 0, INBOX_WORDS);
  const view = new DataView(memory, INBOX_WORDS * 4);
  const sent: string[] = [];
  let refused = 0;
  let read = 0;

  /** Reads some records, as the worker would, and says so. */
  const drain = (): void => {
    let tail = (words[INBOX_TAIL] as number) >>> 0;
    const head = (words[INBOX_HEAD] as number) >>> 0;
    while (tail !== head && random.chance(0.95)) {
      const at = (tail * 8) % SIZE;
      const total = view.getUint32(at + RECORD_TOTAL, true);
      if ((view.getUint32(at + RECORD_KIND, true) & 255) !== RecordKind.Pad) {
        const length = view.getUint32(at + RECORD_LENGTH, true);
        const bytes = Buffer.from(memory, INBOX_WORDS * 4 + at + RECORD_BYTES, length);
        assert.is(bytes.toString(), sent[read++]);
      }
      tail = (tail + total / 8) >>> 0;
    }
    words[INBOX_TAIL] = tail | 0;
    mirrored.endTurn(true);
    const last = tails.pop();
    if (last !== undefined) mirror.passed(last);
  };

  for (let i = 0; i < 20000; i++) {
    const text = `${i} ${"€x".repeat(random.int(0, i % 50 === 0 ? 2000 : 50))}`;
    if (writer.put(RecordKind.Broadcast, text)) sent.push(text);
    else refused++;
    if (random.chance(0.3)) mirror.flush();
    if (random.chance(0.03)) drain();
  }
  for (let i = 0; i < 1000 && read < sent.length; i++) {
    mirror.flush();
    drain();
  }
  assert.is(read, sent.length);
  assert.ok(refused > 0 && sent.length > 5000, `${refused} refused, ${sent.length} sent`);
});

page.run();
