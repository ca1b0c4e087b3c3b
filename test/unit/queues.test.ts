// Send queues as Linux tells them in /proc/self/net/tcp and tcp6: addresses as the tables have them, lines of any
// length, and real sockets.

import { once } from "node:events";
import * as net from "node:net";
import { endianness } from "node:os";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Link, SendQueue } from "../../worker/net/transport";
import { type Ends, findQueues, keyOf, procQueues } from "../../worker/net/queues";
import { until, within } from "../lib/wait";

const queues = suite("queues");

const ends = (local: string, remote: string): Ends => ({
  ...{ localAddress: local, localPort: 8080, remoteAddress: remote, remotePort: 50000 },
});

queues("addresses are words of the machine's own order, ports are not", () => {
  if (endianness() !== "LE") return;
  assert.equal(keyOf(ends("127.0.0.1", "10.1.2.3")), {
    ...{ table: 0, key: "0100007F:1F90 0302010A:C350" },
  });
  const six = (address: string): string | undefined => keyOf(ends("::1", address))?.key;
  const local = "00000000000000000000000001000000:1F90";
  assert.is(six("::1"), `${local} 00000000000000000000000001000000:C350`);
  assert.is(six("2001:db8::2:1%eth0"), `${local} B80D0120000000000000000001000200:C350`);
  assert.is(six("::ffff:127.0.0.1"), `${local} 0000000000000000FFFF00000100007F:C350`);
  assert.is(six("1:2:3:4:5:6:7:8"), `${local} 02000100040003000600050008000700:C350`);
  assert.is(keyOf({}), undefined);
});

const line = (
  n: number,
  port: string,
  queued: string,
  again = "00000000",
  uid = "    0",
  probes = "       0",
): string =>
  [
    `${String(n).padStart(4)}: 0100007F:1F90 0100007F:${port} 01 ${queued}:00000007 04:0000003E ${again}`,
    `${uid} ${probes} 4711 2 0000000000000000 20 4 24 10 -1\n`,
  ].join(" ");

const table = (...lines: string[]): string =>
  `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n${lines.join("")}`;

queues("lines are found by both ends, whatever their numbers' lengths", () => {
  const text = table(line(0, "C350", "00000010"), line(99999, "C351", "0001A000"));
  const wanted = new Map([
    ["0100007F:1F90 0100007F:C351", 0],
    ["0100007F:1F90 0100007F:C352", 1],
  ]);
  const found = [undefined, undefined];
  findQueues(text, 0, wanted, found);
  assert.equal(found, [{ bytes: 0x1a000, answers: true }, undefined]);
  findQueues("", 0, wanted, found);
  assert.equal(found, [{ bytes: 0x1a000, answers: true }, undefined]);
});

queues("a peer that leaves three probes or retransmissions unanswered is known to", () => {
  const answers = (again: string, uid: string, probes: string): boolean | undefined => {
    const found: (SendQueue | undefined)[] = [undefined];
    const wanted = new Map([["0100007F:1F90 0100007F:C350", 0]]);
    findQueues(table(line(0, "C350", "00000010", again, uid, probes)), 0, wanted, found);
    return found[0]?.answers;
  };
  assert.is(answers("00000000", "    0", "       0"), true);
  assert.is(answers("00000002", "    0", "       2"), true);
  assert.is(answers("00000000", "    0", "       3"), false);
  assert.is(answers("0000000A", "    0", "       0"), false);
  assert.is(answers("00000000", "4294967294", "      12"), false);
});

/** Listens, calls `run`, and closes whatever is open then. Without IPv6 on the machine it does nothing. */
async function withServer(
  host: string,
  run: (connect: () => Promise<{ client: net.Socket; socket: net.Socket }>) => Promise<void>,
): Promise<void> {
  const server = net.createServer({ pauseOnConnect: true });
  const isListening = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(0, host, () => resolve(true));
  });
  if (!isListening) return;
  const all: net.Socket[] = [];
  const connect = async (): Promise<{ client: net.Socket; socket: net.Socket }> => {
    const accepted = once(server, "connection");
    const client = net.connect({ host, port: (server.address() as net.AddressInfo).port });
    client.pause();
    const [socket] = (await within(accepted, "a connection")) as [net.Socket];
    all.push(client, socket);
    return { client, socket };
  };
  try {
    await run(connect);
  } finally {
    for (const socket of all) socket.destroy();
    server.close();
  }
}

/** Returns the bytes of sockets' queues: −1 for one that is not found, −2 when none can be read. */
function bytesOf(sockets: readonly net.Socket[]): Promise<number[]> {
  const reading = new Promise<number[]>((resolve) => {
    procQueues((link) => link as unknown as net.Socket)(
      sockets as unknown as readonly Link[],
      (found) => resolve(sockets.map((_, i) => (found ? (found[i]?.bytes ?? -1) : -2))),
    );
  });
  return within(reading, "a reading");
}

for (const host of process.platform === "linux" ? ["127.0.0.1", "::1"] : []) {
  queues(`a real socket's queue is read: ${host}`, () =>
    withServer(host, async (connect) => {
      const { client, socket } = await connect();
      const read = async (): Promise<number> => (await bytesOf([socket]))[0] ?? -1;
      assert.is(await read(), 0);
      const written = new Promise<unknown>((resolve) => {
        socket.write(Buffer.alloc(32 * 1048576), resolve);
      });
      await until("queued bytes", async () => (await read()) > 0);
      client.resume();
      await within(written, "the completion of a write");
      await until("an empty queue", async () => (await read()) === 0);
      const closed = once(socket, "close");
      client.destroy();
      socket.destroy();
      await within(closed, "the end of a socket");
      assert.is(await read(), -1, "a socket that is gone has none");
    }),
  );

  // The kernel returns a few thousand bytes at a time, which are some 25 lines.
  queues(`every line of a long table is read: ${host}`, () =>
    withServer(host, async (connect) => {
      const sockets: net.Socket[] = [];
      while (sockets.length < 100) sockets.push((await connect()).socket);
      assert.equal(
        await bytesOf(sockets),
        sockets.map(() => 0),
      );
    }),
  );
}

queues.run();
