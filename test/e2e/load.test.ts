// The ordinary case, for a while: many clients, few messages.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Child, type Reader } from "./child";
import { LIMIT, serving, sleep, until } from "./peer";

const load = suite("load");
const CLIENTS = 1000;
const SIZE = 200;
const INTERVAL = 100;
const COUNT = 200;

load("1,000 clients get 10 messages a second for 20 s and lose none", async () => {
  const readers = new Child("readers");
  try {
    await serving("lifecycle", {}, async (server, port) => {
      readers.tell({ open: { port, clients: CLIENTS, size: SIZE } });
      assert.is(await readers.next(LIMIT), "open");
      const message = Buffer.alloc(SIZE);
      for (let i = 0; i < COUNT; i++) {
        message.writeUInt32BE(i, 0);
        message[SIZE - 1] = i & 255;
        assert.ok(server.broadcast(message));
        // 10 a second.
        await sleep(INTERVAL);
      }
      let clients: Reader[] = [];
      await until("all messages", async () => {
        readers.tell("report");
        clients = await readers.next<Reader[]>(LIMIT);
        return clients.every(({ count, wrong }) => count >= COUNT || wrong !== "");
      });
      assert.is(clients.length, CLIENTS);
      for (const client of clients) assert.equal(client, { count: COUNT, wrong: "", ended: "" });
      const { framesDue, evicted, webSockets } = await server.stats();
      assert.equal([framesDue, evicted, webSockets], [CLIENTS * COUNT, 0, CLIENTS]);
    });
  } finally {
    readers.end();
  }
});

load.run();
