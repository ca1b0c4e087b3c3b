// What a handler does wrong, in every place it may run: it concerns its own request or connection, it is reported, and
// the server goes on.

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
  reported,
  serving,
  takeAnswer,
  until,
} from "./peer";

const errors = suite("errors");

const { THROWN } = (await import(fileUrl("handlers/thrown.mjs").href)) as {
  THROWN: readonly (readonly [name: string, make: () => unknown])[];
};
const { WAYS } = (await import(fileUrl("handlers/errors.mjs").href)) as { WAYS: string[] };

const PLACES = [
  { place: "in the worker", where: "worker", options: {} },
  { place: "on the application's thread", where: "application", options: {} },
  { place: "in a pool", where: "worker", options: { pool: { threads: 1 } } },
] as const;

const GET = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** The status of a request on a connection of its own. */
async function ask(port: number, target = "/"): Promise<number> {
  const wire = await Wire.open(port);
  try {
    return (await takeAnswer(wire.write(GET(target)))).status;
  } finally {
    wire.destroy();
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

errors("in memory, whatever a request throws is 500, and reported", async () => {
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
