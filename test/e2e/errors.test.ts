// Mistakes of a handler, in every place it may run: each concerns its own request or connection, it is reported, and
// the server continues.

import { fetchHandler } from "ringcast/fetch";
import { createTestServer } from "ringcast/testing";
import type { Handler } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  TEXT,
  Wire,
  WsWire,
  closeOf,
  fileUrl,
  handlerOf,
  httpUrl,
  reported,
  serving,
  takeAnswer,
  until,
} from "./peer";

const errors = suite("errors");

const { THROWN } = (await import(fileUrl("handlers/thrown.mjs").href)) as {
  THROWN: readonly (readonly [name: string, make: () => unknown])[];
};
const { WAYS, SLIPS, PORTS } = (await import(fileUrl("handlers/errors.mjs").href)) as {
  readonly [Name in "WAYS" | "SLIPS" | "PORTS"]: readonly string[];
};

const PLACES = [
  { place: "in the worker", where: "worker", options: {} },
  { place: "on the application's thread", where: "application", options: {} },
  { place: "in a pool", where: "worker", options: { pool: { threads: 1 } } },
] as const;

const GET = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** Returns the status of a request on a connection of its own. */
async function ask(port: number, target = "/"): Promise<number> {
  const wire = await Wire.open(port);
  try {
    return (await takeAnswer(wire.write(GET(target)))).status;
  } finally {
    wire.destroy();
  }
}

/** Text of a client that must not move a terminal's cursor. */
const HOSTILE = "\x1b[2J\x07\r\x7f";

const post = (target: string): string =>
  `POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: ${HOSTILE.length}\r\n\r\n${HOSTILE}`;

/** Checks that there is one error, and that it shows the client's text with escapes. */
function checkQuoted(seen: readonly Error[]): void {
  assert.is(seen.length, 1);
  const [error] = seen as [Error];
  const { message, stack = "" } = error;
  const { message: within = message } = (error.cause ?? {}) as Partial<Error>;
  for (const text of [message, stack, within]) {
    assert.ok(text.includes("\\x1b"), text);
    assert.not.match(text, /(?!\n)\p{Cc}/u);
  }
}

for (const { place, where, options } of PLACES) {
  errors(`${place}, whatever a request throws is 500, and reported`, async () => {
    const handler = await handlerOf("errors", where);
    await serving("errors", { ...options, handler }, async (server, port) => {
      for (const way of WAYS) {
        for (const [number, [name]] of THROWN.entries()) {
          reported.length = 0;
          assert.is(await ask(port, `/${way}?${number}`), 500, `${way}: ${name}`);
          await until("it is reported", () => reported.length > 0);
          assert.equal(
            reported.map((one) => one.where),
            ["request"],
            `${way}: ${name}`,
          );
          assert.type(reported[0]?.message, "string");
        }
      }
      assert.is(await ask(port), 200);
      assert.is((await server.stats()).handlerErrors, WAYS.length * THROWN.length);
    });
  });

  errors(`${place}, an error shows no control character of a client`, async () => {
    const seen: Error[] = [];
    const onError = (error: Error): void => void seen.push(error);
    const handler = await handlerOf("errors", where);
    await serving("errors", { ...options, handler, onError }, async (_, port) => {
      for (const target of ["/json", "/quote"]) {
        const wire = await Wire.open(port);
        wire.write(post(target));
        await until("it is reported", () => seen.length > 0);
        wire.destroy();
        checkQuoted(seen.splice(0));
      }
      const ws = await WsWire.open(port);
      ws.send(TEXT, `quote ${HOSTILE}`);
      await until("it is reported", () => seen.length > 0);
      ws.destroy();
      checkQuoted(seen);
    });
  });

  errors(`${place}, whatever a message's handler throws closes its WebSocket`, async () => {
    const handler = await handlerOf("errors", where);
    await serving("errors", { ...options, handler }, async (_, port) => {
      const bystander = await WsWire.open(port);
      for (const way of WAYS) {
        for (const [number, [name]] of THROWN.entries()) {
          reported.length = 0;
          const ws = await WsWire.open(port);
          ws.send(TEXT, `${way} ${number}`);
          assert.is(closeOf(await ws.next()).code, 1011, `${way}: ${name}`);
          await until("it is reported", () => reported.length > 0);
          assert.equal(
            reported.map((one) => one.where),
            ["message"],
            `${way}: ${name}`,
          );
          ws.destroy();
        }
      }
      bystander.send(TEXT, "still here");
      assert.is(await bystander.text(), "still here");
      bystander.destroy();
    });
  });
}

// A handler that has threads of the server's: on the application's own the process is the application's.

const THREADS = PLACES.filter(({ where }) => where === "worker");

async function read(port: number, target: string): Promise<string> {
  return (await fetch(httpUrl(port, target))).text();
}

for (const { place, options } of THREADS) {
  errors(`${place}, an error that belongs to no request is reported, and nothing ends`, () =>
    serving("errors", { ...options, handler: fileUrl("handlers/errors.mjs") }, async (_, port) => {
      const bystander = await WsWire.open(port);
      for (const slip of SLIPS) {
        for (const [number, [name]] of THROWN.entries()) {
          reported.length = 0;
          const target = `/slip?${slip}&${number}`;
          if (slip === "listener") {
            // In a pool a client that leaves is reported by the end of its thread.
            if ("pool" in options) continue;
            const wire = await Wire.open(port);
            wire.write(GET(target));
            await ask(port);
            wire.destroy();
          } else {
            assert.is(await ask(port, target), 200, `${slip}: ${name}`);
          }
          await until(`${slip}: ${name} is reported`, () => reported.length > 0);
          // The listener of a request's signal is its handler's.
          const whose = slip === "listener" ? "request" : "uncaught";
          assert.equal(
            reported.map((one) => one.where),
            [whose],
            `${slip}: ${name}`,
          );
        }
      }
      bystander.send(TEXT, "still here");
      assert.is(await bystander.text(), "still here");
      bystander.destroy();
    }),
  );

  errors(`${place}, a listener of the handler's own comes first`, async () => {
    for (const [event, slip] of [
      ["uncaughtException", "timer"],
      ["unhandledRejection", "rejection"],
      ["uncaughtException", "rejection"],
    ] as const) {
      const handler = fileUrl("handlers/errors.mjs");
      await serving("errors", { ...options, handler }, async (_, port) => {
        assert.is(await ask(port, `/listen?${event}`), 200);
        assert.is(await ask(port, `/slip?${slip}&0`), 200);
        await until("it has heard", async () => (await read(port, "/heard")) === '["plain"]');
        assert.equal(reported, []);
      });
    }
  });

  errors(`${place}, a handler's use of its thread's port has no effect on the server`, () =>
    serving("errors", { ...options, handler: fileUrl("handlers/errors.mjs") }, async (_, port) => {
      for (const name of PORTS) {
        assert.is(await ask(port, `/port?${name}`), 200, name);
        assert.is(await read(port, "/pieces"), "in pieces", name);
      }
      const ws = await WsWire.open(port);
      ws.send(TEXT, "still here");
      assert.is(await ws.text(), "still here");
      ws.destroy();
      assert.equal(reported, []);
    }),
  );
}

errors(
  "in a pool, an error of a pending request fails that request alone, and the thread continues",
  () =>
    serving(
      "errors",
      { handler: fileUrl("handlers/errors.mjs"), pool: { threads: 1 } },
      async (_, port) => {
        // In a microtask nothing tells whose error it is.
        const known = SLIPS.filter((name) => name !== "listener" && name !== "microtask");
        for (const slip of known) {
          reported.length = 0;
          assert.is(await ask(port, `/lost?${slip}&0`), 500, slip);
          await until("it is reported", () => reported.length > 0);
          assert.equal(reported, [{ where: "request", message: "plain" }]);
        }
      },
    ),
);

errors("in a pool, a handler's timers run while its thread has no request", () =>
  serving(
    "errors",
    { handler: fileUrl("handlers/errors.mjs"), pool: { threads: 1 } },
    async (_, port) => {
      assert.is(await read(port, "/ticks"), "0");
      await until("it ticks", async () => Number(await read(port, "/ticks")) > 2);
    },
  ),
);

errors("in a pool, a thread that exits fails its request alone, and is replaced", () =>
  serving(
    "errors",
    { handler: fileUrl("handlers/errors.mjs"), pool: { threads: 1 } },
    async (_, port) => {
      for (let i = 0; i < 3; i++) {
        assert.is(await ask(port, "/exit"), 500);
        assert.is(await ask(port), 200);
      }
      assert.is(await read(port, "/pieces"), "in pieces");
      assert.ok(reported.every(({ where }) => where === "request"));
    },
  ),
);

errors("in memory, an error shows no control character of a client", async () => {
  const classic = (await handlerOf("errors", "application")) as Handler;
  const standard = fetchHandler(async (request) =>
    request.json().then(Response.json, ({ message }: Error) => {
      throw new Error(message);
    }),
  );
  for (const [handler, targets] of [
    [classic, ["/json", "/quote"]],
    [standard, ["/json"]],
  ] as const) {
    const t = createTestServer({ handler, onError: () => undefined });
    for (const target of targets) {
      const before = t.errors.length;
      const answer = await t.fetch(target, { method: "POST", body: HOSTILE });
      assert.is(answer.status, 500);
      checkQuoted(t.errors.slice(before).map(({ error }) => error));
    }
    await t.close();
  }
});

errors("in memory, any error of a request is 500, and reported", async () => {
  const handler = (await handlerOf("errors", "application")) as Handler;
  const t = createTestServer({ handler, onError: () => undefined });
  for (const way of WAYS) {
    for (const [number, [name]] of THROWN.entries()) {
      // One way takes a real timer.
      if (way === "later") continue;
      const before = t.errors.length;
      assert.is((await t.fetch(`/${way}?${number}`)).status, 500, `${way}: ${name}`);
      assert.is(t.errors.length, before + 1);
      assert.is(t.errors.at(-1)?.where, "request");
      assert.instance(t.errors.at(-1)?.error, Error);
    }
  }
  assert.is((await t.fetch("/")).status, 200);
  await t.close();
});

errors.run();
