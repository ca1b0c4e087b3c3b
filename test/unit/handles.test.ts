// Links of Node's transport in every kind of end, as sockets and as handles without sockets: both report the same
// events. Nothing is left after any of them.

import { readFileSync, readdirSync } from "node:fs";
import { Socket } from "node:net";
import * as os from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { nodeTransport } from "../../worker/net/node";
import type { Link } from "../../worker/net/transport";
import { type Accepted, Listening, type LinkEvent, type Where } from "../lib/listening";
import { sleep, until } from "../lib/wait";

/** More than the kernel accepts for a client that does not read, so that a write is pending. */
const LARGE = 16 << 20;

/** Keep-alive probes that every runtime can send. */
const PROBES = { idle: 60, interval: 1, count: 10 };

/** Time (ms) in which an event that must not happen would have happened. */
const MOMENT = 50;

let names = 0;

/** Handles of connections and listeners that this process has. Its output may be pipes, too. */
function handles(): number {
  const names = process.getActiveResourcesInfo();
  return names.filter((name) => /^(?:TCP|Pipe).*Wrap$/.test(name)).length;
}

/** Descriptors that this process has. */
function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Returns the error codes with which the kernel may report a client that has gone, one of which is expected. */
function isLoss(what: LinkEvent | undefined): boolean {
  return what === "lost ECONNRESET" || what === "lost EPIPE";
}

function refuse(link: Link): boolean {
  link.reset();
  return false;
}

function pause(link: Link): boolean {
  link.pause();
  return true;
}

interface Place {
  readonly held: "sockets" | "handles";
  readonly on: "TCP" | "Unix";
}

/** Runs a test with a listener of its own. Afterwards no handle and no descriptor may be left. */
async function listening(
  { held, on }: Place,
  where: Where,
  body: (listening: Listening) => Promise<void>,
): Promise<void> {
  const before = { handles: handles(), descriptors: descriptors() };
  const unix = { path: path.join(os.tmpdir(), `ringcast-${process.pid}-${names++}.sock`) };
  const own = await Listening.open(
    { handles: held === "handles" },
    { ...(on === "Unix" ? unix : {}), ...where },
  );
  assert.is(own.transport, held);
  try {
    await body(own);
  } catch (error) {
    // Its leftovers must not fail the tests that follow.
    own.abandon();
    throw error;
  } finally {
    own.close();
  }
  await until("no handles are left", () => handles() === before.handles);
  assert.is(descriptors(), before.descriptors);
}

const endings = suite("endings");

endings.before(async () => {
  // Node opens them when they are first used.
  assert.ok(process.stdout && process.stderr);
  // The trial of handles runs once, with handles of its own.
  const before = handles();
  const first = await Listening.open({ handles: true });
  first.close();
  await until("the end of the trial", () => handles() === before);
});

for (const held of ["sockets", "handles"] as const) {
  for (const on of ["TCP", "Unix"] as const) {
    const place = { held, on };
    const test = (name: string, body: (own: Listening) => Promise<void>, where: Where = {}): void =>
      endings(`${held}, ${on}: ${name}`, () => listening(place, where, body));

    test("bytes are read into the window, and written", async (own) => {
      const { link, client, events, read, received } = await own.connect();
      client.write("hello");
      await until("a read", () => events.length > 0);
      assert.equal(events, [5]);
      assert.is(read(), "hello");
      assert.ok(link.write(Buffer.from("answer")));
      await until("an answer", () => received() === "answer");
      link.destroy();
      await until("an end", () => client.readableEnded);
      client.destroy();
      assert.equal(events, [5]);
    });

    test("a client that has ended its side gets its answer, and both ends end in order", async (own) => {
      const { link, client, events, received } = await own.connect();
      client.end("request");
      await until("an end", () => events.includes("ended"));
      assert.equal(events, [7, "ended"]);
      assert.ok(link.write(Buffer.from("answer")));
      link.end();
      await until("a loss", () => events.length > 2);
      assert.equal(events, [7, "ended", "lost "]);
      await until("an answer", () => client.readableEnded);
      assert.is(received(), "answer");
    });

    test("a server that ends first still reads, and its link ends with the client's side", async (own) => {
      const { link, client, events, read } = await own.connect();
      link.end();
      await until("an end", () => client.readableEnded);
      client.write("late");
      await until("a read", () => read() === "late");
      client.end();
      await until("a loss", () => events.length > 2);
      assert.equal(events, [4, "ended", "lost "]);
    });

    test("an end while reading is paused is noticed when it continues", async (own) => {
      const { link, client, events } = await own.connect();
      link.pause();
      client.end("bytes");
      // Nothing may be reported meanwhile.
      await sleep(MOMENT);
      assert.equal(events, []);
      link.resume();
      link.resume();
      await until("an end", () => events.length > 1);
      assert.equal(events, [5, "ended"]);
      link.pause();
      link.resume();
      // A second end may not be reported.
      await sleep(MOMENT);
      assert.equal(events, [5, "ended"]);
      link.destroy();
    });

    test(
      "a link that is destroyed within a read reads no more",
      async (own) => {
        const { client, events } = await own.connect();
        client.write(Buffer.alloc(LARGE));
        await until("an end", () => client.destroyed || client.readableEnded || events.length > 0);
        // More reads would follow at once.
        await sleep(MOMENT);
        assert.is(events.length, 1);
        client.destroy();
      },
      { event: (link) => link.destroy() },
    );

    test("a pending write is complete once, when the client has read it", async (own) => {
      const { link, client, events, received } = await own.connect();
      client.pause();
      const bytes = Buffer.alloc(LARGE, "0123456789");
      assert.ok(link.write(Buffer.from("first ")));
      assert.not(link.write(bytes));
      // It is not complete while the client does not read.
      await sleep(MOMENT);
      assert.equal(events, []);
      client.resume();
      await until("all bytes", () => client.bytesRead === LARGE + 6);
      await until("a completion", () => events.length > 0);
      assert.ok(received() === `first ${bytes.toString("latin1")}`);
      assert.ok(link.write(Buffer.from("last")));
      link.end();
      await until("an end", () => client.readableEnded);
      assert.ok(received().endsWith("last"));
      assert.equal(events, ["written"]);
      client.end();
      await until("a loss", () => events.length > 2);
      assert.equal(events, ["written", "ended", "lost "]);
    });

    test("a write of some bytes tells how many the kernel has, and holds none", async (own) => {
      const { link, client, events, received } = await own.connect();
      const bytes = Buffer.alloc(65536, "0123456789abcdef");
      if (held === "sockets" || process.platform !== "linux") {
        assert.is(link.writeSome?.(bytes), undefined);
        link.destroy();
        client.destroy();
        return;
      }
      client.pause();
      let sent = 0;
      let taken: number | undefined = bytes.length;
      while (taken === bytes.length) {
        taken = link.writeSome?.(bytes);
        sent += taken ?? 0;
        assert.ok(sent < LARGE);
      }
      assert.is.not(taken, undefined);
      assert.is(link.writeSome?.(bytes), 0);
      // Only this write holds bytes.
      assert.not(link.write(bytes.subarray((taken ?? 0) % 16, 512)));
      sent += 512 - ((taken ?? 0) % 16);
      assert.is(link.writeSome?.(bytes), undefined);
      // It is not complete while the client does not read.
      await sleep(MOMENT);
      assert.equal(events, []);
      client.resume();
      await until("a completion", () => events.length > 0);
      await until("all bytes", () => client.bytesRead === sent);
      assert.is(link.writeSome?.(bytes), bytes.length);
      link.end();
      await until("an end", () => client.readableEnded);
      const all = "0123456789abcdef".repeat((sent + bytes.length) / 16);
      assert.ok(received() === all);
      assert.equal(events, ["written"]);
      link.destroy();
      assert.is(link.writeSome?.(bytes), undefined);
      client.destroy();
    });

    test("a write of some bytes to a client that has left is no write", async (own) => {
      const { link, client, events } = await own.connect();
      link.pause();
      if (on === "TCP") client.resetAndDestroy();
      else client.destroy();
      await until("a failing write", () => !(link.writeSome?.(Buffer.from("x")) ?? 0));
      // The usual write reports it, after the call.
      assert.not(link.write(Buffer.from("y")));
      await until("a loss", () => events.length > 0);
      assert.is(events.length, 1);
      assert.ok(isLoss(events[0]), String(events));
    });

    test("an end during a pending write follows its last byte", async (own) => {
      const { link, client, events } = await own.connect();
      client.pause();
      assert.not(link.write(Buffer.alloc(LARGE)));
      link.end();
      client.resume();
      await until("an end", () => client.readableEnded);
      assert.is(client.bytesRead, LARGE);
      assert.equal(events, ["written"]);
      client.end();
      await until("a loss", () => events.includes("lost "));
    });

    for (const how of ["destroy", "reset"] as const) {
      test(`${how} during a pending write releases the bytes, and reports nothing`, async (own) => {
        const { link, client, events, received } = await own.connect();
        client.pause();
        const bytes = Buffer.alloc(LARGE, "a");
        assert.not(link.write(bytes));
        link[how]();
        bytes.fill("b");
        client.resume();
        await until("an end", () => client.readableEnded || client.destroyed);
        assert.ok(client.bytesRead < LARGE);
        assert.not.match(received(), /b/);
        assert.equal(events, []);
        link.destroy();
        link.reset();
        assert.not(link.write(Buffer.from("late")));
        client.destroy();
      });

      test(`${how} after an end during a pending write leaves nothing`, async (own) => {
        const { link, client, events } = await own.connect();
        client.pause();
        assert.not(link.write(Buffer.alloc(LARGE)));
        link.end();
        link[how]();
        client.resume();
        await until("an end", () => client.readableEnded || client.destroyed);
        assert.ok(client.bytesRead < LARGE);
        assert.equal(events, []);
        client.destroy();
      });
    }

    test(
      "a client that resets is a loss, reported once",
      async (own) => {
        const { client, events } = await own.connect();
        if (on === "TCP") client.resetAndDestroy();
        else client.destroy();
        await until("an end", () => events.length > 0);
        assert.equal(events, [on === "TCP" ? "lost ECONNRESET" : "ended"]);
      },
      { event: (link, what) => what === "ended" && link.destroy() },
    );

    test(
      "a client that resets after bytes is a loss",
      async (own) => {
        const { client, events } = await own.connect();
        await new Promise((resolve) => client.write("bytes", resolve));
        if (on === "TCP") client.resetAndDestroy();
        else client.destroy();
        await until("an end", () => events.some((what) => typeof what !== "number"));
        assert.is(events.at(-1), on === "TCP" ? "lost ECONNRESET" : "ended");
      },
      { event: (link, what) => what === "ended" && link.destroy() },
    );

    test("a client that leaves during a pending write is a loss, reported once", async (own) => {
      const { link, client, events } = await own.connect();
      client.pause();
      assert.not(link.write(Buffer.alloc(LARGE)));
      if (on === "TCP") client.resetAndDestroy();
      else client.destroy();
      await until("a loss", () => events.some((what) => String(what).startsWith("lost")));
      // Another report would follow at once.
      await sleep(MOMENT);
      const losses = events.filter((what) => String(what).startsWith("lost"));
      assert.is(losses.length, 1, String(events));
      assert.ok(isLoss(losses[0]), String(events));
      assert.not(events.includes("written"));
    });

    test("a write to a client that has left while reading was paused is a loss, after the call", async (own) => {
      const { link, client, events } = await own.connect();
      link.pause();
      if (on === "TCP") client.resetAndDestroy();
      else client.destroy();
      await until("a failing write", () => {
        const isThrough = events.length > 0 || link.write(Buffer.from("x"));
        // It is not reported within the call of the pump.
        if (!isThrough) assert.equal(events, []);
        return !isThrough;
      });
      assert.not(link.write(Buffer.from("y")));
      await until("a loss", () => events.length > 0);
      // Another report would follow at once.
      await sleep(MOMENT);
      assert.is(events.length, 1);
      assert.ok(isLoss(events[0]), String(events));
    });

    test(
      "a refused connection is closed",
      async (own) => {
        const { client, events, code } = await own.connect();
        await until("an end", () => client.readableEnded || client.destroyed);
        if (on === "TCP") assert.is(code(), "ECONNRESET");
        assert.equal(events, []);
        client.destroy();
      },
      { accepting: refuse },
    );

    test(
      "a link that is paused while it is accepted reads nothing until it is resumed",
      async (own) => {
        const { link, client, events } = await own.connect();
        client.write("hello");
        // Nothing may be read meanwhile.
        await sleep(MOMENT);
        if (held === "handles") assert.equal(events, []);
        link.resume();
        await until("a read", () => events.length > 0);
        assert.equal(events, [5]);
        link.destroy();
        client.destroy();
      },
      { accepting: pause },
    );

    test("the memory of a handle is given back in every kind of end", async (own) => {
      const ends: ((one: Accepted) => void)[] = [
        ({ client }) => client.end(),
        ({ client }) => client.destroy(),
        ({ client }) => client.resetAndDestroy?.(),
        ({ link }) => link.end(),
        ({ link }) => link.reset(),
        ({ link, client }) => {
          link.end();
          client.end();
        },
        ({ link, client }) => {
          client.pause();
          link.write(new Uint8Array(LARGE));
          client.destroy();
        },
        ({ link, client }) => {
          link.pause();
          client.destroy();
          link.write(Buffer.from("x"));
          link.resume();
        },
      ];
      for (let i = 0; i < 5; i++) {
        for (const end of on === "TCP" ? ends : ends.filter((_, j) => j !== 2)) {
          const one = await own.connect();
          end(one);
          // Then the other side ends as well, as the pump and its clients do.
          await sleep(1);
          one.client.destroy();
          one.link.destroy();
        }
      }
    });
  }

  endings(`${held}: an address is the one that the kernel reports`, async () => {
    const seen = async (hostname: string, to: object): Promise<string> => {
      let address = "";
      await listening({ held, on: "TCP" }, { hostname }, async (own) => {
        const { link, client } = await own.connect(to);
        address = link.remoteAddress;
        link.destroy();
        client.destroy();
      });
      return address;
    };
    assert.is(await seen("127.0.0.1", { localAddress: "127.0.0.3" }), "127.0.0.3");
    assert.is(await seen("127.0.0.1", {}), "127.0.0.1");
    assert.is(
      await seen("0.0.0.0", { host: "127.0.0.1", localAddress: "127.255.0.254" }),
      "127.255.0.254",
    );
    assert.is(await seen("::", { host: "127.0.0.1" }), "::ffff:127.0.0.1");
    assert.is(await seen("::1", {}), "::1");
  });

  endings(
    `${held}: the address is known after the client has reset, and on a Unix socket empty`,
    async () => {
      await listening({ held, on: "TCP" }, {}, async (own) => {
        const { link, client, events } = await own.connect();
        client.resetAndDestroy();
        await until("a loss", () => events.length > 0);
        assert.is(link.remoteAddress, "127.0.0.1");
      });
      await listening({ held, on: "Unix" }, {}, async (own) => {
        const { link, client } = await own.connect();
        assert.is(link.remoteAddress, "");
        link.destroy();
        client.destroy();
      });
    },
  );

  if (process.platform === "linux") {
    endings(`${held}: TCP keep-alive is on when it is asked for`, async () => {
      for (const keepAlive of [undefined, PROBES]) {
        await listening({ held, on: "TCP" }, keepAlive ? { keepAlive } : {}, async (own) => {
          const { link, client } = await own.connect();
          const port = own.port.toString(16).toUpperCase().padStart(4, "0");
          const lines = readFileSync("/proc/self/net/tcp", "utf8").split("\n");
          const line = lines.find((one) => one.includes(`: 0100007F:${port} `) && / 01 /.test(one));
          // The timer that is running: 02 is keep-alive's.
          assert.is(/ (0\d):[\dA-F]{8} /.exec(line ?? "")?.[1], keepAlive ? "02" : "00", line);
          link.destroy();
          client.destroy();
        });
      }
    });

    endings(`${held}: the details of TCP keep-alive are set, or refused by name`, async () => {
      const keepAlive = { idle: 60, interval: 7, count: 4 };
      if (Socket.prototype.setKeepAlive.length < 4) {
        const why = "this runtime cannot set it; newer versions of Node 24 and 26 can";
        const opened: string[] = [];
        for (const details of [{ interval: 7 }, { count: 4 }, {}]) {
          const where = { keepAlive: { ...PROBES, ...details } };
          const opening = listening({ held, on: "TCP" }, where, async () => undefined);
          opened.push(await opening.then(() => "it listens", String));
        }
        assert.equal(opened, [
          `TypeError: tcpKeepAliveInterval: 7000: ${why}`,
          `TypeError: tcpKeepAliveCount: 4: ${why}`,
          "it listens",
        ]);
        return;
      }
      await listening({ held, on: "TCP" }, { keepAlive }, async (own) => {
        const { link, client } = await own.connect();
        // Handles have one class, whichever side they are of.
        const { _handle: handle } = client as unknown as { _handle: object };
        const type = Object.getPrototypeOf(handle) as { setKeepAlive(...all: unknown[]): number };
        const plain = type.setKeepAlive;
        const calls: unknown[][] = [];
        type.setKeepAlive = function (...all) {
          calls.push([...all, plain.apply(this, all)]);
          return 0;
        };
        try {
          const other = await own.connect();
          assert.equal(calls.at(-1), [true, 60, 7, 4, 0], "with the kernel's result");
          other.link.destroy();
          other.client.destroy();
        } finally {
          type.setKeepAlive = plain;
        }
        link.destroy();
        client.destroy();
      });
    });

    endings(`${held}: the send queue of a connection can be read`, async () => {
      await listening({ held, on: "TCP" }, {}, async (own) => {
        const { link, client } = await own.connect();
        const queues = nodeTransport().queues as NonNullable<
          ReturnType<typeof nodeTransport>["queues"]
        >;
        client.pause();
        link.write(new Uint8Array(LARGE));
        const found = await new Promise<readonly unknown[] | undefined>((resolve) =>
          queues([link], resolve),
        );
        const [queue] = found as [{ bytes: number; answers: boolean } | undefined];
        assert.ok(queue && queue.bytes > 0 && queue.answers);
        link.reset();
        assert.equal(await new Promise((resolve) => queues([link], resolve)), [undefined]);
        client.destroy();
      });
    });
  }
}

endings.run();
