// Other threads of the application publish through inboxes of their own, without passing the one that
// started the server.

import { Worker } from "node:worker_threads";
import { openPublisher } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Greeted, TEXT, fileUrl, openGreeted, serving, until, within } from "./peer";

const publisher = suite("publisher");

interface Said {
  readonly done?: number;
  readonly refused?: number;
  readonly open?: boolean;
  readonly ended?: number;
}

/** Sends a message to a thread and returns its answer. */
function tell(thread: Worker, message: object, transfer: readonly object[] = []): Promise<Said> {
  const answer = new Promise<Said>((resolve, reject) => {
    thread.once("message", resolve);
    thread.once("error", reject);
  });
  thread.postMessage(message, transfer as never);
  return within(answer, "the thread's answer");
}

/** Opens a client that subscribes to "t"; its greeting is taken. */
async function subscriber(port: number): Promise<Greeted> {
  const client = await openGreeted(port);
  await client.wire.send(TEXT, "sub t").text();
  return client;
}

const thread = (): Worker => new Worker(fileUrl("children/publishing.mjs"));

publisher("two threads and the first one publish: each in its order, nothing lost", async () => {
  const options = { inbox: 65536, slowGrace: 10000, ring: 8388608 };
  await serving("topics", options, async (server, port) => {
    const { wire } = await subscriber(port);
    const threads = [thread(), thread()] as const;
    const count = 4000;
    const jobs = threads.map((one, i) => {
      const handle = server.publisher();
      // Now and then a message is larger than the inbox takes, and goes as a buffer.
      const size = i === 0 ? 100 : 20000;
      return tell(one, { handle, count: i === 0 ? count : 200, size, name: `n${i}` }, [
        handle.port,
      ]);
    });
    for (let i = 0; i < count; i++) {
      while (!server.publish("t", `own ${i} `)) await server.ready();
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const said = await Promise.all(jobs);
    assert.equal(
      said.map(({ done }) => done),
      [count, 200],
    );
    const next: Record<string, number> = { n0: 0, n1: 0, own: 0 };
    for (let got = 0; got < 2 * count + 200; got++) {
      const [name = "", number] = (await wire.text()).split(" ");
      assert.is(Number(number), next[name], `the order of ${name}`);
      next[name] = Number(number) + 1;
    }
    wire.destroy();
    for (const one of threads) await one.terminate();
  });
});

publisher("a blocked application does not hold another thread's messages up", async () => {
  await serving("topics", {}, async (server, port) => {
    const { wire } = await subscriber(port);
    const one = thread();
    const handle = server.publisher();
    await tell(one, { handle, count: 1, size: 10, name: "a" }, [handle.port]);
    assert.match(await wire.text(), /^a 0/);
    const answer = tell(one, { count: 50, size: 10, name: "b" });
    // This thread sleeps; the other one and the server do not.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    await answer;
    const { bytesOut } = await server.stats();
    assert.ok(bytesOut > 50 * 10, "they left meanwhile");
    for (let i = 0; i < 50; i++) assert.match(await wire.text(), new RegExp(`^b ${i} `));
    wire.destroy();
    await one.terminate();
  });
});

publisher("a thread that closes, or dies, is released after its last message", async () => {
  await serving("topics", {}, async (server, port) => {
    const { wire } = await subscriber(port);
    const closing = thread();
    const first = server.publisher();
    const said = await tell(
      closing,
      { handle: first, count: 3, size: 10, name: "c", close: true },
      [first.port],
    );
    assert.is(said.open, false);
    const dying = thread();
    const second = server.publisher();
    await tell(dying, { handle: second, count: 3, size: 10, name: "d" }, [second.port]);
    await dying.terminate();
    const got: string[] = [];
    while (got.length < 6) got.push((await wire.text()).slice(0, 3));
    assert.equal(got.sort(), ["c 0", "c 1", "c 2", "d 0", "d 1", "d 2"]);
    // Later publications are as before.
    server.publish("t", "still here");
    assert.is(await wire.text(), "still here");
    wire.destroy();
    await closing.terminate();
  });
});

publisher("publishes in the same thread by every call; wrong handles are refused", async () => {
  await serving("topics", {}, async (server, port) => {
    const { wire, id } = await subscriber(port);
    using own = openPublisher(server.publisher());
    assert.ok(own.open);
    assert.ok(own.broadcast("all"));
    assert.ok(own.broadcast("but", { except: id }));
    assert.ok(own.send(id, "one"));
    assert.ok(own.subscribe(id, "u"));
    assert.ok(own.stage().text("sta").text("ged").publish("u"));
    assert.ok(own.unsubscribe(id, "u"));
    assert.ok(own.publish("u", "lost"));
    assert.ok(own.closeConnection(id, 4000, "bye"));
    const got = [await wire.text(), await wire.text(), await wire.text()];
    assert.equal(got, ["all", "one", "staged"]);
    assert.is((await wire.next()).payload.readUInt16BE(0), 4000);
    assert.throws(() => own.publish("", "x"), RangeError);
    assert.throws(
      () => openPublisher({} as never),
      /^handle: not a result of server.publisher\(\)$/,
    );
    wire.destroy();
  });
});

publisher("a publisher reports that its server has ended", async () => {
  let own = undefined as ReturnType<typeof openPublisher> | undefined;
  await serving("topics", {}, async (server) => {
    own = openPublisher(server.publisher());
  });
  const gone = own as ReturnType<typeof openPublisher>;
  await until("it is closed", () => !gone.open);
  assert.is(gone.broadcast("x"), false);
  const error = await gone.ready().then(
    () => undefined,
    (thrown: { code?: string }) => thrown,
  );
  assert.is(error?.code, "ERR_SERVER_ENDED");
});

publisher.run();
