// The lines of the access log: their forms, their escapes, and what happens when the file is slow or full.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { HEADER_ENTRY_BYTES, Method } from "../../assembly/abi";
import type { RequestHead } from "../../host/shared/request/request";
import { Random } from "../../host/testing/random";
import { VirtualClock } from "../../worker/net/memory";
import type { LineFile } from "../../worker/net/transport";
import { AccessLog, type LogFormat } from "../../worker/request/access-log";

const log = suite("access-log");

/** Returns a request as the engine reports it: a table of fields, then the head. */
function requestOf(
  method: string,
  target: string,
  fields: readonly (readonly [string, string])[] = [],
  minor = 1,
): { at: RequestHead; bytes: Uint8Array } {
  const table = fields.length * HEADER_ENTRY_BYTES;
  let text = `${method} ${target} HTTP/1.${minor}\r\n`;
  const entries = fields.flatMap(([name, value]) => {
    const nameAt = text.length;
    text += `${name}: ${value}\r\n`;
    return [nameAt, name.length, nameAt + name.length + 2, value.length];
  });
  const bytes = Buffer.concat([
    new Uint8Array(new Uint16Array(entries).buffer),
    Buffer.from(text, "latin1"),
  ]);
  const known = Method[method as keyof typeof Method] ?? 255;
  const at: RequestHead = {
    ...{ head: table, headLength: text.length, table: 0, fields: fields.length },
    ...{ body: 0, bodyLength: 0, method: known, minor, traits: 0 },
    ...{ target: method.length + 1, targetLength: target.length },
  };
  return { at, bytes };
}

/** A file whose writes end when the test says so. */
class TestFile implements LineFile {
  text = "";
  opened = 0;
  isClosed = false;
  /** Ends the outstanding write. */
  done: ((error?: Error) => void) | undefined;
  isSlow = false;

  open(): void {
    this.opened++;
  }

  append(lines: Uint8Array, done: (error?: Error) => void): void {
    assert.is(this.done, undefined, "one write at a time");
    const text = Buffer.from(lines).toString("latin1");
    this.done = (error) => {
      this.done = undefined;
      if (!error) this.text += text;
      done(error);
    };
    if (!this.isSlow) this.done();
  }

  close(): void {
    this.isClosed = true;
  }
}

function logOf(format: LogFormat): {
  log: AccessLog;
  file: TestFile;
  clock: VirtualClock;
  errors: string[];
} {
  const file = new TestFile();
  const clock = new VirtualClock();
  const errors: string[] = [];
  const made = new AccessLog(file, format, {
    clock,
    failed: (error) => errors.push(error.message),
  });
  made.open();
  return { log: made, file, clock, errors };
}

/** Returns the lines of requests. */
async function linesOf(format: LogFormat, fill: (log: AccessLog) => void): Promise<string[]> {
  const { log: made, file } = logOf(format);
  fill(made);
  await made.close();
  assert.ok(file.isClosed);
  const lines = file.text.split("\n");
  assert.is(lines.pop(), "");
  return lines;
}

const BROWSER = [
  ["HOST", "a.example"],
  ["Referer", 'http://b.example/"x'],
  ["User-Agent", "Mozilla/5.0 (X11)"],
  ["Refererx", "none"],
] as const;

log("a line of the combined format has the parts that Apache and nginx write", async () => {
  const { at, bytes } = requestOf("GET", "/a?b=c", BROWSER);
  const [line, bare, unread] = await linesOf("combined", (made) => {
    made.add(at, bytes, "10.0.0.1", 200, 1234, 0);
    const other = requestOf("PROPFIND", "*", [], 0);
    made.add(other.at, other.bytes, "", 404, -1, 0);
    made.addUnread("::1", 400, 12);
  });
  const time = /\[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\]/;
  assert.match(line as string, time);
  assert.is(
    (line as string).replace(time, "[]"),
    '10.0.0.1 - - [] "GET /a?b=c HTTP/1.1" 200 1234 "http://b.example/\\x22x" "Mozilla/5.0 (X11)"',
  );
  assert.match(bare as string, /^- - - \[.+\] "PROPFIND \* HTTP\/1\.0" 404 - "-" "-"$/);
  assert.match(unread as string, /^::1 - - \[.+\] "-" 400 12 "-" "-"$/);
});

log("a line of the JSON format is an object, without members that are not known", async () => {
  const { at, bytes } = requestOf("GET", "/a", BROWSER);
  const [line, unread] = await linesOf("json", (made) => {
    made.add(at, bytes, "10.0.0.1", 200, 5, 0);
    made.addUnread("::1", 400, 12);
  });
  const { time, ...rest } = JSON.parse(line as string);
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(rest, {
    ...{ address: "10.0.0.1", method: "GET", target: "/a", version: "1.1", status: 200 },
    ...{ bytes: 5, ms: 0, host: "a.example", referer: 'http://b.example/"x' },
    userAgent: "Mozilla/5.0 (X11)",
  });
  const { time: _, ...second } = JSON.parse(unread as string);
  assert.equal(second, { address: "::1", status: 400, bytes: 12 });
});

log("the duration is the time from the request to its response", () => {
  const { log: made, file, clock } = logOf("json");
  const { at, bytes } = requestOf("GET", "/a");
  const since = made.now();
  clock.after(7, () => made.add(at, bytes, "a", 200, 0, since));
  clock.advance(100);
  assert.is(JSON.parse(file.text).ms, 7);
});

log("responses without a body have the length 0", async () => {
  const lines = await linesOf("combined", (made) => {
    for (const [method, status] of [
      ["HEAD", 200],
      ["GET", 101],
      ["GET", 204],
      ["GET", 205],
      ["GET", 304],
    ] as const) {
      const { at, bytes } = requestOf(method, "/");
      made.add(at, bytes, "a", status, 99, 0);
    }
  });
  for (const line of lines) assert.match(line, / \d{3} 0 "-" "-"$/);
});

for (const format of ["combined", "json"] as const) {
  log(`no octet of a request forges a ${format} line`, async () => {
    const seed = Number(process.env.RINGCAST_SEED ?? 5);
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    const text = (): string =>
      Array.from({ length: random.int(0, 30) }, () =>
        String.fromCharCode(random.chance(0.25) ? random.int(0, 255) : random.int(33, 126)),
      ).join("");
    const asked = Array.from({ length: 500 }, () => [`/${text()}`, text(), text()] as const);
    const lines = await linesOf(format, (made) => {
      for (const [target, referer, agent] of asked) {
        const fields = [["Referer", referer] as const, ["User-Agent", agent] as const];
        const { at, bytes } = requestOf("GET", target, fields);
        made.add(at, bytes, "a", 200, 1, 0);
      }
    });
    assert.is(lines.length, asked.length);
    lines.forEach((line, i) => {
      assert.match(line, /^[ -~]+$/);
      const [target, referer, agent] = asked[i] as readonly [string, string, string];
      if (format === "json") {
        const read = JSON.parse(line);
        assert.equal(
          [read.target, read.referer ?? "", read.userAgent ?? ""],
          [target, referer, agent],
        );
        return;
      }
      const plain = (part: string): string =>
        part.replace(/\\x(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
      const [, request = "", , first = "", , second = ""] = line.split('"');
      assert.is(plain(request), `GET ${target} HTTP/1.1`);
      assert.equal([plain(first), plain(second)], [referer || "-", agent || "-"]);
    });
  });
}

log("a line is removed, or gets another status, when its response was not queued", async () => {
  for (const format of ["combined", "json"] as const) {
    const lines = await linesOf(format, (made) => {
      const { at, bytes } = requestOf("GET", "/a", BROWSER);
      made.add(at, bytes, "a", 200, 5, -1);
      made.add(at, bytes, "b", 200, 5, -1);
      made.undo();
      made.add(at, bytes, "c", 200, 5, -1);
      made.amend(503);
    });
    assert.is(lines.length, 2);
    const [first = "", second = ""] = lines;
    const expected =
      format === "json"
        ? first.replace('"a",', '"c",').replace('"status":200,"bytes":5', '"status":503')
        : first.replace(/^a/, "c").replace(" 200 5 ", " 503 - ");
    assert.is(second.replace(/\d\d:\d\d:\d\d/, ""), expected.replace(/\d\d:\d\d:\d\d/, ""));
  }
});

log("lines beyond the buffer are dropped and counted while the file is slow", () => {
  const { log: made, file } = logOf("combined");
  file.isSlow = true;
  const { at, bytes } = requestOf("GET", `/${"a".repeat(1000)}`);
  let added = 0;
  while (made.dropped === 0) {
    made.add(at, bytes, "a", 200, 0, 0);
    added++;
    assert.ok(added < 1100, "a buffer without a bound");
  }
  assert.ok(added * 1050 > 500000, `${added} lines`);
  made.undo();
  assert.is(made.dropped, 0, "the dropped line was not of a response");
  made.add(at, bytes, "a", 200, 0, 0);
  file.isSlow = false;
  file.done?.();
  made.add(at, bytes, "a", 200, 0, 0);
  void made.close();
  assert.is(file.text.split("\n").length - 1, added);
  assert.is(made.dropped, 1);
});

log("a request that is longer than the buffer has no line", () => {
  const { log: made } = logOf("json");
  const { at, bytes } = requestOf("GET", `/${"\x01".repeat(65000)}`, [
    ["Referer", "\x01".repeat(65000)],
  ]);
  made.add(at, bytes, "a", 200, 0, 0);
  assert.is(made.dropped, 1);
});

log("lines that could not be written are counted, reported, and do not stop the log", () => {
  const { log: made, file, clock, errors } = logOf("combined");
  file.isSlow = true;
  const { at, bytes } = requestOf("GET", "/a");
  made.add(at, bytes, "a", 200, 0, 0);
  made.add(at, bytes, "a", 200, 0, 0);
  clock.advance(100);
  file.done?.(new Error("ENOSPC"));
  assert.equal([made.dropped, errors], [2, ["ENOSPC"]]);
  made.add(at, bytes, "a", 200, 0, 0);
  clock.advance(100);
  file.done?.();
  assert.is(file.text.split("\n").length, 2);
});

log("the end waits for the outstanding lines, and for half a second at most", async () => {
  const { log: made, file, clock } = logOf("combined");
  file.isSlow = true;
  const { at, bytes } = requestOf("GET", "/a");
  made.add(at, bytes, "a", 200, 0, 0);
  clock.advance(100);
  made.add(at, bytes, "b", 200, 0, 0);
  let isOver = false;
  const closed = made.close().then(() => {
    isOver = true;
  });
  file.done?.();
  await Promise.resolve();
  assert.is(isOver, false);
  clock.advance(600);
  await closed;
  assert.ok(file.isClosed);
});

log.run();
