// The publisher's wait for readers that make progress: one budget of SlowGrace for all of them, renewed by each half
// ring that is published. Rule "Who pays" of the ring, seen from the publisher.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Outcome } from "../../assembly/abi";
import { Drive, type Wire } from "../lib/drive";

const wait = suite("wait");

const RING = 65536;
const GRACE = 250;
/** ms between two completions of a reader that drips. */
const DRIP = 100;

interface Crowd {
  readonly drive: Drive;
  readonly good: readonly Wire[];
  readonly slow: readonly Wire[];
}

function crowd(good: number, slow: number): Crowd {
  const drive = new Drive({
    ...{ Connections: 8, WebSockets: good + slow, RingBytes: RING, RunBytes: 1024 },
    ...{ Frames: 1024, QueuedFrames: 1024, SlowGrace: GRACE, IdleTimeout: 0 },
    ...{ WriteTimeout: 1e6, ReplyPoolBytes: 1048576 },
  });
  const open = (count: number): Wire[] => Array.from({ length: count }, () => drive.webSocket());
  const all = { drive, good: open(good), slow: open(slow) };
  for (const wire of all.slow) wire.stalled = true;
  return all;
}

/** The publisher's waits, in ms: the longest, and all of them. */
interface Waits {
  longest: number;
  total: number;
}

/** Publishes rings full of messages while the slow readers drip. */
function publish({ drive, slow }: Crowd, rings: number): Waits {
  const waits = { longest: 0, total: 0 };
  const body = "x".repeat(1020);
  for (let at = 0; at < rings * RING; at += 1024) {
    let waited = 0;
    while (drive.publish(body) === Outcome.Wait) {
      drive.after(10);
      waited += 10;
      // Each completes one run of a KiB in its turn.
      slow.forEach((wire, i) => {
        if (!wire.dead && (drive.now + i * 10) % DRIP === 0) wire.deliver();
      });
      if (waited > 1e5) assert.unreachable("the publisher waits for ever");
    }
    drive.flush();
    waits.longest = Math.max(waits.longest, waited);
    waits.total += waited;
  }
  return waits;
}

wait("40 readers that drip stop 100 others for one slowGrace in each half ring", () => {
  const all = crowd(100, 40);
  const rings = 4;
  const { longest, total } = publish(all, rings);
  assert.ok(longest > 0, "they were waited for");
  assert.ok(longest <= GRACE + 10, `a wait of ${longest} ms`);
  assert.ok(total <= rings * 2 * (GRACE + 10), `waits of ${total} ms`);
  assert.ok(all.good.every((wire) => !wire.dead));
  all.drive.end();
});

wait(
  "when most clients lag, the wait is a slowGrace longer, and then the furthest are evicted",
  () => {
    const all = crowd(2, 10);
    const rings = 4;
    const { total } = publish(all, rings);
    assert.ok(total > GRACE + 10, `waits of ${total} ms`);
    assert.ok(total <= rings * 2 * (2 * GRACE + 10), `waits of ${total} ms`);
    assert.ok(all.slow.some((wire) => wire.dead));
    assert.ok(all.good.every((wire) => !wire.dead));
    all.drive.end();
  },
);

wait("a reader without progress is evicted at once and stops no other", () => {
  const all = crowd(5, 1);
  all.drive.publish("x");
  all.drive.flush();
  all.drive.after(GRACE);
  const [dead] = all.slow as [Wire];
  const body = "x".repeat(1020);
  for (let at = 0; at < 2 * RING; at += 1024) {
    assert.is(all.drive.publish(body), Outcome.Ok);
    all.drive.flush();
  }
  assert.is(dead.log.at(-1), "closed WsClientTooSlow");
  all.drive.end();
});

wait.run();
