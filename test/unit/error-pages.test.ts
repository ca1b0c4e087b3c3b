// Error pages in the engine: the octets of a refusal with its page, to HEAD without it, and the memory that pages take.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Control } from "../../assembly/abi";
import { CLOSE_TABLE } from "../../host/shared/close";
import { Drive, type Wire } from "../lib/drive";
import { responsesOf } from "../lib/response";

const pages = suite("error pages");

const DATE = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

const get = (method = "GET", target = "/"): string =>
  `${method} ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** Sets a page of a length. @returns its fields, and all of it */
function setPage(drive: Drive, status: number, length: number): { fields: string; page: string } {
  const page = `${status} `.repeat(Math.ceil(length / 4)).slice(0, length);
  const fields = `Content-Type: text/html\r\nContent-Length: ${length}\r\n\r\n`;
  drive.loop.setPage(status, Buffer.from(fields + page), fields.length);
  return { fields, page };
}

/** Leaves requests to be refused by the host. */
function asking(params = {}): Drive {
  const drive = new Drive(params);
  drive.answer = () => undefined;
  return drive;
}

/** Has a request refused. @returns all octets */
function refused(drive: Drive, reason: CloseReason, method = "GET"): string {
  const wire = drive.connect().send(get(method));
  drive.loop.abandon(wire, reason);
  drive.turn();
  assert.is(wire.log.at(-1), `end ${CloseReason[reason]}`);
  return wire.text;
}

pages("every cause with a status has that status's page, to HEAD its fields alone", () => {
  const drive = asking({ RunBytes: 700 });
  const statuses = new Set<number>();
  for (const [cause, { status }] of Object.entries(CLOSE_TABLE)) {
    if (status < 400) continue;
    statuses.add(status);
    const reason = CloseReason[cause as keyof typeof CloseReason];
    const plain = refused(drive, reason);
    const { fields, page } = setPage(drive, status, 3000);
    const extra = [
      ...(status === 426 ? ["Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"] : []),
      ...(status === 503 ? ["Retry-After: 1\r\n"] : []),
      `Connection: ${status === 426 ? "upgrade, " : ""}close\r\n`,
    ].join("");
    const [line = ""] = /^.*\r\n/.exec(plain) ?? [];
    assert.is(refused(drive, reason), line + DATE + extra + fields + page, cause);
    assert.is(refused(drive, reason, "HEAD"), line + DATE + extra + fields, cause);
  }
  assert.equal(
    [...statuses].sort(),
    [400, 403, 408, 411, 413, 414, 417, 421, 426, 429, 431, 500, 501, 503, 505],
  );
  drive.end();
});

pages("a page is set again, and a page that breaks a rule is refused", () => {
  const drive = asking();
  setPage(drive, 500, 10);
  const { fields, page } = setPage(drive, 500, 20);
  assert.ok(refused(drive, CloseReason.HandlerError).endsWith(fields + page));
  const { x } = drive.engine;
  for (const status of [0, 399, 600, 2 ** 32 - 1]) assert.is(x.page(status, 4, 9), 0, `${status}`);
  assert.equal([x.page(500, 0, 9), x.page(500, 10, 9), x.page(500, 4, 2 ** 31)], [0, 0, 0]);
  assert.ok(refused(drive, CloseReason.HandlerError).endsWith(fields + page), "it is unchanged");
  assert.throws(() => setPage(drive, 399, 5), /status: 399 has no error page/);
  drive.end();
});

/** Returns the bytes of the reply pool that a refusal holds for a client that does not read. */
function held(drive: Drive): number {
  const wire = drive.connect().send(get());
  wire.stalled = true;
  drive.loop.abandon(wire, CloseReason.HandlerError);
  drive.turn();
  drive.engine.x.gauge();
  const used = drive.engine.get(Control.ReplyPoolUsed);
  wire.lose();
  return used;
}

pages("a client that does not read its page holds one more small block, however long it is", () => {
  const drive = asking();
  const plain = held(drive);
  for (const length of [1, 511, 65536, 1e6]) {
    setPage(drive, 500, length);
    assert.is(held(drive), plain + 512, `${length}`);
  }
  assert.is(drive.engine.get(Control.BodyBytes), 0);
  drive.end();
});

pages("when the reply pool has no block for the page the connection is closed", () => {
  const drive = asking({ Connections: 64, ReplyPoolBytes: 16384 });
  setPage(drive, 500, 3000);
  const wires: Wire[] = [];
  while (wires.length < 24) {
    const wire = drive.connect().send(get());
    wire.stalled = true;
    drive.loop.abandon(wire, CloseReason.HandlerError);
    drive.turn();
    wires.push(wire);
  }
  const without = wires.filter((wire) => wire.dead);
  assert.ok(without.length > 0 && without.length < wires.length, `${without.length}`);
  for (const wire of wires) {
    if (wire.dead) {
      assert.equal([wire.text, wire.log.at(-1)], ["", "closed NoBuffer"]);
      continue;
    }
    wire.unstall();
    const [found] = responsesOf(wire.text);
    assert.equal([found?.status, found?.body.length], [500, 3000]);
  }
  drive.end();
});

pages.run();
