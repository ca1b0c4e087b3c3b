// Options of single calls: each that nothing reads, or that has a value of another type, is refused by name, and what
// was called does nothing.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler, HandlerServer, Response, WebSocket } from "../../host/handler";
import { fetchHandler } from "../../host/fetch";
import { type TestServer, createTestServer } from "../../host/testing";

const calls = suite("arguments");

type Call = (options: never) => unknown;

/** Wrong options of a message, and what is said of them. */
const MESSAGE: readonly (readonly [options: unknown, message: RegExp])[] = [
  [true, /^options: true is not an object such as \{ binary: true \}$/],
  [5, /^options: 5 is not an object/],
  [null, /^options: null is not an object/],
  [() => 1, /^options: a function is not an object/],
  [["binary"], /^options: an array is not an object/],
  [{ binry: true }, /^binry: there is no such option; did you mean binary\?$/],
  [{ isBinary: true }, /^isBinary: there is no such option/],
  [{ binary: 1 }, /^binary: 1 is not a boolean$/],
  [{ compress: "no" }, /^compress: "no" is not a boolean$/],
];

/** Wrong `except`, which publications alone have. */
const EXCEPT: readonly (readonly [options: unknown, message: RegExp])[] = [
  [{ except: {} }, /^except: an object is not the id of a connection, such as ws\.id$/],
  [{ except: -1 }, /^except: -1 is not the id/],
  [{ except: 0.5 }, /^except: 0\.5 is not the id/],
  [{ except: "7" }, /^except: "7" is not the id/],
];

const NO_EXCEPT = [[{ except: 7 }, /^except: there is no such option$/]] as const;

function refuses(
  call: Call,
  wrong: readonly (readonly [options: unknown, message: RegExp])[],
  what: string,
): void {
  for (const [options, message] of wrong) {
    let thrown: unknown;
    try {
      call(options as never);
    } catch (error) {
      thrown = error;
    }
    assert.instance(thrown, TypeError, `${what} accepted ${JSON.stringify(options)}`);
    assert.match((thrown as Error).message, message, what);
  }
}

/** Runs a test with a server and one client, the way its handler sees them. */
async function within(
  run: (t: TestServer, ws: WebSocket, server: HandlerServer) => void | Promise<void>,
): Promise<void> {
  let inside: HandlerServer | undefined;
  let opened: WebSocket | undefined;
  const t = createTestServer({
    handler: (server) => {
      inside = server;
      return {
        request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200)),
        open: (ws) => {
          opened = ws;
        },
      };
    },
  });
  const client = t.connect();
  await t.settle();
  await run(t, opened as WebSocket, inside as HandlerServer);
  await t.settle();
  assert.equal(client.messages, [], "what was refused was sent");
  await t.close();
}

calls("messages and publications refuse options that they do not have", () =>
  within((t, ws, inside) => {
    for (const [where, server] of [
      ["the application", t.server],
      ["the handler", inside],
    ] as const) {
      refuses((o) => server.broadcast("x", o), [...MESSAGE, ...EXCEPT], `${where}: broadcast`);
      refuses((o) => server.publish("t", "x", o), [...MESSAGE, ...EXCEPT], `${where}: publish`);
      refuses((o) => server.send(ws.id, "x", o), [...MESSAGE, ...NO_EXCEPT], `${where}: send`);
      for (const name of ["broadcast", "publish", "send"] as const) {
        const staged = (options: never): void => {
          const stage = server.stage().text("x");
          try {
            if (name === "broadcast") stage.broadcast(options);
            else if (name === "publish") stage.publish("t", options);
            else stage.send(ws.id, options);
          } finally {
            stage.discard();
          }
        };
        const wrong = [...MESSAGE, ...(name === "send" ? NO_EXCEPT : EXCEPT)];
        refuses(staged, wrong, `${where}: stage().${name}`);
      }
    }
    refuses((o) => ws.send("x", o), [...MESSAGE, ...NO_EXCEPT], "ws.send");
    refuses((o) => ws.publish("t", "x", o), [...MESSAGE, ...NO_EXCEPT], "ws.publish");
  }),
);

calls("refuses a value that is not the id of a connection, by name", () =>
  within((t, ws, inside) => {
    for (const id of [undefined, null, ws, "7", -1, Number.NaN, 1.5]) {
      const wrong = [[id, /^id: .* is not the id of a connection, such as ws\.id$/]] as const;
      for (const server of [t.server, inside]) {
        refuses((one) => server.send(one, "x"), wrong, "send");
        refuses((one) => server.subscribe(one, "t"), wrong, "subscribe");
        refuses((one) => server.unsubscribe(one, "t"), wrong, "unsubscribe");
      }
      refuses((one) => t.server.closeConnection(one), wrong, "closeConnection");
    }
  }),
);

calls("a topic's name with half of a surrogate pair is refused", () =>
  within((t, ws, inside) => {
    for (const topic of ["\ud800", "a\udc00", "\udc00\ud800", `${"x".repeat(100)}\udbff`]) {
      const wrong = [[topic, /^topic: .* has half of a surrogate pair$/]] as const;
      for (const server of [t.server, inside]) {
        refuses((one) => server.publish(one, "x"), wrong, "publish");
        refuses((one) => server.subscribe(ws.id, one), wrong, "subscribe");
        refuses((one) => server.unsubscribe(ws.id, one), wrong, "unsubscribe");
        refuses((one) => server.stage().publish(one), wrong, "stage().publish");
      }
      refuses((one) => ws.subscribe(one), wrong, "ws.subscribe");
      refuses((one) => ws.isSubscribed(one), wrong, "ws.isSubscribed");
      refuses((one) => ws.publish(one, "x"), wrong, "ws.publish");
    }
    assert.ok(t.server.publish("\ud83d\ude00", "x"), "a whole pair is a name");
  }),
);

calls("data that is neither text nor bytes is refused by name", () =>
  within((t, ws, inside) => {
    for (const data of [undefined, null, 5, {}, [1], new Date(), true]) {
      const message =
        /^(broadcast|publish|send): .* is not a string, an ArrayBuffer or a view of one$/;
      const wrong = [[data, message]] as const;
      for (const server of [t.server, inside]) {
        refuses((one) => server.broadcast(one), wrong, "broadcast");
        refuses((one) => server.publish("t", one), wrong, "publish");
        refuses((one) => server.send(ws.id, one), wrong, "send");
      }
      refuses((one) => ws.send(one), wrong, "ws.send");
      refuses((one) => ws.publish("t", one), wrong, "ws.publish");
    }
  }),
);

/** Wrong options of an upgrade. */
const UPGRADE: readonly (readonly [options: unknown, message: RegExp])[] = [
  [{ compress: "no" }, /^compress: "no" is not a boolean$/],
  [{ compressed: false }, /^upgrade\.compressed: .* did you mean upgrade\.compress\?$/],
  [{ user: "ada" }, /^upgrade\.user: there is no such option; pass the value of ws\.data as/],
  [{ protocols: ["a"] }, /^upgrade\.protocols: .* did you mean upgrade\.protocol\?$/],
  ["chat", /^upgrade: "chat" is not an object such as \{ data \}$/],
  [null, /^upgrade: null is not an object/],
  [["chat"], /^upgrade: an array is not an object/],
  [{ idleTimeout: "30" }, /^idleTimeout: "30" is not a number$/],
];

/** Upgrades with options, and returns the errors that result. */
async function upgraded(
  handler: (options: object) => Handler,
  options: unknown,
): Promise<string[]> {
  const t = createTestServer({ handler: handler(options as object), onError: () => undefined });
  const client = t.connect();
  await t.settle();
  assert.is(client.answer?.status, 500);
  await t.close();
  return t.errors.map(({ error }) => error.message);
}

calls("an upgrade refuses options that it does not have", async () => {
  for (const [options, message] of UPGRADE) {
    const plain = (given: object): Handler => ({
      request: (_, res: Response) => res.upgrade(given),
    });
    const web = (given: object): Handler => fetchHandler((_, info) => info.upgrade(given));
    for (const handler of [plain, web]) {
      const errors = await upgraded(handler, options);
      assert.is(errors.length, 1);
      assert.match(errors[0] as string, message);
    }
  }
  const late = { idleTimeout: -1 };
  const [error = ""] = await upgraded(
    (given) => ({ request: (_, res) => res.upgrade(given) }),
    late,
  );
  assert.is(error, "idleTimeout: -1 is not a whole number from 0 to 86400");
});

calls("an upgrade by fetchHandler has the limits that it gives", async () => {
  const handler = fetchHandler((_, info) => info.upgrade({ idleTimeout: 10, maxPayloadLength: 5 }));
  const t = createTestServer({ handler });
  const [large, silent] = [t.connect(), t.connect("/", { automatic: false })];
  await t.settle();
  large.send("123456");
  await t.clock.advance(11000);
  assert.is(large.closing?.code, 1009);
  assert.is(silent.closed?.code, 1006);
  await t.close();
});

// ---- scripts of ringcast/testing ------------------------------------------------------------------------------

/** Wrong arguments of scripts. */
const SCRIPTS: readonly (readonly [call: (t: TestServer) => unknown, message: RegExp])[] = [
  [
    (t) => t.connect("/", { protocol: "a" } as never),
    /^connect\.protocol: .*mean connect\.protocols/,
  ],
  [(t) => t.connect("/", { protocols: "a" } as never), /^connect\.protocols: "a" is not a list of/],
  [(t) => t.connect("/", { headers: "a" } as never), /^connect\.headers: "a" is not an object of/],
  [(t) => t.connect("/", { deflate: 1 } as never), /^connect\.deflate: 1 is not a boolean$/],
  [(t) => t.connect("/", { split: "x" } as never), /^connect\.split: "x" is not a number of bytes/],
  [(t) => t.connect("/", "chat" as never), /^connect: "chat" is not an object of options$/],
  [(t) => t.connect(5 as never), /^path: 5 is not a string$/],
  [(t) => t.connect({} as never), /^path: an object is not a string$/],
  [
    (t) => t.socket({ socketbuffer: 1 } as never),
    /^socket\.socketbuffer: .*mean socket\.socketBuf/,
  ],
  [
    (t) => t.socket({ socketBuffer: "big" } as never),
    /^socket\.socketBuffer: "big" is not a number/,
  ],
  [(t) => t.socket({ remoteAddress: 5 } as never), /^socket\.remoteAddress: 5 is not a string$/],
  [(t) => t.socket().write(5 as never), /^write: 5 is not a string or Uint8Array$/],
  [(t) => t.socket().write("x", { cut: 1 } as never), /^write\.cut: there is no such option/],
  [(t) => t.socket().throttle("10" as never), /^throttle: "10" is not a number of bytes a second/],
  [
    (t) => t.connect().throttle(undefined as never),
    /^throttle: undefined is not a number of bytes/,
  ],
  [(t) => t.connect().throttle(null as never), /^throttle: null is not a number of bytes a second/],
  [(t) => t.connect().throttle({} as never), /^throttle: an object is not a number of bytes/],
];

calls("scripts refuse invalid arguments, by name", async () => {
  const t = createTestServer({ handler: {} });
  for (const [call, message] of SCRIPTS) refuses(() => call(t), [[call, message]], `${call}`);
  assert.throws(
    () => t.connect().throttle(Number.NaN),
    /^throttle: NaN is not a number of bytes a/,
  );
  assert.throws(
    () => t.socket({ socketBuffer: 0 }),
    /^socketBuffer: 0 is not a whole number from 1/,
  );
  await t.close();
  const open = createTestServer({ handler: { request: (_, res) => res.upgrade() } });
  const client = open.connect();
  await open.settle();
  refuses(
    (o) => client.send("x", o),
    [[{ fragments: 1 }, /^send\.fragments: .*mean send\.fragment/]],
    "send",
  );
  refuses((o) => client.send(o), [[5, /^send: 5 is not a string or Uint8Array$/]], "send");
  refuses((o) => client.frame(1, "x", o), [[{ fin: true }, /^frame\.fin: /]], "frame");
  await open.close();
});

calls("a server in memory refuses options that it does not have", () => {
  for (const [options, message] of [
    [{ host: "a" }, /^host: there is no such option; did you mean hostname\?$/],
    [{ sed: 1 }, /^sed: there is no such option; did you mean seed\?$/],
    [{ socketbuffer: 1 }, /^socketbuffer: there is no such option; did you mean socketBuffer\?$/],
    [{ codec: {} }, /^codec: an object has no deflate and inflate; see "ringcast\/zlib"$/],
    ["x", /^options: "x" is not an object$/],
    [{ seed: "1" }, /^seed: "1" is not a number$/],
  ] as const)
    assert.throws(() => createTestServer(options as never), message);
  const sized = createTestServer({ handler: {}, socketBuffer: "4 KiB", ring: "64KiB" });
  assert.equal(sized.server.plan, createTestServer({ ring: 65536 }).server.plan);
});

calls("a client that reads slowly, or not at all, is open after settle", async () => {
  const t = createTestServer({
    handler: { request: (_, res) => res.upgrade() },
    socketBuffer: 4096,
  });
  const slow = t.connect().throttle(1);
  const paused = t.connect().pause();
  await t.settle();
  assert.ok(slow.isOpen && paused.isOpen);
  t.server.broadcast("hello");
  await t.settle();
  assert.equal([slow.messages, paused.messages], [[], []]);
  paused.resume();
  await t.clock.advance(10000);
  assert.equal([slow.messages, paused.messages], [["hello"], ["hello"]]);
  await t.close();
});

calls.run();
