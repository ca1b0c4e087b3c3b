// 10,000 clients and a million messages in memory, twice: the same log, each time within a minute.

import { type Random, type TestServer, createTestServer } from "ringcast/testing";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const million = suite("million");
const CLIENTS = 10000;
const MESSAGES = 1000000;
/** Most of a core's time for a run, in ms: a machine that is busy with other things is no reason to fail. */
const LIMIT = 60000;

/** A hash of lines that any change of a character changes (FNV-1a, two halves). */
class Hash {
  #low = 0x811c9dc5;
  #high = 0x01000193;

  add(line: string): void {
    for (let i = 0; i < line.length; i++) {
      const c = line.charCodeAt(i);
      this.#low = Math.imul(this.#low ^ c, 0x01000193);
      this.#high = Math.imul(this.#high ^ (c + i), 0x85ebca6b);
    }
  }

  get value(): string {
    const hex = (half: number): string => (half >>> 0).toString(16).padStart(8, "0");
    return hex(this.#low) + hex(this.#high);
  }
}

interface Outcome {
  readonly hash: string;
  readonly messages: number;
  readonly evicted: number;
  readonly ms: number;
}

function cpuSince(started: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

/** Clients that echo, subscribe, read slowly, stop, and go; and publications to all of them. */
async function script(t: TestServer, random: Random): Promise<number> {
  const clients = Array.from({ length: CLIENTS }, (_, i) => t.connect(`/${i % 16}`));
  await t.settle();
  assert.is((await t.server.stats()).webSockets, CLIENTS);
  for (const client of clients.slice(0, 50)) client.throttle(random.int(100, 5000));
  for (const client of clients.slice(50, 60)) client.pause();
  for (let round = 0; ; round++) {
    for (let i = 0; i < 4; i++)
      t.server.broadcast(`round ${round} ${i} ${random.next()}`.padEnd(400));
    for (let i = 0; i < 16; i++) t.server.publish(`topic ${i}`, "x".repeat(random.size(1000)));
    for (let i = 0; i < 500; i++) {
      const client = random.pick(clients);
      const options = random.chance(0.2) ? ({ split: "random" } as const) : {};
      if (client.isOpen) client.send(`echo ${round} ${random.size(100000)}`, options);
    }
    const leaving = random.pick(clients);
    if (random.chance(0.5)) leaving.reset();
    else if (leaving.isOpen) leaving.close(1000 + round);
    await t.clock.advance(random.int(1, 100));
    const messages = clients.reduce((sum, client) => sum + client.messages.length, 0);
    if (messages >= MESSAGES) return messages;
  }
}

async function run(seed: number): Promise<Outcome> {
  const started = process.cpuUsage();
  const t = createTestServer({
    ...{ seed, maxConnections: CLIENTS, maxWebSockets: CLIENTS, ring: 32768, socketBuffer: 4096 },
    handler: {
      request: (req, res) => res.upgrade({ data: req.path.slice(1) }),
      open: (ws) => void ws.subscribe(`topic ${ws.data}`),
      async message(ws, data) {
        await Promise.resolve();
        ws.send(data);
      },
    },
  });
  const messages = await script(t, t.random);
  const { evicted } = await t.server.stats();
  await t.close();
  const hash = new Hash();
  for (const line of t.log()) hash.add(line);
  return { hash: hash.value, messages, evicted, ms: cpuSince(started) };
}

million("10,000 clients and a million messages, within a minute, the same twice", async () => {
  const one = await run(7);
  console.log(one);
  assert.ok(one.messages >= MESSAGES);
  assert.ok(one.evicted > 0, "some are too slow");
  assert.ok(one.ms < LIMIT, `${one.ms} ms`);
  const two = await run(7);
  assert.equal([two.hash, two.messages, two.evicted], [one.hash, one.messages, one.evicted]);
});

million.run();
