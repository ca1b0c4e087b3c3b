// `ringcast/client` with event streams and positions over real connections: Ringcast's, and those of a server in
// test/lib that continues after a position. A proxy cuts them.

import { type Server, serve } from "ringcast";
import { type ConnectOptions, type Connection, type Lost, connect } from "ringcast/client";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket, WebSocketServer } from "ws";
import { Random } from "../../host/testing/random";
import { NumberedServer } from "../lib/numbered";
import { type Cut, Cutter } from "./cutter";
import { fileUrl, until, within } from "./peer";

const streams = suite("client streams");

const MODULE = fileUrl("handlers/events.mjs");

/** Runs a proxy for the time of a test. */
async function withCutter(target: number, body: (cutter: Cutter) => Promise<void>): Promise<void> {
  const cutter = new Cutter();
  await cutter.listen();
  cutter.target = target;
  try {
    await body(cutter);
  } finally {
    cutter.close();
  }
}

/** Runs a server that continues after positions, behind a proxy. */
async function withNumbered(
  body: (server: NumberedServer, cutter: Cutter) => Promise<void>,
): Promise<void> {
  const server = new NumberedServer();
  const port = await server.listen();
  try {
    await withCutter(port, (cutter) => body(server, cutter));
  } finally {
    await server.close();
  }
}

/** Connections of the present test. */
const connections: Connection[] = [];

streams.after.each(() => {
  for (const connection of connections.splice(0)) connection.close();
});

/** Connects, and notes what happens. */
function recorded(url: string, options: ConnectOptions) {
  const log: string[] = [];
  const losses: Lost[] = [];
  const connection = connect(url, {
    delay: 5,
    maxDelay: 50,
    onMessage: (data, { event }) =>
      log.push(`${event === undefined ? "" : `${event}: `}${data}`.split("\n")[0] as string),
    onGap: (reason, topic) => log.push(`gap ${reason}${topic === undefined ? "" : ` ${topic}`}`),
    onLost: (lost) => losses.push(lost),
    onBack: ({ first, positions }) => log.push(`${first ? "first" : "back"} ${positions}`),
    ...options,
  });
  connections.push(connection);
  const gets = (...lines: string[]): Promise<void> =>
    until(`${lines}`, () => log.slice(-lines.length).join() === lines.join());
  return { connection, log, losses, gets };
}

streams("it reads events of Ringcast by the runtime's fetch, and comes back", async () => {
  const options = { handler: MODULE, port: 0, events: { names: true } } as const;
  let server: Server = await serve(options);
  const cutter = new Cutter();
  await cutter.listen();
  cutter.target = server.address.port as number;
  const url = `http://127.0.0.1:${cutter.port}`;
  const { connection, gets, losses, log } = recorded(`${url}/all?news`, { events: true });
  try {
    await gets("first true", "events /all");
    assert.ok(connection.isOpen);
    server.publish("news", "one");
    await gets("news: one");
    assert.is(connection.position, await server.position());
    server.broadcast("two");
    await gets("two");
    cutter.reset();
    await gets("two", "back true", "gap unsupported", "events /all");
    log.push("shutdown");
    await server.shutdown({ drainMs: 10 });
    await until("it is away", () => losses.at(-1)?.attempt !== 1);
    assert.ok(losses.some(({ code }) => code === 1012));
    const { position } = connection;
    server = await serve(options);
    cutter.target = server.address.port as number;
    await gets("shutdown", "back true", "gap unsupported", "events /all");
    server.broadcast("three");
    await gets("three");
    assert.is.not(connection.position?.slice(0, 8), position?.slice(0, 8));
    connection.close();
    await until("it leaves", async () => (await server.stats()).eventStreams === 0);
    const gone = recorded(`${url}/gone`, { events: true });
    await until("the end", () => gone.losses.length === 1);
    assert.equal(gone.losses[0], {
      ...{ code: 1006, reason: "status 204", status: 204, attempt: 1, delay: undefined },
    });
  } finally {
    connection.close();
    cutter.close();
    await within(server.close(), "close");
  }
});

streams("a full server makes it come back until there is room", async () => {
  const server = await serve({ handler: MODULE, port: 0, events: true, maxWebSockets: 1 });
  const url = `http://127.0.0.1:${server.address.port}/all`;
  const first = recorded(url, { events: true });
  let second: Connection | undefined;
  try {
    await first.gets("first true", "events /all");
    const other = recorded(url, { events: true });
    second = other.connection;
    await until("refusals", () => other.losses.length >= 2);
    first.connection.close();
    await until("room", () => other.log.includes("events /all"));
  } finally {
    first.connection.close();
    second?.close();
    await within(server.close(), "close");
  }
});

const KINDS: readonly (readonly [name: string, scheme: string, options: ConnectOptions])[] = [
  ["an event stream", "http", { events: true, maxSilence: 2000 }],
  ["a numbered WebSocket", "ws", { positions: true, WebSocket }],
];

for (const [name, scheme, options] of KINDS) {
  streams(`${name} continues after its position, or has a gap`, () =>
    withNumbered(async (server, cutter) => {
      const url = `${scheme}://127.0.0.1:${cutter.port}/`;
      const { connection, gets, log } = recorded(url, { ...options, maxSilence: 20000 });
      await gets("first true", "snapshot 0");
      await until("live", () => connection.position === server.position(0));
      server.publish("one");
      await gets("one");
      cutter.reset();
      server.publish("two");
      server.publish("three\nlines");
      await gets("back true", "two", "three");
      server.expired = 5;
      cutter.reset();
      server.publish("four");
      server.publish("five");
      await gets("back true", "gap expired", "snapshot 5");
      await until("live", () => connection.position === server.position(5));
      server.restart("b0000000");
      cutter.reset();
      await gets("back true", "gap epoch", "snapshot 0");
      server.publish("six");
      await gets("six");
      connection.close();
      const { position } = connection;
      server.publish("seven");
      const later = recorded(url, { ...options, since: position });
      await later.gets("first true", "seven");
      later.connection.close();
      assert.is(log.filter((line) => line.startsWith("gap")).length, 2);
    }),
  );
}

streams("a WebSocket without positions is what a server that knows none gets", async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => false });
  await new Promise((resolve) => server.once("listening", resolve));
  server.on("connection", (ws) => ws.send("welcome"));
  const { port } = server.address() as { port: number };
  const { connection, gets, losses } = recorded(`ws://127.0.0.1:${port}/`, {
    positions: true,
    WebSocket,
  });
  try {
    await gets("first false", "welcome");
    assert.equal(losses, []);
    for (const ws of server.clients) ws.terminate();
    await gets("back false", "gap unsupported", "welcome");
  } finally {
    connection.close();
    server.close();
  }
});

const READERS = 20;
const MESSAGES = 1000;
const HOWS: readonly Cut[] = ["reset", "end", "freeze"];

for (const [name, scheme, options] of KINDS) {
  streams(`${READERS} readers by ${name} get every message once, in order, through cuts`, () =>
    withNumbered(async (server, cutter) => {
      const seed = Date.now() % 1000000;
      console.log(`seed ${seed}`);
      const random = new Random(seed);
      const below = (n: number): number => Math.floor(random.next() * n);
      // Only event streams notice a connection that is frozen.
      const hows = options.events ? HOWS : HOWS.slice(0, 2);
      cutter.plan = () => ({ bytes: 1 + below(20000), how: hows[below(hows.length)] as Cut });
      const nexts: number[] = [];
      const faults: string[] = [];
      const readers = Array.from({ length: READERS }, (_, i) =>
        connect(`${scheme}://127.0.0.1:${cutter.port}/`, {
          ...options,
          ...{ delay: 2, maxDelay: 20 },
          onGap: (reason) => faults.push(`reader ${i} has a gap: ${reason}`),
          onMessage(data, { position }) {
            const text = typeof data === "string" ? data : Buffer.from(data).toString();
            const number = Number(text.split(" ")[1]);
            if (position === undefined) nexts[i] = number + 1;
            else if (number !== nexts[i]) faults.push(`reader ${i}: ${number}, not ${nexts[i]}`);
            else nexts[i] = number + 1;
          },
        }),
      );
      try {
        for (let i = 1; i <= MESSAGES; i++) {
          const text = `message ${i} ${"x\n".repeat(below(60))}`;
          server.publish(i % 3 === 0 && !options.events ? Buffer.from(text) : text);
          // Time in which readers are cut and return while messages are published.
          if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
        }
        await until("cuts", () => cutter.cuts > READERS);
        cutter.plan = () => undefined;
        await until(
          "all are there",
          () => nexts.length === READERS && nexts.every((next) => next === MESSAGES + 1),
        );
        assert.equal(faults, []);
        console.log(`${cutter.cuts} cuts`);
      } finally {
        for (const reader of readers) reader.close();
      }
    }),
  );
}

streams.run();
