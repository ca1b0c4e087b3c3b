// Flush passes of more rows than the table has: everybody gets everything once, whatever happens between two tables.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CloseReason,
  ROW_BYTES,
  ROW_KIND,
  ROW_LENGTH,
  ROW_LIMIT,
  ROW_OFFSET,
  ROW_SLOT,
  ROW_STATE,
  RowState,
} from "../../assembly/abi";
import { Drive, type Wire } from "../drive";
import { lines } from "../frame";

const flush = suite("flush");

const CLIENTS = 2 * ROW_LIMIT + 100;

const got = (wire: Wire): string[] => lines(wire.take());

function start(): [Drive, Wire[]] {
  const drive = new Drive({
    WebSockets: CLIENTS,
    RingBytes: 65536,
    Topics: 4,
    Subscriptions: CLIENTS,
    ReplyPoolBytes: 1 << 23,
  });
  return [drive, Array.from({ length: CLIENTS }, () => drive.webSocket())];
}

/** A whole pass; `between` runs after each table. Returns the rows of each. */
function pass(drive: Drive, between: (table: number) => void): number[] {
  const { engine } = drive;
  const { u32, x } = engine;
  const bySlot = new Map(drive.wires.map((wire) => [wire.slot, wire]));
  const tables: number[] = [];
  for (let count = x.flush(0); count > 0; count = x.flush(0)) {
    for (let i = 0; i < count; i++) {
      const at = engine.rows + i * (ROW_BYTES >>> 2);
      const field = (offset: number): number => u32[at + (offset >>> 2)] as number;
      const row = {
        kind: field(ROW_KIND),
        offset: field(ROW_OFFSET),
        length: field(ROW_LENGTH),
        body: 0,
      };
      const wire = bySlot.get(field(ROW_SLOT)) as Wire;
      if (wire.stalled) {
        wire.pending = row;
      } else {
        wire.write(row);
        u32[at + (ROW_STATE >>> 2)] = RowState.Complete;
      }
    }
    tables.push(count);
    between(tables.length);
  }
  drive.handle();
  drive.check();
  return tables;
}

flush("broadcasts fill the table as often as it takes", () => {
  const [drive, wires] = start();
  drive.publish("one");
  drive.publish("two");
  assert.equal(
    pass(drive, () => undefined),
    [ROW_LIMIT, ROW_LIMIT, 100],
  );
  for (const wire of wires) assert.equal(got(wire), ["text one", "text two"]);
  drive.end();
});

flush(
  "clients that end, or begin to, between two tables are neither skipped nor written twice",
  () => {
    const [drive, wires] = start();
    const { x, scratch } = drive.engine;
    const ended = [0, 1, 300, 700, CLIENTS - 1].map((i) => wires[i] as Wire);
    const closing = [2, 301, 701, CLIENTS - 2].map((i) => wires[i] as Wire);
    drive.publish("one");
    drive.publish("two");
    pass(drive, (table) => {
      if (table !== 1) return;
      for (const { slot, generation } of ended) {
        x.terminate(slot, generation, CloseReason.PeerReset);
      }
      for (const { slot, generation } of closing) {
        x.close(slot, generation, 1000, scratch, 0, CloseReason.Application);
      }
    });
    for (const wire of wires) {
      const lost = ended.includes(wire);
      const all = ["text one", "text two", ...(closing.includes(wire) ? ["close 1000"] : [])];
      const written = got(wire);
      if (lost && written.length === 0) continue;
      assert.equal(written, all, `slot ${wire.slot}`);
    }
    drive.end();
  },
);

flush("who does not read, and who has more to get, is served beside the others", () => {
  const [drive, wires] = start();
  const subscribers = wires.filter((_, i) => i % 3 === 0);
  const stalled = wires.filter((_, i) => i % 7 === 0);
  for (const wire of subscribers) drive.subscribe(wire, "t");
  for (const wire of stalled) wire.stalled = true;
  for (let round = 0; round < 3; round++) {
    drive.publish(`all ${round}`);
    drive.publish(`t ${round}`, 0, "t");
    for (const wire of wires.filter((_, i) => i % 5 === 0)) wire.push(`own ${round}`);
    drive.publish(`end ${round}`);
    pass(drive, () => undefined);
  }
  for (const wire of stalled) wire.unstall();
  wires.forEach((wire, i) => {
    const wanted = [0, 1, 2].flatMap((round) => [
      `text all ${round}`,
      ...(i % 3 === 0 ? [`text t ${round}`] : []),
      ...(i % 5 === 0 ? [`text own ${round}`] : []),
      `text end ${round}`,
    ]);
    assert.equal(got(wire), wanted, `client ${i}`);
  });
  drive.end();
});

flush.run();
