// The cost of slow clients: only their own connections.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Child, type Reader } from "./child";
import { LIMIT, sleep } from "./peer";

const memory = suite("memory");
const MiB = 1048576;
const SIZE = 1024;
const COUNT = (400 * MiB) / SIZE;
const STALLED = 20;
const CLIENTS = 30;
/** Ring, inbox, and what the runtime may take beside them. */
const ALLOWED = 16 * MiB + 8 * MiB + 16 * MiB;

function isUnderWay({ count, wrong, ended }: Reader): boolean {
  return count < COUNT && wrong === "" && ended === "";
}

interface Published {
  readonly before: number;
  readonly peak: number;
  readonly refused: number;
  readonly evictions: string[];
  readonly evicted: number;
  readonly framesPublished: number;
}

memory(
  "20 of 30 clients never read: they are evicted, the others lose nothing, memory does not grow",
  async () => {
    const publisher = new Child("publisher");
    const readers = new Child("readers");
    try {
      const { port } = await publisher.next<{ port: number }>(LIMIT);
      readers.tell({ open: { port, clients: CLIENTS, stalled: STALLED, size: SIZE } });
      assert.is(await readers.next(LIMIT), "open");
      publisher.tell({ publish: { count: COUNT, size: SIZE } });
      const published = await publisher.next<Published>(120000);
      let clients: Reader[] = [];
      const end = Date.now() + LIMIT;
      do {
        readers.tell("report");
        clients = await readers.next<Reader[]>(LIMIT);
        // Clients that have not got all at the end of the time are named below.
        await sleep(50);
      } while (clients.slice(STALLED).some(isUnderWay) && Date.now() < end);
      const grown = published.peak - published.before;
      const mega = (bytes: number): string => (bytes / 1e6).toFixed(1);
      console.log(
        `\n  RSS ${mega(published.before)} MB, at most ${mega(grown)} MB more ` +
          `(allowed: ${mega(ALLOWED)}); the inbox was full ${published.refused} times`,
      );
      for (const client of clients.slice(STALLED))
        assert.equal(client, { count: COUNT, wrong: "", ended: "" });
      for (const client of clients) assert.is(client.wrong, "");
      assert.is(published.framesPublished, COUNT);
      assert.equal(published.evictions, Array(STALLED).fill("WsClientTooSlow"));
      assert.is(published.evicted, STALLED);
      assert.ok(grown <= ALLOWED, `${grown} bytes over the start`);
    } finally {
      publisher.end();
      readers.end();
    }
  },
);

memory.run();
