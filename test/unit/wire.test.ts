// Data that crosses between the worker and a handler elsewhere: events in batches, fields, and the counters of data in
// flight.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Credit } from "../../host/shared/message/credit";
import { latin1, recentLatin1, viewOf } from "../../host/shared/text/text";
import {
  BatchEvent,
  decodeFields,
  encodeFields,
  readBatch,
  wordAt,
} from "../../host/shared/message/wire";
import { Batch } from "../../worker/place/batch";
import { type Fate, Lane } from "../../worker/place/lane";
import type { Peer } from "../../worker/socket/peer";
import { Random } from "../../host/testing/random";

const wire = suite("wire");

interface Seen {
  readonly kind: number;
  readonly flags: number;
  readonly id: number;
  readonly value: number;
  readonly payload: string;
}

function read(memory: ArrayBuffer): { events: Seen[]; bytes: number } {
  const bytes = viewOf(memory);
  const events: Seen[] = [];
  let sum = 0;
  readBatch(memory, (event, size) => {
    const { kind, flags, id, value, at, length } = event;
    events.push({ kind, flags, id, value, payload: latin1(bytes, at, length) });
    sum += size;
  });
  return { events, bytes: sum };
}

wire("a batch returns its entries, however large it grew, and is used again", () => {
  const random = new Random(7);
  const batch = new Batch();
  let total = 0;
  for (const most of [0, 10, 3000, 100000, 5]) {
    const due: Seen[] = [];
    const count = random.int(1, 100);
    for (let i = 0; i < count; i++) {
      const length = random.int(0, most);
      const payload = String.fromCharCode(97 + (i % 26)).repeat(length);
      const kind = BatchEvent.Request + random.int(0, 11);
      const flags = random.int(0, 7);
      const value = random.int(0, 2 ** 32 - 1);
      const at = batch.begin(kind, flags, i, 3, value, length);
      batch.bytes.set(Buffer.from(payload), at);
      due.push({ kind, flags, id: 3 * 2 ** 20 + i, value, payload });
    }
    assert.is(batch.events, count);
    assert.is(batch.take(Number.POSITIVE_INFINITY, count, 1), count);
    const { events, bytes } = read(batch.taken);
    assert.equal(events, due);
    total += bytes;
    assert.is(batch.total, total, "both sides count the same");
    assert.is(batch.take(Number.POSITIVE_INFINITY, count, 1), 0);
  }
});

wire("whole records are taken from the front of a batch, while others are put in", () => {
  const random = new Random(11);
  const batch = new Batch();
  const due: string[] = [];
  const seen: string[] = [];
  let total = 0;
  for (let step = 0; step < 3000; step++) {
    for (let i = random.int(0, 4); i > 0; i--) {
      const payload = `${due.length} `.repeat(random.int(1, random.int(1, 20) === 1 ? 5000 : 50));
      const at = batch.begin(BatchEvent.Message, 0, 1, 1, 0, payload.length);
      batch.bytes.set(Buffer.from(payload), at);
      due.push(payload);
    }
    const most = random.int(0, 4000);
    const count = random.int(0, 6);
    const least = random.int(0, 1) as 0 | 1;
    const taken = count === 0 ? 0 : batch.take(most, count, least);
    if (taken === 0) continue;
    assert.ok(taken <= count);
    const { events, bytes } = read(batch.taken);
    assert.is(events.length, taken);
    assert.ok(bytes <= most || (least === 1 && taken === 1), `${bytes} bytes of ${most}`);
    seen.push(...events.map(({ payload }) => payload));
    total += bytes;
  }
  while (batch.take(65536, 256, 1) > 0) {
    const { events, bytes } = read(batch.taken);
    seen.push(...events.map(({ payload }) => payload));
    total += bytes;
  }
  assert.equal(seen, due);
  assert.is(batch.events, 0);
  assert.is(batch.total, total);
});

wire("fields are the same on the other side; too much of them is refused", () => {
  const fields = [
    ["Content-Type", "text/plain"],
    ["Set-Cookie", "a=1"],
    ["X-Latin", "\xe9\xff"],
    ["X-Empty", ""],
    ["X-Long", "y".repeat(65535)],
  ] as const;
  const bytes = encodeFields(fields);
  assert.equal(decodeFields(bytes), fields);
  assert.equal(decodeFields(encodeFields([])), []);
  const one = [fields[0]];
  assert.is(encodeFields(one), encodeFields(one), "a single field is encoded once");
  for (const wrong of [[["X", "y".repeat(65536)]], Array(5).fill(fields[4])] as [
    string,
    string,
  ][][])
    assert.throws(
      () => encodeFields(wrong),
      (error: Error) => error instanceof RangeError,
    );
  assert.is(wordAt(new Uint8Array([0, 1, 2, 3, 255]), 1), 0xff030201);
});

wire("a lane loses nothing, keeps the order, and reports each byte once", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const sent: number[] = [];
    let room = 0;
    let queued = 0;
    let closed = 0;
    const lane = new Lane({} as Peer, (bytes): Fate => {
      if (room < bytes.length) return "full";
      room -= bytes.length;
      queued += bytes.length;
      sent.push(bytes[0] as number);
      return "sent";
    });
    const credit = new Credit(1000);
    let n = 0;
    let reported = 0;
    for (let step = 0; step < 200; step++) {
      const what = random.int(0, 2);
      if (what === 0 && !credit.isSpent) {
        const bytes = new Uint8Array(random.int(1, 300)).fill(n++ & 255);
        lane.take(bytes, 0);
        credit.used += bytes.length + 16;
        bytes.fill(0);
      } else if (what === 1) {
        room += random.int(0, 500);
        lane.flush();
        queued = random.int(0, queued);
      } else {
        const free = lane.settle(queued, 250);
        assert.ok(free === 0 || free >= 250);
        reported += free;
        credit.give(free);
      }
      assert.ok(lane.pendingBytes >= queued + lane.keptBytes);
      assert.is(credit.used, lane.pendingBytes);
    }
    lane.afterKept(() => closed++);
    room = 1e9;
    assert.ok(lane.flush());
    assert.is(closed, 1, "what is to come last comes last");
    assert.equal(
      sent,
      Array.from({ length: n }, (_, i) => i & 255),
    );
    reported += lane.settle(0, 0);
    credit.give(lane.pendingBytes);
    assert.equal([lane.pendingBytes, lane.keptBytes], [0, 0]);
    assert.ok(reported > 0);
  }
});

wire("repeated texts are equal, whatever texts come between them", () => {
  const random = new Random(3);
  for (let i = 0; i < 20000; i++) {
    const length = random.int(0, i % 2 === 0 ? 4 : 60);
    const bytes = viewOf(new ArrayBuffer(length + 2));
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.int(0, 3) === 0 ? 0xe9 : 0x61;
    assert.is(recentLatin1(bytes, 1, length), latin1(bytes, 1, length));
  }
});

wire.run();
