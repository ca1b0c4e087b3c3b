// `Stats.lag`: the lag of open WebSockets, counted on request; and the lag that `onEvict` reports.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Outcome } from "../../assembly/abi";
import type { Stats } from "../../host/handler";
import type { Eviction } from "../../host/options/types";
import { createTestServer } from "../../host/testing";
import { Random } from "../../host/testing/random";
import { zlibCodec } from "../../worker/net/zlib";
import { statsOf } from "../../worker/engine/stats";
import { Drive } from "../lib/drive";

const lag = suite("lag");

const KiB = 1024;

const lagOf = ({ engine }: Drive): Stats["lag"] => statsOf(engine).lag;

/** Bytes of a frame that the server sends. */
const frameBytes = (length: number): number =>
  length + (length < 126 ? 2 : length < 65536 ? 4 : 10);

/** Returns the counts for clients with these lags in bytes. */
function counted(bounds: readonly number[], lags: readonly number[]): number[] {
  const counts = bounds.map(() => 0);
  for (const bytes of lags) {
    const index = bounds.findIndex((bound) => bytes <= bound);
    counts[index] = (counts[index] as number) + 1;
  }
  return counts;
}

lag("its bounds are 0, the powers of four from 1 KiB up, and the ring's size", () => {
  const bounds = (RingBytes: number): readonly number[] => lagOf(new Drive({ RingBytes })).bounds;
  assert.equal(bounds(4 * KiB), [0, KiB, 4 * KiB]);
  assert.equal(bounds(8 * KiB), [0, KiB, 4 * KiB, 8 * KiB]);
  assert.equal(bounds(64 * KiB), [0, KiB, 4 * KiB, 16 * KiB, 64 * KiB]);
  assert.equal(bounds(128 * KiB), [0, KiB, 4 * KiB, 16 * KiB, 64 * KiB, 128 * KiB]);
});

/** Plays with who reads and who does not; after each step the counts are those of a model. */
function play(seed: number, steps: number, lengths: readonly number[]): number[] {
  const random = new Random(seed);
  const drive = new Drive({
    ...{ WebSockets: 16, RingBytes: 64 * KiB, Frames: 4096, QueuedFrames: 4096 },
    SlowGrace: 1,
  });
  const wires = Array.from({ length: 12 }, () => drive.webSocket());
  const { bounds } = lagOf(drive);
  const seen = bounds.map(() => 0);
  let published = 0;
  const check = (): void => {
    const open = wires.filter((wire) => !wire.dead);
    const lags = open.map((wire) => published - wire.out.length);
    const { counts } = lagOf(drive);
    assert.equal(counts, counted(bounds, lags), `seed ${seed}: ${lags}`);
    counts.forEach((count, index) => {
      seen[index] = (seen[index] as number) + count;
    });
  };
  for (let i = 0; i < steps; i++) {
    const wire = random.pick(wires);
    const draw = random.next();
    if (draw < 0.7) {
      const length = random.pick(lengths);
      const outcome = drive.publish("x".repeat(length));
      if (outcome === Outcome.Ok) published += frameBytes(length);
      check();
      if (outcome === Outcome.Wait) drive.after(1);
      else drive.flush();
    } else if (wire.dead) continue;
    else if (draw < 0.8) wire.stalled = true;
    else if (draw < 0.9) wire.deliver();
    else if (draw < 0.92) wire.unstall();
    check();
  }
  drive.handle();
  assert.ok(wires.some((wire) => wire.reason === CloseReason.WsClientTooSlow) === published > 1e5);
  drive.end();
  return seen;
}

lag("is exact for clients that stall and resume, of frames of all lengths", () => {
  // Less than a lap: at its end bytes are skipped.
  const seen = play(1, 400, [1, 2, 123, 124, 125, 126, 300]);
  assert.ok(seen.slice(0, 4).every((count) => count > 0));
});

lag("is exact at the bounds, from lap to lap, and when clients are evicted", () => {
  for (const length of [252, 508, 1020]) {
    const seen = play(length, 2000, [length]);
    assert.ok(seen.every((count) => count > 0));
  }
});

lag("counts bytes that were published and not yet handed out, for their receivers", () => {
  const drive = new Drive({ RingBytes: 64 * KiB });
  const [one, two, three] = [drive.webSocket(), drive.webSocket(), drive.webSocket()];
  drive.subscribe(one, "t");
  drive.publish("x".repeat(1020), 0, undefined, two);
  assert.equal(lagOf(drive).counts, [1, 2, 0, 0, 0]);
  drive.turn();
  assert.equal(lagOf(drive).counts, [3, 0, 0, 0, 0]);
  one.stalled = true;
  three.stalled = true;
  drive.publish("x".repeat(4092), 0, "t");
  drive.flush();
  assert.equal(lagOf(drive).counts, [2, 0, 1, 0, 0]);
  drive.end();
});

lag("leaves out closing clients", () => {
  const drive = new Drive({ RingBytes: 64 * KiB });
  const [stays, leaves] = [drive.webSocket(), drive.webSocket()];
  stays.stalled = true;
  leaves.stalled = true;
  drive.publish("x".repeat(2000));
  drive.flush();
  assert.equal(lagOf(drive).counts, [0, 0, 2, 0, 0]);
  leaves.close(1000);
  assert.equal(lagOf(drive).counts, [0, 0, 1, 0, 0]);
  drive.end();
});

lag("an eviction reports the connection's age; the statistics its lag", async () => {
  const evicted: Eviction[] = [];
  const t = createTestServer({
    ...{ ring: 64 * KiB, maxFrames: 1024, socketBuffer: 4096 },
    handler: { request: (_, res) => void res.upgrade() },
    onEvict: (some) => void evicted.push(...some),
  });
  await t.ready;
  await t.clock.advance(500);
  const slow = t.connect();
  await t.clock.advance(1000);
  t.connect();
  slow.pause();
  let furthest = 0;
  let steps = 0;
  while (evicted.length === 0 && steps < 1000) {
    if (t.server.broadcast("x".repeat(1020))) steps++;
    await t.clock.advance(10);
    const { bounds, counts } = (await t.server.stats()).lag;
    assert.equal([bounds.length, bounds[4]], [5, 64 * KiB]);
    // A client that reads has no lag; one that does not has none as long as the socket's buffer takes it.
    const at = counts.findLastIndex((count) => count > 0);
    const due = bounds.map((_, index) => Number(index === 0) + Number(index === at));
    assert.equal(counts, evicted.length > 0 ? [1, 0, 0, 0, 0] : due);
    assert.ok(evicted.length > 0 || at >= furthest, "a client that does not read lags");
    furthest = Math.max(furthest, at);
  }
  assert.is(furthest, 4);
  assert.equal(
    evicted.map(({ cause }) => cause),
    ["WsClientTooSlow"],
  );
  assert.ok(Math.abs((evicted[0]?.age ?? 0) - (1000 + 10 * steps)) <= 10, `${evicted[0]?.age}`);
  await t.close();
});

for (const [first, second] of [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const) {
  const form = (deflate: boolean): string => (deflate ? "a compressed" : "a plain");
  lag(
    `whenFull evict: ${form(first)} reader that stopped before ${form(second)} one makes room`,
    async () => {
      const evicted: Eviction[] = [];
      const t = createTestServer({
        handler: { request: (_, res) => res.upgrade() },
        maxWebSockets: 3,
        whenFull: "evict",
        perMessageDeflate: true,
        codec: zlibCodec,
        socketBuffer: 1024,
        onEvict: (some) => void evicted.push(...some),
      });
      await t.ready;
      // Slots do not decide: the one that reads has the first.
      const clients = [false, second, first].map((deflate) => t.connect("/", { deflate }));
      await t.settle();
      const ids: number[] = [];
      t.server.each((ws) => ids.push(ws.id));
      const [, later, sooner] = clients;
      const publish = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          t.server.broadcast(`${i} `.repeat(2000));
          await t.settle();
        }
      };
      sooner?.pause();
      await publish(100);
      later?.pause();
      await publish(100);
      const newcomer = t.connect("/");
      await t.settle();
      assert.ok(newcomer.isOpen);
      assert.equal(
        evicted.map(({ cause }) => cause),
        ["Evicted"],
      );
      assert.is(evicted[0]?.id, ids[2]);
      await t.close();
    },
  );
}

lag.run();
