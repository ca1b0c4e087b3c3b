// The pool's queue: which request a thread gets next.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Runner } from "../../host/testing/run";
import type { Link, Threads } from "../../worker/net/transport";
import { VirtualClock } from "../../worker/net/memory";
import type { Peer } from "../../worker/socket/peer";
import { Pool } from "../../worker/place/pool";
import { Pump } from "../../worker/pump/pump";
import type { Task } from "../../worker/place/task";
import { octets } from "../lib/drive";
import { testEngine } from "../lib/wasm";

const queue = suite("pool queue");

/** One thread; its tasks settle when the test says so. */
class OneThread implements Threads {
  onMessage: ((message: unknown) => void) | undefined;
  readonly asked: number[] = [];
  readonly settle: (() => void)[] = [];
  readonly resetTimes = (): void => undefined;
  readonly destroy = async (): Promise<void> => undefined;

  run(task: Task): Promise<unknown> {
    if ("load" in task) return Promise.resolve({ kind: "loaded" });
    this.asked.push(task.id);
    const outcome = { kind: "answer", status: 200, fields: [], body: "", close: false };
    return new Promise((resolve) => this.settle.push(() => resolve(outcome)));
  }

  stats(): ReturnType<Threads["stats"]> {
    return { threads: 1, completed: 0, runTime: { mean: 0, p99: 0, max: 0 } };
  }
}

class Client implements Link {
  readonly remoteAddress = "192.0.2.1";
  readonly end = (): void => undefined;
  readonly pause = this.end;
  readonly resume = this.end;
  readonly reset = this.end;
  readonly destroy = this.end;
  readonly write = (): boolean => true;
}

const REQUEST = octets("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

queue("skips a client that has left, though its handler has not been notified of it", async () => {
  const clock = new VirtualClock();
  const runner = new Runner(clock);
  const pump = new Pump({ engine: testEngine(), clock });
  const thread = new OneThread();
  const pool = new Pool(pump, thread, { threads: 1, backlog: 10, handlerTimeout: 0 });
  pump.place(pool.placement({ request: () => undefined }, "file:///handler.js"));
  const peers = [0, 1, 2].map(() => pump.accept(new Client()) as Peer);
  for (const peer of peers) {
    pump.engine.u8.set(REQUEST, pump.engine.window);
    pump.read(peer, REQUEST.length);
  }
  await runner.settle();
  const [first, left, last] = peers.map((peer) => peer.id);
  assert.equal(thread.asked, [first]);
  assert.is(pool.stats().queueSize, 2);
  // The thread is free, and the client leaves, before the next turn comes.
  thread.settle.shift()?.();
  peers[1]?.lost(undefined);
  await Promise.resolve();
  await runner.settle();
  assert.equal(thread.asked, [first, last], `without ${left}`);
  thread.settle.shift()?.();
  await runner.settle();
  const { running, queueSize } = pool.stats();
  assert.equal({ running, queueSize }, { running: 0, queueSize: 0 });
});

queue.run();
