// The option virtualHosts: how its entries are read and refused, and virtual hosts of a server in memory.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler } from "../../host/handler";
import { settle, settleChanges } from "../../host/options/settle";
import { clientPolicy, tlsOfHost } from "../../host/options/tls";
import type { LiveOptions, Options } from "../../host/options/types";
import { createTestServer } from "../../host/testing";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { testEngine } from "../lib/wasm";

const hosts = suite("hosts");

const TLS = { key: "k", cert: "c" };
const LISTEN = [
  { port: 80, redirect: "https" },
  { port: 443, tls: TLS },
  { port: 8443, hostname: "::", tls: TLS },
  { path: "/a.sock" },
  { fd: 3 },
] as const;

function settled(virtualHosts: unknown, options: Options = { listen: LISTEN }) {
  return settle({ ...options, virtualHosts: virtualHosts as NonNullable<Options["virtualHosts"]> });
}

hosts("are read with names in lower case, and the bits of their listeners", () => {
  const { hosts: all, modules } = settled({
    "A.Example.": { handler: "file:///a.js", listen: [443, "/a.sock"] },
    "*.B.example": { handler: new URL("file:///b.js"), origins: ["https://Page.Example:443/"] },
    ".xn--bcher-kva.example": { handler: "file:///a.js", tls: TLS },
    "[::1]": {},
    "127.0.0.1": {},
    "*": { listen: [8443] },
  });
  assert.equal(
    all.map(({ name, listeners, module, origins, tls }) => [name, listeners, module, origins, tls]),
    [
      ["a.example", 2 | 8, 1, undefined, undefined],
      ["*.b.example", -1, 2, ["https://page.example"], undefined],
      [".xn--bcher-kva.example", -1, 1, undefined, TLS],
      ["[::1]", -1, 0, undefined, undefined],
      ["127.0.0.1", -1, 0, undefined, undefined],
      ["*", 4, 0, undefined, undefined],
    ],
  );
  assert.equal(modules, [
    { kind: "handler", option: 'virtualHosts["A.Example."].handler', url: "file:///a.js" },
    { kind: "handler", option: 'virtualHosts["*.B.example"].handler', url: "file:///b.js" },
  ]);
  assert.equal(settle({}).hosts, []);
});

const NAME =
  /^virtualHosts\[".*"\]: is not a name of a host, such as "a\.example", "\*\.a\.example", /;
const MANY = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`h${i}.example`, {}]));

/** Wrong entries, and the error's kind and message. */
const WRONG: readonly (readonly [hosts: unknown, message: RegExp, kind?: typeof RangeError])[] = [
  [5, /^virtualHosts: 5 is not an object of hosts$/],
  [null, /^virtualHosts: null is not an object of hosts$/],
  [[], /^virtualHosts: an array is not an object of hosts$/],
  [new Map(), /^virtualHosts: an object is not an object of hosts$/],
  [{}, /^virtualHosts: 0 hosts are not from 1 to 1000$/, RangeError],
  [MANY, /^virtualHosts: 1001 hosts are not from 1 to 1000$/, RangeError],
  ...[
    "",
    ".",
    "*.",
    "a..b",
    "a b",
    "a/b",
    "a.*.b",
    "**.a",
    "*a.b",
    "-.a".repeat(100),
    "a@b",
    "a%41",
  ].map((name) => [{ [name]: {} }, NAME] as const),
  [{ [`${"a".repeat(64)}.example`]: {} }, NAME],
  [{ "*.127.0.0.1": {} }, NAME],
  [{ ".[::1]": {} }, NAME],
  [
    { "a.example:443": {} },
    /^virtualHosts\["a\.example:443"\]: has a port; `listen` restricts it to ports$/,
  ],
  [{ "*.a.example:443": {} }, /: has a port/],
  [
    { "b\u00fccher.example": {} },
    /^virtualHosts\["b\u00fccher\.example"\]: is not a name as clients send it; write "xn--bcher-kva\.example"$/,
  ],
  [{ ".b\u00fccher.example": {} }, /write "\.xn--bcher-kva\.example"$/],
  [{ "127.1": {} }, /write "127\.0\.0\.1"$/],
  [{ "[0:0::1]": {} }, /write "\[::1\]"$/],
  [
    { "a.example": {}, "A.example.": {} },
    /^virtualHosts\["A\.example\."\]: "a\.example" is listed twice$/,
  ],
  [{ "a.b": 5 }, /^virtualHosts\["a\.b"\]: 5 is not an object of options$/],
  [{ "a.b": null }, /^virtualHosts\["a\.b"\]: null is not an object of options$/],
  [{ "a.b": [] }, /^virtualHosts\["a\.b"\]: an array is not an object of options$/],
  [
    { "a.b": { handlers: "x" } },
    /^virtualHosts\["a\.b"\]\.handlers: .*did you mean virtualHosts\["a\.b"\]\.handler\?$/,
  ],
  [{ "a.b": { port: 5 } }, /\.port: there is no such option; did you mean .*\.listen\?$/],
  [
    { "a.b": { handler: "./a.js" } },
    /^virtualHosts\["a\.b"\]\.handler: "\.\/a\.js" is not the URL of a module/,
  ],
  [
    { "a.b": { handler: {} } },
    /^virtualHosts\["a\.b"\]\.handler: an object is not the URL of a module/,
  ],
  [{ "a.b": { handler: () => 1 } }, /\.handler: a function is not the URL of a module/],
  [{ "a.b": { origins: "x" } }, /^virtualHosts\["a\.b"\]\.origins: "x" is not a list$/],
  [
    { "a.b": { origins: ["a.b"] } },
    /^virtualHosts\["a\.b"\]\.origins: "a\.b" is not an origin such as/,
  ],
  [{ "a.b": { listen: 443 } }, /^virtualHosts\["a\.b"\]\.listen: 443 is not a list of listeners$/],
  [{ "a.b": { listen: [] } }, /^virtualHosts\["a\.b"\]\.listen: it names no listener$/, RangeError],
  [{ "a.b": { listen: [true] } }, /\.listen\[0\]: true is neither a port nor a path$/],
  [
    { "a.b": { listen: [443, 444] } },
    /^virtualHosts\["a\.b"\]\.listen\[1\]: no listener has 444; they have 80, 443, 8443, "\/a\.sock"$/,
  ],
  [{ "a.b": { listen: ["443"] } }, /\.listen\[0\]: no listener has "443"/],
  [{ "a.b": { listen: [443, 443] } }, /\.listen\[1\]: 443 is listed twice$/],
  [
    { "a.b": { tls: TLS, listen: [80, "/a.sock"] } },
    /^virtualHosts\["a\.b"\]\.tls: none of its listeners has tls$/,
  ],
  [
    { "127.0.0.1": { tls: TLS } },
    /^virtualHosts\["127\.0\.0\.1"\]\.tls: clients of an address name no host in TLS/,
  ],
  [
    { "a.b": { tls: { ...TLS, requestCert: true } } },
    /^virtualHosts\["a\.b"\]\.tls\.requestCert: clients of listen\[3\], which has no tls, would reach it without/,
  ],
  [
    { "a.b": { tls: { ...TLS, rejectUnauthorized: true } } },
    /\.tls\.rejectUnauthorized: true without requestCert$/,
  ],
];

function errorOf(fn: () => unknown): Error {
  try {
    fn();
  } catch (thrown) {
    return thrown as Error;
  }
  return new Error("accepted");
}

hosts("that are wrong are one error, which names the entry, the option and the value", () => {
  for (const [all, message, kind = TypeError] of WRONG) {
    const error = errorOf(() => settled(all));
    assert.match(error.message, message);
    assert.instance(error, kind);
    const again = errorOf(() => settled({ "good.example": {}, ...(Object(all) as object) }));
    if (typeof all === "object" && all && Object.keys(all).length === 1)
      assert.match(again.message, message);
  }
  const alone = errorOf(() => settled({ "a.b": { tls: TLS } }, {}));
  assert.match(alone.message, /^virtualHosts\["a\.b"\]\.tls: none of its listeners has tls$/);
  const demanding = { tls: { ...TLS, requestCert: true } };
  assert.is(settled({ "a.b": demanding }, { tls: TLS }).hosts.length, 1);
  const bound = { "a.b": { ...demanding, listen: [443, 8443] } };
  assert.is(settled(bound).hosts.length, 1);
  const asking = { "a.b": { tls: { ...demanding.tls, rejectUnauthorized: false } } };
  assert.is(settled(asking).hosts.length, 1, "its handler decides");
});

hosts("that `hosts` would refuse are refused", () => {
  const all = { "a.example": {} };
  for (const list of [["b.example"], ["*.b.example", "example"]]) {
    const error = errorOf(() => settled(all, { hosts: list }));
    assert.is(
      error.message,
      'virtualHosts["a.example"]: requests for it are refused, since hosts lacks it',
    );
  }
  for (const list of [[], ["*"], ["a.example"], ["a.example:8080"], ["*.example"]])
    assert.is(settled(all, { hosts: list }).hosts.length, 1, list.join());
  assert.is(settled({ ".b.example": {}, "*": {} }, { hosts: ["a.example"] }).hosts.length, 2);
});

hosts("have the options of TLS of their listener, but for the key and its certificate", () => {
  const main = {
    ...({ key: "k", cert: "c", passphrase: "p", ciphers: "x", minVersion: "TLSv1.3" } as const),
    ...{ ca: "main", crl: "main", requestCert: true, rejectUnauthorized: false },
  };
  const rest = { ciphers: "x", minVersion: "TLSv1.3" };
  const flags = { requestCert: true, rejectUnauthorized: false };
  const own = { key: "k2", cert: "c2" };
  assert.equal(tlsOfHost(main, own), { ...rest, ...flags, ca: "main", crl: "main", ...own });
  assert.equal(tlsOfHost(main, { pfx: new Uint8Array(1), ca: "own" }), {
    ...{ ...rest, ...flags, ca: "own", pfx: new Uint8Array(1) },
  });
  const open = { ...own, requestCert: false };
  assert.equal(tlsOfHost(main, open), { ...rest, ca: "main", crl: "main", ...open });
  const strict = { ...own, requestCert: true };
  assert.equal(tlsOfHost(main, strict), { ...rest, ca: "main", crl: "main", ...strict });
});

hosts("ask for the same client certificates when flags and authorities are equal", () => {
  const asks = { ...TLS, requestCert: true, ca: ["a", "b"] };
  assert.is(clientPolicy(TLS), "");
  assert.is(clientPolicy({ ...TLS, ca: "a" }), "");
  const same = [
    asks,
    { ...asks, key: "other", rejectUnauthorized: true },
    { ...asks, ca: [Buffer.from("a"), "b"] },
  ];
  assert.is(new Set(same.map(clientPolicy)).size, 1);
  const others = [
    { ...asks, rejectUnauthorized: false },
    { ...asks, ca: "a" },
    { ...asks, ca: ["b", "a"] },
    { ...asks, crl: "a" },
    { ...TLS, requestCert: true },
  ];
  assert.is(new Set([asks, ...others].map(clientPolicy)).size, others.length + 1);
});

hosts("of a running server change their certificates alone", () => {
  const own = { ...TLS, passphrase: "p", requestCert: true, ca: "a" };
  const virtualHosts = { "A.example": { tls: own, listen: [443] }, "b.example": {} };
  const options = { listen: LISTEN, virtualHosts };
  const all = settled(virtualHosts).hosts;
  const changed = (change: unknown) =>
    settleChanges(options, { virtualHosts: change } as LiveOptions, all);
  const next = { key: "k2", cert: "c2" };
  const kept = { requestCert: true, ca: "a" };
  for (const [tls, result] of [
    [next, { ...kept, ...next }],
    [
      { ...next, ca: "b" },
      { ...kept, ...next, ca: "b" },
    ],
    [
      { ...next, requestCert: true },
      { ...kept, ...next },
    ],
    [{ pfx: new Uint8Array(1) }, { ...kept, pfx: new Uint8Array(1) }],
  ] as const)
    assert.equal(changed({ "a.EXAMPLE.": { tls } }).hosts, [{ number: 1, tls: result }]);
  assert.equal(changed(undefined).hosts, []);
  for (const [change, message] of [
    [5, /^virtualHosts: 5 is not an object of hosts$/],
    [{ "c.example": { tls: next } }, /^virtualHosts\["c\.example"\]: the server has no such host$/],
    [
      { "b.example": { tls: next } },
      /^virtualHosts\["b\.example"\]\.tls: cannot be switched on while/,
    ],
    [{ "a.example": 5 }, /^virtualHosts\["a\.example"\]: 5 is not an object of options$/],
    [{ "a.example": {} }, /^virtualHosts\["a\.example"\]\.tls: is missing$/],
    [
      { "a.example": { tls: next, origins: [] } },
      /\.origins: cannot change while the server runs$/,
    ],
    [{ "a.example": { tls: next }, "A.example": { tls: next } }, /: "a\.example" is listed twice$/],
    [{ "a.example": { tls: { key: "k" } } }, /\.tls: key and cert are missing$/],
    [
      { "a.example": { tls: { ...next, requestCert: false } } },
      /\.tls\.requestCert: cannot change/,
    ],
    [
      { "a.example": { tls: { ...next, rejectUnauthorized: false } } },
      /\.rejectUnauthorized: cannot/,
    ],
    [{ "a.example": { tsl: next } }, /\.tsl: there is no such option; did you mean .*\.tls\?$/],
  ] as const)
    assert.match(errorOf(() => changed(change)).message, message);
});

hosts("that ask for other client certificates than the one of a connection get 421", () => {
  const clock = new VirtualClock();
  const all = settled({ "a.example": { handler: "file:///a" }, "b.example": {}, "c.example": {} });
  const pump = new Pump({ engine: testEngine(), clock, hosts: all.hosts });
  pump.setHandler({ request: (_, res) => res.send(200) });
  pump.setModules([{ request: (_, res) => res.send(204) }]);
  // The listener asks for none, a for some, b for none, c for others.
  if (pump.requests.hosts) pump.requests.hosts.policies = [undefined, [0, 1, 0, 2]];
  const status = (isSecure: boolean, number: number, opened: number, host: string): number => {
    const net = new MemoryNet(clock);
    const traits = { number, isSecure, proxies: undefined, redirects: false, isCopied: false };
    const accept = pump.acceptor(traits);
    net.open(pump.engine.windowView(), (link) => accept(Object.assign(link, { host: opened })));
    const socket = net.connect(65536, "192.0.2.1");
    socket?.send(Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
    clock.run();
    const text = Buffer.from(socket?.read(65536) ?? new Uint8Array()).toString();
    socket?.reset();
    clock.run();
    return Number(text.slice(9, 12));
  };
  const hostNames = ["a.example", "b.example", "c.example", "d.example"];
  const answers = (opened: number, isSecure = true, listener = 1) =>
    hostNames.map((host) => status(isSecure, listener, opened, host));
  assert.equal(answers(0), [421, 200, 421, 200], "opened for no host");
  assert.equal(answers(1), [204, 200, 421, 200], "opened for a");
  assert.equal(answers(2), [421, 200, 421, 200], "opened for b");
  assert.equal(answers(3), [421, 200, 200, 200], "opened for c");
  assert.equal(answers(0, false), [204, 200, 200, 200], "without TLS");
  assert.equal(
    answers(0, true, 0),
    [204, 200, 200, 200],
    "at a listener where all ask for the same",
  );
});

/** Heads of requests, and the host that each names. */
const NAMED: readonly (readonly [head: string, host: string])[] = [
  ["GET / HTTP/1.1\r\nHost: a.example\r\n", "a"],
  ["GET / HTTP/1.1\r\nhOST:a.EXAMPLE:80\r\n", "a"],
  ["GET / HTTP/1.1\r\nFrom: b.example\r\nDate: b.example\r\nHost: \ta.example \r\n", "a"],
  ["GET http://a.example/b.example HTTP/1.1\r\nHost: b.example\r\n", "a"],
  ["GET https://a.example?x=/ HTTP/1.1\r\nHost: b.example\r\n", "a"],
  ["OPTIONS ws://a.example HTTP/1.1\r\nHost: b.example\r\n", "a"],
  ["GET http://A.example:8080 HTTP/1.1\r\nHost: b.example\r\n", "a"],
  ["GET / HTTP/1.1\r\nX-Host: a.example\r\nHosts: a.example\r\nHost: b.example\r\n", "b"],
  ["GET / HTTP/1.1\r\nHost: c.example\r\n", "main"],
  ["GET / HTTP/1.0\r\n", "main"],
  ["GET / HTTP/1.0\r\nHost: a.example\r\n", "a"],
  [`GET / HTTP/1.1\r\n${"X: y\r\n".repeat(20)}Host: b.example\r\n`, "b"],
];

hosts("are named by the target, else by the Host field, wherever it is", () => {
  const clock = new VirtualClock();
  const net = new MemoryNet(clock);
  const all = settled({
    "a.example": { handler: "file:///a" },
    "b.example": { handler: "file:///b" },
  });
  const pump = new Pump({ engine: testEngine(), clock, hosts: all.hosts });
  const calls: string[] = [];
  const noting = (name: string): Handler => ({
    request(_, res) {
      calls.push(name);
      return res.send(200);
    },
  });
  pump.setHandler(noting("main"));
  pump.setModules([noting("a"), noting("b")]);
  net.open(pump.engine.windowView(), pump.accept);
  for (const [head, name] of NAMED) {
    const bytes = Buffer.from(`${head}\r\n`);
    // At once, and where the head moves to a buffer.
    for (const cut of [bytes.length, bytes.length - 1, 5]) {
      const socket = net.connect(65536, "192.0.2.1");
      socket?.send(bytes.subarray(0, cut));
      clock.run();
      socket?.send(bytes.subarray(cut));
      clock.run();
      assert.equal(calls.splice(0), [name], `${head} cut at ${cut}`);
      socket?.reset();
      clock.run();
    }
  }
});

const named = (name: string): Handler => ({
  request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "text/plain", name)),
  message: (ws, text) => ws.send(`${name} ${text}`),
});

hosts("of a server in memory are found by the Host of a request, without TLS", async () => {
  const t = createTestServer({
    handler: named("main"),
    origins: ["https://main.example"],
    virtualHosts: {
      "a.example": { handler: named("a"), origins: ["*"], tls: TLS },
      "*.b.example": { handler: async () => named("b") },
    },
    listen: [{ port: 443, tls: TLS }],
    onError: () => undefined,
  });
  assert.throws(() => t.connect("/"), /the handler has not loaded yet/);
  await t.ready;
  const texts = ["a.example", "x.b.example", "b.example"].map(async (host) => {
    const response = await t.fetch(`http://${host}/`);
    return response.text();
  });
  assert.equal(await Promise.all(texts), ["a", "b", "main"]);
  const statuses: number[] = [];
  for (const host of ["a.example", "b.example"]) {
    const client = t.connect("/", { headers: { Host: host, Origin: "https://page.example" } });
    await t.settle();
    client.send("hi");
    await t.settle();
    statuses.push(client.answer?.status ?? 101);
    if (host === "a.example") assert.equal(client.messages, ["a hi"]);
  }
  assert.equal(statuses, [101, 403]);
  await t.server.configure({ virtualHosts: { "a.example": { tls: { key: "k2", cert: "c2" } } } });
  await t.server.reload(named("next"));
  assert.is(await (await t.fetch("http://a.example/")).text(), "a");
  assert.is(await (await t.fetch("http://c.example/")).text(), "next");
  await t.close();
});

hosts("of a server in memory take handlers, which are checked", () => {
  for (const [handler, message] of [
    [
      "file:///a.js",
      /^virtualHosts\["a\.b"\]\.handler: must be a handler, or a function that makes one$/,
    ],
    [new URL("file:///a.js"), /^virtualHosts\["a\.b"\]\.handler: must be a handler, or a function/],
    [{ mesage() {} }, /^virtualHosts\["a\.b"\]\.handler\.mesage: .*did you mean message\?$/],
    [
      { connect() {} },
      /^virtualHosts\["a\.b"\]\.handler\.connect: is called on the main handler alone/,
    ],
  ] as const) {
    const virtualHosts = { "a.b": { handler: handler as Handler } };
    assert.match(errorOf(() => createTestServer({ virtualHosts })).message, message);
  }
});

hosts.run();
