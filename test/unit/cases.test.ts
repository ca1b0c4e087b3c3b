// The test documents in test/cases: every case whole, cut in two at each point and byte by byte, must leave
// the log that it tells.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Trait } from "../../assembly/abi";
import { negotiate } from "../../worker/socket/deflate";
import { type Area, type Case, octetsOf } from "../lib/case";
import { bodies } from "../cases/bodies";
import { close } from "../cases/close";
import { control } from "../cases/control";
import { deflate } from "../cases/deflate";
import { fragmentation } from "../cases/fragmentation";
import { framing } from "../cases/framing";
import { handshake } from "../cases/handshake";
import { heads } from "../cases/heads";
import { persistence } from "../cases/persistence";
import { refusals } from "../cases/refusals";
import { utf8 } from "../cases/utf8";
import { type Asked, Drive, type Wire } from "../lib/drive";
import { responsesOf } from "../lib/response";
import { describeSplit, splits } from "../lib/split";

const AREAS: readonly Area[] = [
  ...[heads, bodies, refusals, persistence, handshake, deflate],
  ...[framing, control, fragmentation, utf8, close],
];

const cases = suite("cases");
const UNTOLD = ["date", "content-type", "content-length"];

/** Answers to offers of extensions, as the worker does. */
function agree(wire: Wire, { traits, fields }: Asked): void {
  assert.ok(traits & Trait.Upgrade);
  const offers = fields.filter(([name]) => name === "Sec-WebSocket-Extensions");
  const offered = offers.map(([, value]) => value).join(", ");
  const agreed = offers.length === 0 ? undefined : negotiate(offered);
  if (agreed === "malformed") {
    wire.open = false;
    wire.drive.engine.x.abandon(wire.slot, wire.generation, CloseReason.BadRequest);
  } else {
    wire.upgrade(agreed ? [["Sec-WebSocket-Extensions", agreed.field]] : []);
  }
}

/** Returns a client's output in the notation of the documents. */
function linesOf(area: Area, out: Uint8Array, [, , , , options = {}]: Case): string[] {
  if (area.of === "frames") return out.length > 0 ? [Buffer.from(out).toString("hex")] : [];
  const text = Buffer.from(out).toString("latin1");
  return responsesOf(text, options.heads).map(({ status, fields }) => {
    const shown = fields.filter(([name]) => !UNTOLD.includes(name.toLowerCase()));
    return [`> ${status}`, ...shown.map(([name, value]) => `${name}: ${value}`)].join(" | ");
  });
}

/** Returns the expected log, with octets of frames as one hexadecimal line. */
function expected(area: Area, [, , , log]: Case): string[] {
  if (area.of !== "frames") return [...log];
  const events = log.filter((line) => !line.startsWith("> "));
  const sent = log.filter((line) => line.startsWith("> "));
  const octets = sent.map((line) => Buffer.from(octetsOf(line.slice(2))).toString("hex")).join("");
  return octets === "" ? events : [...events, octets];
}

function observe(drive: Drive, area: Area, one: Case, pieces: readonly Uint8Array[]): string[] {
  const wire = area.of === "frames" ? drive.webSocket() : drive.connect();
  wire.log.length = 0;
  for (const piece of pieces) wire.send(piece);
  if (one[4]?.fin) wire.finish();
  const log = [...wire.log, ...linesOf(area, wire.take(), one)];
  if (!wire.dead) wire.lose();
  return log;
}

for (const area of AREAS) {
  for (const one of area.cases) {
    const [name, clause, input] = one;
    cases(`${area.name}: ${name} (${clause})`, () => {
      // Below a second nothing is announced, in documents that are about other fields.
      const drive = new Drive({ ...area.limits, KeepAliveTimeout: 500 });
      if (area.of === "offers") drive.answer = agree;
      const octets = area.of === "frames" ? octetsOf(input) : Buffer.from(input, "latin1");
      const log = expected(area, one);
      for (const pieces of splits(octets)) {
        assert.equal(observe(drive, area, one, pieces), log, describeSplit(pieces));
      }
      drive.end();
    });
  }
}

cases("each has a name of its own and names its clause", () => {
  for (const { name: area, cases: list } of AREAS) {
    const names = list.map(([name]) => name);
    assert.is(new Set(names).size, names.length, area);
    for (const [name, clause] of list) {
      const where = `${area}: ${name}`;
      assert.match(clause, /^RFC \d{4} [\dA-C][\d.]*(, RFC \d{4} [\dA-C][\d.]*)*$/, where);
    }
  }
});

cases("the notation's octets", () => {
  const hex = (notation: string): string => Buffer.from(octetsOf(notation)).toString("hex");
  assert.is(hex('81 85 37fa213d ~"Hello"'), "818537fa213d7f9f4d5158");
  assert.is(hex('"ab"*2 00'), "6162616200");
  assert.throws(() => octetsOf("8 1"), /not in the notation/);
  assert.throws(() => octetsOf('81 "a'), /not in the notation/);
});

cases.run();
