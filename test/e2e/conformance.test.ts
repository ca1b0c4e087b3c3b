// WebSocket conformance: the 517 cases of conformance/, judged as strictly as they can be, over sockets.
// `CONFORMANCE=full node .scripts/test.mjs e2e conformance` sends as many compressed messages as the original
// suite does, which takes long.

import { once } from "node:events";
import { type Handler, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Case, repeated, runAll } from "../conformance/cases";
import { MALFORMED, NEGOTIATIONS, compression, negotiated } from "../conformance/compression";
import { Client, text } from "../conformance/client";
import { FAMILIES } from "../conformance/families";
import { LIMITS } from "../conformance/limits";
import { WebSocket } from "ws";
import { fileUrl } from "./peer";
import { portOf } from "../lib/port";

const full = process.env.CONFORMANCE === "full";
const conformance = suite("conformance");
const handler = fileUrl("handlers/echo.mjs");
const closures: Handler = {
  request: (req, res) => (req.upgrade ? res.upgrade() : res.send(404)),
  message: (ws, data) => void ws.send(data),
};

/** Cases of each family that the original suite has. */
const COUNTS: Readonly<Record<string, number>> = {
  "1 framing": 16,
  "2 pings and pongs": 11,
  "3 reserved bits": 7,
  "4 opcodes": 10,
  "5 fragments": 20,
  "6 UTF-8": 145,
  "7 closing": 37,
  "9 limits": 54,
  "10 automatic fragments": 1,
  "12 compression": 90,
  "13 parameters of compression": 126,
};

interface Family {
  readonly name: string;
  readonly cases: readonly Case[];
  /** Cases that run at the same time. */
  readonly atOnce: number;
}

const [twelve, thirteen] = compression(full ? "all" : "some").map(
  ([name, cases]): Family => ({ name, cases, atOnce: 3 }),
) as [Family, Family];
const families: readonly Family[] = [
  ...FAMILIES.map(([name, cases]): Family => ({ name, cases, atOnce: 16 })),
  { name: "9 limits", cases: LIMITS, atOnce: 2 },
  twelve,
  thirteen,
];

async function withServer(fn: (server: Server) => Promise<void>, options = {}): Promise<void> {
  const server = await serve({ port: 0, handler, perMessageDeflate: true, ...options });
  try {
    await fn(server);
    assert.is((await server.stats()).handlerErrors, 0);
  } finally {
    await server.close();
  }
}

conformance("the families have all their cases", () => {
  const counts = Object.fromEntries(families.map(({ name, cases }) => [name, cases.length]));
  const sorted = (of: Readonly<Record<string, number>>): [string, number][] =>
    Object.entries(of).sort();
  assert.equal(sorted(counts), sorted(COUNTS));
  assert.equal(repeated(families.flatMap(({ cases }) => cases)), []);
});

for (const { name, cases, atOnce } of families) {
  // With compression from the first octet on, and with the default threshold.
  const options = name === thirteen.name ? { deflateThreshold: 0 } : {};
  conformance(`${name}: ${cases.length} cases`, () =>
    withServer(async (server) => {
      const started = Date.now();
      assert.equal(await runAll(cases, portOf(server), atOnce), {});
      console.log(`${name}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
    }, options),
  );
}

for (const [name, cases] of FAMILIES) {
  conformance(`${name}, on the application's thread: ${cases.length} cases`, () =>
    withServer(
      async (server) => {
        assert.equal(await runAll(cases, portOf(server), 16), {});
      },
      { handler: closures },
    ),
  );
}

conformance("compression is negotiated as offered", () =>
  withServer(async (server) => {
    const wrong: Record<string, string> = {};
    for (const [offer, answer] of NEGOTIATIONS) {
      const result = await negotiated(portOf(server), offer, answer);
      if (result !== "") wrong[offer] = result;
    }
    assert.equal(wrong, {});
  }),
);

conformance("an offer that breaks its grammar is 400", () =>
  withServer(async (server) => {
    for (const offer of MALFORMED) {
      const error = await Client.open(portOf(server), offer).then(
        () => "accepted",
        (thrown: Error) => thrown.message,
      );
      assert.match(error, /HTTP\/1\.1 400 /, offer);
    }
  }),
);

conformance("no compression is agreed upon where it is switched off", () =>
  withServer(
    async (server) => {
      assert.is(await negotiated(portOf(server), "permessage-deflate", ""), "");
    },
    { perMessageDeflate: false },
  ),
);

conformance("npm ws, which would keep its context, does not when the server forbids it", () =>
  withServer(async (server) => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.address.port}/`, {
      perMessageDeflate: { threshold: 0, clientMaxWindowBits: 15 },
    });
    await once(socket, "open");
    const same = "the same words in each message ".repeat(20);
    for (let i = 0; i < 20; i++) {
      socket.send(same);
      assert.is(String((await once(socket, "message"))[0]), same);
    }
    socket.terminate();
  }),
);

conformance("a client that keeps its context all the same is closed with 1007", () =>
  withServer(async (server) => {
    const client = await Client.open(portOf(server), "permessage-deflate");
    const due = text("words that are said twice, words that are said twice");
    client.message(due);
    client.keepContext(due.payload);
    client.message(due);
    await client.until(() => client.closeCode !== 0);
    assert.is(client.closeCode, 1007);
    assert.is(client.closeReason, "a compressed message cannot be inflated");
    assert.is(client.events.length, 1);
    client.destroy();
  }),
);

conformance.run();
