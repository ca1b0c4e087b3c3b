// The command line's parts: values as people write them, flags against the table of options, mistakes, and what the
// load command makes of messages.

import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Client } from "../../host/cli/client";
import { flagsText, parseFlags } from "../../host/cli/flags";
import { Latency, Times, sentAt } from "../../host/cli/latency";
import { SERVE_FLAGS } from "../../host/cli/serve";
import { SERVER_FLAGS, kebab, optionsOf } from "../../host/cli/options";
import { readFigures, rowsOf } from "../../host/cli/stats";
import {
  UsageError,
  bytesText,
  countText,
  parseRate,
  parseSize,
  parseTime,
  rangeText,
  secondsText,
  valueText,
} from "../../host/cli/values";
import type { Options } from "../../host/options/types";
import { nearest } from "../../host/options/known";
import { settle } from "../../host/options/settle";
import { OPTIONS, POOL_OPTIONS } from "../../host/options/table";

const cli = suite("cli");

cli("sizes are bytes, of 1,024 or 1,000 as their units say", () => {
  const sizes: readonly [string, number][] = [
    ["0", 0],
    ["65536", 65536],
    ["64k", 65536],
    ["64K", 65536],
    ["64KiB", 65536],
    ["64 KiB", 65536],
    ["64kB", 64000],
    ["1.5MiB", 1572864],
    ["16M", 16777216],
    ["1MB", 1000000],
    ["2GiB", 2147483648],
    ["100B", 100],
  ];
  for (const [text, bytes] of sizes) assert.is(parseSize(text), bytes, text);
  for (const text of ["", "k", "-1", "1e3", "1 k", "64iB", "1TB", "0x10", "1..5"])
    assert.ok(Number.isNaN(parseSize(text)), text);
  assert.is(parseRate("1MB/s"), 1000000);
  assert.is(parseRate("64k"), 65536);
});

cli("times are in the option's unit, or in their own", () => {
  assert.is(parseTime("250", "ms"), 250);
  assert.is(parseTime("250ms", "ms"), 250);
  assert.is(parseTime("30s", "ms"), 30000);
  assert.is(parseTime("1.5m", "s"), 90);
  assert.is(parseTime("120", "s"), 120);
  assert.is(parseTime("500ms", "s"), 0.5);
  for (const text of ["", "s", "-1", "5d", "1 s"]) assert.ok(Number.isNaN(parseTime(text, "s")));
});

cli("figures are printed as people read them", () => {
  assert.equal([bytesText(0), bytesText(1536), bytesText(2 ** 30)], ["0 B", "1.50 KiB", "1 GiB"]);
  assert.equal([countText(999), countText(12345), countText(2e6)], ["999", "12.3 k", "2 M"]);
  assert.equal(
    [secondsText(0.0123), secondsText(16.7), secondsText(3600)],
    ["12.3 ms", "16.7 s", "60 min"],
  );
  assert.is(secondsText(Number.POSITIVE_INFINITY), "no end");
});

/** Options of `serve` that are no flags: functions, signals and virtual hosts. */
const FUNCTIONS = [
  ...["handler", "pool", "signal", "onEvict", "onError", "logger", "tls", "metrics"],
  "virtualHosts",
];

cli(
  "every option that is no function has a flag, in kebab-case, with its default and range in the help",
  () => {
    const help = flagsText(SERVER_FLAGS, (text) => text, 10000);
    for (const [prefix, rows] of [
      ["", OPTIONS],
      ["pool-", POOL_OPTIONS],
    ] as const) {
      for (const row of rows) {
        const name = prefix + kebab(row.name);
        const [, block = ""] = help.split(new RegExp(`(?:^|, |  )--${name}(?= |\\n)`, "m"));
        assert.ok(block, name);
        const [, text = ""] = block.split("\n");
        assert.ok(text.includes(row.text), name);
        if (row.unit === "flag") continue;
        assert.ok(text.includes(valueText(row, row.default)), `${name}: ${text}`);
        assert.ok(text.includes(rangeText(row)), `${name}: ${text}`);
      }
    }
    // Options of `settle` beside the tables.
    const all: Record<keyof Options, 1> = {
      ...(Object.fromEntries(OPTIONS.map(({ name }) => [name, 1])) as Record<keyof Options, 1>),
      ...{ path: 1, fd: 1, serverHeader: 1, hostname: 1, raw: 1 },
      ...{ origins: 1, hosts: 1, protocols: 1, trustProxy: 1, proxyProtocol: 1 },
      ...{ listen: 1, mode: 1, redirect: 1, errorPages: 1, accessLog: 1 },
      ...{ protocolHandlers: 1, defaultProtocol: 1 },
    };
    const names = new Set(SERVER_FLAGS.map(({ name }) => name));
    for (const name of Object.keys(all)) assert.ok(names.has(kebab(name)), name);
    assert.is(names.size, SERVER_FLAGS.length, "no flag is there twice");
    assert.is(names.size, Object.keys(all).length + POOL_OPTIONS.length + 6);
    for (const name of FUNCTIONS)
      assert.not.ok(name in all && names.has(name) && name !== "metrics");
  },
);

/** Returns the options that a command line passes to `serve`. */
function options(...args: string[]): Options {
  return optionsOf(parseFlags(args, SERVE_FLAGS).given, "file:///handler.js");
}

cli("every value of the table can be given, and comes out as it was", () => {
  for (const row of OPTIONS) {
    const flag = `--${kebab(row.name)}`;
    if (row.unit === "flag") {
      // Publications can be kept only where something reads them.
      const needed = row.name === "history" ? ["--events"] : [];
      assert.is(options(flag, ...needed)[row.name], true);
      assert.is(options(`--no-${kebab(row.name)}`)[row.name], false);
    } else {
      assert.is(options(flag, String(row.default))[row.name], row.default, flag);
      assert.is(options(`${flag}=${row.default}`)[row.name], row.default, flag);
    }
  }
  for (const { name, default: standard } of POOL_OPTIONS) {
    const given = options(`--pool-${kebab(name)}`, String(standard));
    assert.equal(given.pool, { [name]: standard });
  }
});

cli("reads units, lists, files and flags that belong together", () => {
  assert.is(options("--ring", "64MiB").ring, 67108864);
  assert.is(options("--idle-timeout", "2m").idleTimeout, 120);
  assert.is(options("--heap", "1GiB").heap, 1024);
  assert.equal(options("--events", "--events-names").events, { names: true });
  assert.equal(options("--events", "--no-events-names").events, { names: false });
  assert.throws(() => options("--events-names"), "--events-names: needs --events");
  assert.equal(options("--origins", "https://a.b", "--origins=*").origins, ["https://a.b", "*"]);
  assert.equal(options("--trust-proxy", "loopback").trustProxy, ["loopback"]);
  assert.is(options("--proxy-protocol", "*").proxyProtocol, true);
  assert.equal(options("--metrics", "/m").metrics, { path: "/m" });
  assert.equal(options("--access-log", "-").accessLog, { file: "-" });
  assert.equal(options("--access-log", "a.log", "--access-log-format", "json").accessLog, {
    ...{ file: "a.log", format: "json" },
  });
  assert.equal(options("--metrics", "/m", "--metrics-addresses", "*").metrics, {
    path: "/m",
    addresses: true,
  });
  const cert = "test/e2e/tls/cert.pem";
  const tls = options("--tls-key", "test/e2e/tls/key.pem", "--tls-cert", cert).tls;
  assert.match(String(tls?.key), /PRIVATE KEY/);
  assert.is(settle(options("-p", "0")).values.port, 0);
});

const TLS_FLAGS = "--tls-key test/e2e/tls/key.pem --tls-cert test/e2e/tls/cert.pem";

cli("listeners are texts, and the options of each hold for all", () => {
  const { listen, port, backlog } = options(
    ..."--listen http://0.0.0.0:80 --listen=https://[::]:8443/ --listen unix:/run/a.sock".split(
      " ",
    ),
    ..."--listen fd:3 --redirect --mode 660 --backlog 5 --no-no-delay".split(" "),
    ...TLS_FLAGS.split(" "),
  );
  assert.equal([port, backlog], [undefined, undefined]);
  const shared = { backlog: 5, noDelay: false };
  const [plain, secure, unix, inherited] = listen ?? [];
  const redirect = "https";
  assert.equal(plain, { ...shared, hostname: "0.0.0.0", port: 80, redirect });
  assert.equal(
    { ...secure, tls: Object.keys(secure?.tls ?? {}) },
    { ...shared, hostname: "::", port: 8443, redirect, tls: ["key", "cert"] },
  );
  assert.equal(unix, { ...shared, path: "/run/a.sock", mode: 0o660 });
  assert.equal(inherited, { ...shared, fd: 3, redirect });
  const ports = ["http://a", "https://a"].flatMap(
    (text) =>
      options("--listen", text, "--listen", "https://b", ...TLS_FLAGS.split(" ")).listen?.[0]
        ?.port ?? [],
  );
  assert.equal(ports, [80, 443]);
  // Without --listen they are options of the one listener.
  assert.equal(options("--path", "/a", "--mode", "0o600").listen, [{ path: "/a", mode: 0o600 }]);
  assert.is(options("--no-redirect").listen, undefined);
});

cli("error pages are files by status", () => {
  const { errorPages } = options("--error-pages", "404=a=b.html", "--error-pages=500=c.txt");
  assert.equal(errorPages, { 404: "a=b.html", 500: "c.txt" });
});

cli("modules of subprotocols are files by name", () => {
  const { protocolHandlers, defaultProtocol } = options(
    ..."--protocol-handlers chat=a.mjs --protocol-handlers echo=/b.mjs --default-protocol echo".split(
      " ",
    ),
  );
  const own = pathToFileURL("a.mjs").href;
  const urls = Object.entries(protocolHandlers ?? {}).map(([name, url]) => [name, String(url)]);
  assert.equal(urls, [
    ["chat", own],
    ["echo", "file:///b.mjs"],
  ]);
  assert.is(defaultProtocol, "echo");
});

/** Mistakes, and what is said of them. */
const MISTAKES: readonly (readonly [args: string, message: string | RegExp])[] = [
  ["--rnig 5", "--rnig: there is no such option; did you mean --ring?"],
  [
    "--maxWebSockets 5",
    "--maxWebSockets: there is no such option; did you mean --max-web-sockets?",
  ],
  ["--no-send-pngs", "--no-send-pngs: there is no such option; did you mean --send-pings?"],
  ["--frobnicate", "--frobnicate: there is no such option"],
  ["-x", "-x: there is no such option"],
  ["--no-port", /^--no-port: there is no such option/],
  ["--port", "--port: needs a value, PORT"],
  ["--port --ring 5", "--port: needs a value, PORT"],
  ["--port 1 --port 2", "--port: is given twice"],
  ["--watch=yes", "--watch: takes no value"],
  ["--port abc", "--port: abc is not from 0 … 65535"],
  ["--port 65536", "--port: 65536 is not a whole number from 0 to 65535"],
  ["--port -1", "--port: -1 is not from 0 … 65535"],
  ["--ring 5MiB", "--ring: 5242880 is not a power of two; the nearest are 4194304 and 8388608"],
  ["--ring ten", "--ring: ten is not from 4 KiB … 1024 MiB, a power of two"],
  ["--when-full never", '--when-full: "never" is not one of "refuse", "evict"'],
  ["--pool-threads 0", "--pool-threads: 0 is not a whole number from 1 to 1024"],
  ["--max-frames 64 --max-queued-frames 65", /^--max-queued-frames: 65 is more than maxFrames/],
  ["--trust-proxy here", /^--trust-proxy: "here" is not an address, a range/],
  ["--metrics stats", '--metrics: "stats" is not the path of a URL'],
  ["--access-log-format json", "--access-log-format: needs --access-log"],
  [
    "--access-log - --access-log-format xml",
    '--access-log-format: "xml" is not one of "combined", "json"',
  ],
  ["--metrics-addresses loopback", "--metrics-addresses: needs --metrics"],
  ["--metrics /m --metrics-addresses here", /^--metrics-addresses: "here" is not an address/],
  ["--fd three", /^--fd: NaN is not a whole number/],
  ["--tls-key test/e2e/tls/key.pem", "--tls-key, --tls-cert: one needs the other"],
  ...[
    "80",
    "a:80",
    "ftp://a",
    "http://a:70000",
    "http://a/b",
    "http://u@a",
    "unix:",
    "fd:",
    "https://",
  ].map((text): readonly [string, RegExp] => [
    `--listen ${text}`,
    new RegExp(`^--listen: ${text} is not http://HOST:PORT, https://HOST:PORT, unix:FILE or fd:N$`),
  ]),
  ["--listen fd:x", "--fd: NaN is not a whole number from 0 to 2147483647"],
  ["--listen http://a --port 80", "--listen: excludes --port; give another --listen"],
  ["--listen https://a", "--listen: https://a needs --tls-key and --tls-cert"],
  [`--listen http://a ${TLS_FLAGS}`, "--tls-key: no listener is https://HOST:PORT"],
  ["--listen http://a --mode 600", "--mode: no listener is a Unix socket"],
  ["--path /a --mode 9", "--mode: 9 is not an octal number such as 660"],
  ["--path /a --mode 1777", /^--mode: 1023 \(0o1777\) is not a whole number from 0 to 0o777$/],
  ["--redirect", '--redirect: "https" needs a listener with tls and a port'],
  ["--listen http://a --backlog 0", "--backlog: 0 is not a whole number from 1 to 65535"],
  ["--listen http://a --proxy-protocol here", /^--proxy-protocol: "here" is not an address/],
  ["--error-pages 404.html", "--error-pages: 404.html is not STATUS=FILE"],
  ["--error-pages 404=a.html --error-pages 404=b.html", "--error-pages: 404 is given twice"],
  ["--error-pages 200=a.html", '--error-pages: "200" is not a status from 400 to 599'],
  ["--protocol-handlers chat", "--protocol-handlers: chat is not NAME=FILE"],
  ["--protocol-handlers a,b=a.mjs", /^--protocol-handlers: "a,b" is not the name of a subprotocol/],
  ["--default-protocol chat", '--default-protocol: "chat" without protocolHandlers'],
  ["--error-pages 404=a.png", /^--error-pages 404: "a.png" is not a file with a name that ends/],
];

cli("reports a mistake with the flag, the value, the range, and the likely intention", () => {
  for (const [args, message] of MISTAKES) {
    try {
      options(...args.split(" "));
    } catch (error) {
      assert.ok(error instanceof UsageError, `${args}: ${error}`);
      if (typeof message === "string") assert.is(error.message, message);
      else assert.match(error.message, message);
      continue;
    }
    assert.unreachable(`accepted: ${args}`);
  }
});

cli("words and flags may come in any order; after -- all are words", () => {
  const { given, words } = parseFlags(["a.js", "--port", "1", "b", "--", "--ring"], SERVE_FLAGS);
  assert.equal(words, ["a.js", "b", "--ring"]);
  assert.equal([...given], [["port", ["1"]]]);
  assert.is(nearest("laod", ["plan", "load", "stats"]), "load");
  assert.is(nearest("handler", ["plan", "load", "stats"]), undefined);
});

cli("percentiles are right to one part in a hundred", () => {
  const times = new Times();
  assert.ok(Number.isNaN(times.percentile(0.5)));
  for (let i = 1; i <= 1000; i++) times.add(i / 10);
  for (const [part, ms] of [
    [0.5, 50],
    [0.99, 99],
    [1, 100],
  ] as const) {
    const found = times.percentile(part);
    assert.ok(found >= ms * 0.999 && found <= ms * 1.01, `${part}: ${found}`);
  }
  times.add(-5);
  times.add(1e12);
  assert.is(times.count, 1002);
});

cli("a message's time is a field time or t, in ms, that is near to now", () => {
  const now = 1763728000000;
  assert.is(sentAt(`{"time":${now - 5}}`, now), now - 5);
  assert.is(sentAt(`{"a":1,"t": ${now}.25 ,"b":2}`, now), now + 0.25);
  for (const text of [
    "",
    "hello",
    '{"time":5}',
    '{"time":"1763728000000"}',
    '{"time":1663728000000}',
  ])
    assert.ok(Number.isNaN(sentAt(text, now)), text);
});

/** As much of a client as `Latency` sees. */
function clients(count: number): Client[] {
  return Array.from({ length: count }, () => ({ messages: 0, probe: 0 }) as Client);
}

function give(latency: Latency, client: Client, text: string): void {
  const bytes = Buffer.from(`..${text}`);
  latency.read();
  client.messages++;
  latency.message(client, bytes.length - 2, bytes, 2);
}

/** The clock of the tests of `Latency`, in ms. */
let now = 0;

cli("the spread is counted from the first client that gets a message after a silence", () => {
  const latency = new Latency(() => now);
  const all = clients(10);
  for (let round = 0; round < 3; round++) {
    now += 220;
    for (const [i, client] of all.entries()) {
      if (i === 9) now += 20;
      give(latency, client, `message ${round}`);
    }
  }
  latency.settle();
  assert.is(latency.spread.count, 27);
  assert.ok(latency.spread.percentile(0.5) < 0.01);
  const most = latency.spread.percentile(0.99);
  assert.ok(most >= 20 && most < 22, `${most}`);
  assert.is(latency.missed, 0);
  assert.is(latency.sent.count, 0);
});

cli("a client that gets fewer messages than others between two probes has missed some", () => {
  const latency = new Latency(() => now);
  const all = clients(5);
  for (let round = 0; round < 4; round++) {
    now += 220;
    for (const [i, client] of all.entries()) {
      give(latency, client, `probe ${round}`);
      for (let k = 0; k < 10; k++) {
        if (round === 1 && i === 3 && k < 4) continue;
        give(latency, client, `other ${round} ${k}`);
      }
    }
  }
  latency.settle();
  assert.is(latency.missed, 4);
});

cli("repeated equal texts give no figure", () => {
  const latency = new Latency(() => now);
  const all = clients(3);
  for (let round = 0; round < 3; round++) {
    now += 220;
    for (let k = 0; k < 3; k++) for (const client of all) give(latency, client, "ping");
  }
  latency.settle();
  assert.equal([latency.spread.count, latency.missed], [0, 0]);
});

cli("statistics are read as OpenMetrics and as JSON", () => {
  const text =
    '# TYPE ringcast_connections gauge\nringcast_connections 5\nringcast_closed_total{cause="Ok"} 7\n' +
    "ringcast_ring_horizon_seconds +Inf\n# EOF\n";
  const figures = readFigures(text, "application/openmetrics-text");
  assert.equal(
    rowsOf(figures, undefined, 1).map(([name, value]) => [name.trim(), value]),
    [
      ["connections", "5"],
      ['closed{cause="Ok"}', "7"],
      ["ring_horizon_seconds", "no end"],
    ],
  );
  const later = new Map([...figures, ['ringcast_closed_total{cause="Ok"}', 27]]);
  assert.is(rowsOf(later, figures, 2)[1]?.[2], "10/s");
  const json = readFigures(
    '{"requests":3,"ring":{"bytes":65536,"used":0},"lag":{"bounds":[0]}}',
    "application/json",
  );
  assert.equal(
    [...json],
    [
      ["requests", 3],
      ["ring.bytes", 65536],
      ["ring.used", 0],
    ],
  );
  assert.throws(() => readFigures("<html>", "text/plain"), /neither metrics nor statistics/);
  assert.throws(() => readFigures("{", "application/json"), /neither metrics nor statistics/);
});

cli.run();
