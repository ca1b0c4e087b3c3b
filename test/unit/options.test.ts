// Every option of `serve`, wrong in every way there is: the message names the option, the value and the range, and the
// error is thrown before anything starts.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { LiveName, Options } from "../../host/options/types";
import { plan } from "../../host/options/plan";
import { settle, settleChanges } from "../../host/options/settle";
import { OPTIONS, type OptionRow, POOL_OPTIONS } from "../../host/options/table";

const options = suite("options");

/** A wrong value, the kind of error, and what its message has. */
type Wrong = readonly [
  value: unknown,
  kind: typeof TypeError | typeof RangeError,
  ...has: string[],
];

/** Values that are not even of the type. */
const FOREIGN: readonly (readonly [value: unknown, shown: string])[] = [
  [null, "null"],
  [{}, "an object"],
  [[], "an array"],
  [() => 1, "a function"],
  [1n, "1"],
  [Symbol("s"), "Symbol(s)"],
];

/** Texts that are not a size, or one out of range. */
function wrongSizes({ unit, max = 0 }: OptionRow<string>): Wrong[] {
  if (unit !== "bytes" && unit !== "MiB") return [["1MiB", TypeError, '"1MiB"', "a number"]];
  const texts = ["16mb", "16m", "16 mib", "16  MiB", "-1MiB", "1e3B", "MiB", "1 TiB", ""];
  const wrong: Wrong[] = texts.map((text) => [text, TypeError, JSON.stringify(text), '"16MiB"']);
  if (max < 1e15) wrong.push(["99999999GiB", RangeError, '"99999999GiB"', `${max}`]);
  return wrong;
}

/** Returns wrong values of an option of a table. */
function wrongOf(row: OptionRow<string>): Wrong[] {
  // For a flag with parts, an object of none is right.
  const other = row.parts ? FOREIGN.filter(([, shown]) => shown !== "an object") : FOREIGN;
  const foreign: Wrong[] = other.map(([value, shown]) => [value, TypeError, shown]);
  if (row.unit === "flag") {
    const values: Wrong[] = [
      [1, TypeError, "1", "boolean"],
      ["true", TypeError, '"true"', "boolean"],
    ];
    return [...foreign, ...values];
  }
  if (row.words) {
    const words = row.words.map((word) => JSON.stringify(word));
    const values = ["", "nonsense", row.words[0]?.toUpperCase()];
    const wrong: Wrong[] = values.map((value) => [
      value,
      TypeError,
      JSON.stringify(value),
      ...words,
    ]);
    return [...foreign, [0, TypeError, "0", ...words], [true, TypeError, "true"], ...wrong];
  }
  const { min = 0, max = 0 } = row;
  const range = [`${min}`, `${max}`];
  const beyond: Wrong[] = [min - 1, max + 1, min + 0.5, Number.NaN, 1 / 0, -1 / 0]
    // A number that is no safe integer cannot be distinguished from its neighbour.
    .filter((value) => value !== max)
    .map((value) => [value, RangeError, String(value), ...range]);
  const odd: Wrong[] = row.power ? [[min + 1, RangeError, `${min + 1}`, "power of two"]] : [];
  return [
    ...foreign,
    [`${min}`, TypeError, `"${min}"`],
    ...wrongSizes(row),
    [true, TypeError, "true"],
    ...beyond,
    ...odd,
  ];
}

function refused(given: object, kind: typeof TypeError | typeof RangeError): string {
  for (const start of [settle, plan]) {
    try {
      start(given as Options);
    } catch (thrown) {
      assert.ok(thrown instanceof kind, `${thrown}`);
      if (start === plan) return (thrown as Error).message;
      continue;
    }
    assert.unreachable(`accepted: ${Object.keys(given).join()}`);
  }
  return "";
}

options("each option of the table is refused for type, range, fraction and NaN", () => {
  let count = 0;
  for (const row of OPTIONS) {
    for (const [value, kind, ...has] of wrongOf(row)) {
      const message = refused({ [row.name]: value }, kind);
      assert.ok(message.startsWith(`${row.name}: `), message);
      for (const part of has) assert.ok(message.includes(part), `${message} has no ${part}`);
      count++;
    }
  }
  for (const row of POOL_OPTIONS) {
    for (const [value, kind, ...has] of wrongOf(row)) {
      const handler = "file:///handler.js";
      const message = refused({ handler, pool: { [row.name]: value } }, kind);
      assert.ok(message.startsWith(`pool.${row.name}: `), message);
      for (const part of has) assert.ok(message.includes(part), `${message} has no ${part}`);
      count++;
    }
  }
  console.log(`${count} wrong values refused`);
});

options("a size may be given with its unit", () => {
  const { values } = settle({
    ring: "16MiB",
    inbox: "64 KiB",
    replyBuffers: "1.5 MiB",
    receiveBuffers: "1GiB",
    maxBodyLength: "1MB",
    maxBacklog: "2kB",
    maxPayloadLength: "125B",
    minSendRate: "1 kB",
    heap: "512MiB",
  });
  assert.is(values.ring, 16777216);
  assert.is(values.inbox, 65536);
  assert.is(values.replyBuffers, 1572864);
  assert.is(values.receiveBuffers, 1073741824);
  assert.is(values.maxBodyLength, 1000000);
  assert.is(values.maxBacklog, 2000);
  assert.is(values.maxPayloadLength, 125);
  assert.is(values.minSendRate, 1000);
  assert.is(values.heap, 512);
  assert.equal(settleChanges({}, { maxRunBytes: "64 KiB" }).values, { maxRunBytes: 65536 });
  const message = refused({ ring: "10MiB" }, RangeError);
  assert.is(message, 'ring: "10MiB" is not a power of two; the nearest are 8388608 and 16777216');
});

/** Names that are misspelt, or another server's, and the option that is meant. */
const MEANT: readonly (readonly [name: string, meant: string])[] = [
  ["host", "hostname"],
  ["prot", "port"],
  ["maxPayload", "maxPayloadLength"],
  ["maxWebsockets", "maxWebSockets"],
  ["fetch", "handler"],
  ["websocket", "handler"],
  ["cert", "tls"],
  ["origin", "origins"],
];

options("a name that is not an option is refused with the one that is meant", () => {
  for (const [name, meant] of MEANT) {
    const message = refused({ [name]: 1 }, TypeError);
    assert.is(message, `${name}: there is no such option; did you mean ${meant}?`);
  }
  assert.is(refused({ xyzzy: 1 }, TypeError), "xyzzy: there is no such option");
  const pooled = refused({ handler: "file:///a.js", pool: { thread: 1 } }, TypeError);
  assert.is(pooled, "pool.thread: there is no such option; did you mean pool.threads?");
  for (const row of OPTIONS) {
    if (row.name.length < 5) continue;
    const message = refused({ [row.name.slice(1)]: 1 }, TypeError);
    assert.ok(message.endsWith(`did you mean ${row.name}?`), message);
  }
});

options("the ends of each range are taken", () => {
  for (const row of OPTIONS) {
    const values = row.words ?? (row.unit === "flag" ? [true, false] : [row.min, row.max]);
    for (const value of values) {
      // A value for which another option has to make room is reported for that other option.
      try {
        settle({ [row.name]: value } as Options);
      } catch (thrown) {
        assert.ok(thrown instanceof RangeError, row.name);
        assert.match(
          thrown.message,
          /needs receiveBuffers|needs events|allows/,
          `${row.name}: ${value}`,
        );
      }
    }
  }
});

/** Options that are in no table, with their messages. */
const OTHERS: readonly (readonly [given: object, kind: typeof TypeError, message: RegExp])[] = [
  [{ hostname: "" }, TypeError, /^hostname: "" is not a host name or address$/],
  [{ hostname: 5 }, TypeError, /^hostname: 5 is not/],
  [{ path: "" }, TypeError, /^path: "" is not a path$/],
  [{ path: {} }, TypeError, /^path: an object is not a path$/],
  [{ onEvict: 5 }, TypeError, /^onEvict: 5 is not a function$/],
  [{ onError: "x" }, TypeError, /^onError: "x" is not a function$/],
  [{ signal: {} }, TypeError, /^signal: an object is not an AbortSignal$/],
  [{ serverHeader: 5 }, TypeError, /^serverHeader: 5 is not a string$/],
  [{ serverHeader: "a\r\nb" }, TypeError, /^serverHeader: "a\\r\\nb" is not a field value$/],
  [
    { serverHeader: "x".repeat(257) },
    RangeError,
    /^serverHeader: 257 characters are more than 256$/,
  ],
  [{ origins: "*" }, TypeError, /^origins: "\*" is not a list$/],
  [{ origins: ["example.org"] }, TypeError, /^origins: "example.org" is not an origin/],
  [{ hosts: [5] }, TypeError, /^hosts: 5 is not a host such as "a\.example"/],
  [{ hosts: ["a/b"] }, TypeError, /^hosts: "a\/b" is not a host such as/],
  [{ protocols: ["a b"] }, TypeError, /^protocols: "a b" is not a token$/],
  [{ handler: "file:///a.js", pool: 5 }, TypeError, /^pool: 5 is not an object of options$/],
  [{ handler: "file:///a.js", pool: { thread: 1 } }, TypeError, /^pool\.thread: there is no such/],
  [{ handler: {}, pool: {} }, TypeError, /^pool: its threads import the handler/],
  [{ logger: 5 }, TypeError, /^logger: 5 is not a logger$/],
  [{ logger: null }, TypeError, /^logger: null is not a logger$/],
  [{ logger: { info: 5 } }, TypeError, /^logger\.info: 5 is not a function$/],
  [{ logger: { log() {} } }, TypeError, /^logger: it has none of debug, info, warn, error$/],
  [{ metrics: true }, TypeError, /^metrics: true is not an object of options$/],
  [{ metrics: [] }, TypeError, /^metrics: an array is not an object of options$/],
  [
    { metrics: { pth: "/" } },
    TypeError,
    /^metrics\.pth: there is no such option; did you mean metrics\.path\?$/,
  ],
  [{ metrics: { path: "m" } }, TypeError, /^metrics\.path: "m" is not the path of a URL$/],
  [{ metrics: { path: "/a?b" } }, TypeError, /^metrics\.path: "\/a\?b" is not the path of a URL$/],
  [{ metrics: { path: "/a b" } }, TypeError, /^metrics\.path: "\/a b" is not the path of a URL$/],
  [{ metrics: { path: 5 } }, TypeError, /^metrics\.path: 5 is not/],
  [{ metrics: { addresses: "*" } }, TypeError, /^metrics\.addresses: "\*" is not a list$/],
  [
    { metrics: { addresses: ["all"] } },
    TypeError,
    /^metrics\.addresses: "all" is not an address, a range such as/,
  ],
  [{ tls: 5 }, TypeError, /^tls: 5 is not an object/],
  [{ fd: "3" }, TypeError, /^fd: "3" is not a number$/],
  [{ fd: -1 }, RangeError, /^fd: -1 is not a whole number from 0 to 2147483647$/],
  [{ fd: 3, path: "/a" }, TypeError, /^fd: 3 and path "\/a" exclude each other$/],
];

options("the others are refused likewise", () => {
  for (const [given, kind, message] of OTHERS) assert.match(refused(given, kind), message);
  for (const wrong of [null, 5, "8080"]) {
    assert.throws(() => settle(wrong as never), /^options: .* is not an object$/);
  }
});

/** Options that are right one by one. */
const CONTRADICTIONS: readonly (readonly [given: Options, message: RegExp])[] = [
  [{ maxFrames: 64, maxQueuedFrames: 65 }, /^maxQueuedFrames: 65 is more than maxFrames \(64\)/],
  [
    { maxHeadLength: 256, maxTargetLength: 8192 },
    /^maxTargetLength: 8192 is more than maxHeadLength \(256\) allows, 240$/,
  ],
  [{ receiveBuffers: 131072 }, /^maxPayloadLength: 16777216 needs receiveBuffers of at least \d+/],
  [
    { receiveBuffers: 131072, maxPayloadLength: 1000 },
    /^maxBodyLength: 1048576 needs receiveBuffers of at least \d+, not 131072$/,
  ],
];

options("options that contradict each other are refused, naming both", () => {
  for (const [given, message] of CONTRADICTIONS) {
    assert.match(refused(given, RangeError), message);
  }
});

/** The names of `LiveOptions`, each once: a name more or less would be a type error. */
const LIVE: Readonly<Record<LiveName, true>> = {
  maxConnectionsPerAddress: true,
  rawTimeout: true,
  maxQueuedFrames: true,
  maxRunBytes: true,
  slowGrace: true,
  flushInterval: true,
  maxBodyLength: true,
  maxStreamLength: true,
  maxRequestsPerSocket: true,
  requireContentLength: true,
  maxPayloadLength: true,
  maxFragments: true,
  headersTimeout: true,
  requestTimeout: true,
  keepAliveTimeout: true,
  writeTimeout: true,
  idleTimeout: true,
  sendPings: true,
  pingInterval: true,
  messageRate: true,
  messageBurst: true,
  closeTimeout: true,
  bufferTimeout: true,
  minReceiveRate: true,
  minSendRate: true,
  rateGrace: true,
};

options("the type of changes names the options that the table says may change", () => {
  const live = OPTIONS.filter((row) => row.live).map((row) => row.name);
  assert.equal(live.sort(), Object.keys(LIVE).sort());
});

options("changes of a running server are refused likewise, and what cannot change", () => {
  const changed = (given: object): string => {
    try {
      settleChanges({ maxFrames: 64 }, given);
    } catch (thrown) {
      return (thrown as Error).message;
    }
    return "";
  };
  for (const row of OPTIONS) {
    for (const [value, , ...has] of wrongOf(row)) {
      const message = changed({ [row.name]: value });
      assert.ok(message.startsWith(`${row.name}: `), message);
      if (!row.live) assert.match(message, /: cannot change while the server runs$/);
      else for (const part of has) assert.ok(message.includes(part), `${message} has no ${part}`);
    }
  }
  assert.match(changed({ maxQueuedFrames: 65 }), /^maxQueuedFrames: 65 is more than maxFrames/);
  assert.match(changed({ hostname: "a" }), /^hostname: cannot change while the server runs$/);
  assert.match(changed(null as never), /^options: null is not an object$/);
});

options.run();
