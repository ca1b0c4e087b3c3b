// Configuration files: how they are read, the places of faults, the schema, and the options that a reload may change.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { checkAll, readConfig } from "../../host/cli/config/read";
import { planReload } from "../../host/cli/config/reload";
import { OPTION_NAMES } from "../../host/options/settle";
import { OPTIONS, POOL_OPTIONS } from "../../host/options/table";
import type { Options } from "../../host/options/types";
import type { Server } from "../../host/server";
import { configSchema } from "../lib/schema";

const config = suite("config");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-config-"));
config.after(() => rmSync(folder, { recursive: true }));

const KEYS = path.resolve("test/e2e/tls");

function file(name: string, text: string): string {
  const full = path.join(folder, name);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

file("public/index.html", "<h1>hello</h1>");
file("handler.mjs", "export default {};");
file("404.html", "none");
file("key.pem", readFileSync(path.join(KEYS, "key.pem"), "utf8"));
file("cert.pem", readFileSync(path.join(KEYS, "cert.pem"), "utf8"));
file("pass.txt", "secret\n");

let files = 0;

/** Reads and checks a text as a configuration. */
function read(text: string, ending = "jsonc"): ReturnType<typeof readConfig> {
  const found = readConfig(file(`${++files}.${ending}`, text));
  return found;
}

function readOptions(given: unknown): Options {
  return read(JSON.stringify(given), "json").options;
}

/** Returns the message of a fault, without the name of the file. */
function faultOf(fn: () => unknown): string {
  try {
    fn();
  } catch (thrown) {
    return (thrown as Error).message.replace(/^.*?\.jsonc?(?=:)/, "");
  }
  return "none";
}

config("paths, modules and secrets are relative to the file, everything else is as it is", () => {
  const module = pathToFileURL(path.join(folder, "handler.mjs")).href;
  const key = readFileSync(path.join(folder, "key.pem"), "utf8");
  const options = readOptions({
    $schema: "https://a.example/schema.json",
    handler: "handler.mjs",
    listen: [
      { port: 1, tls: { key: "key.pem", cert: "cert.pem", ca: ["cert.pem"] } },
      { path: "run/a.sock", mode: "660" },
    ],
    virtualHosts: {
      "a.example": { handler: "./handler.mjs", listen: [1, "run/a.sock"] },
      "b.example": { mounts: [{ path: "/", files: "public" }] },
    },
    mounts: [
      { path: "/", files: "public" },
      { path: "/book", zip: "book.zip" },
      { path: "/db", source: "handler.mjs" },
      { path: "/form", handler: "data:text/javascript,export default {}" },
      { path: "/api", proxy: "http://127.0.0.1:3000" },
      { path: "/old", redirect: "/new" },
    ],
    errorPages: { 404: "404.html", 500: { type: "text/plain", body: "a.html" } },
    accessLog: { file: "access.log" },
    ring: "16MiB",
    origins: ["https://a.example"],
  });
  const cert = readFileSync(path.join(folder, "cert.pem"), "utf8");
  const inFolder = (name: string): string => path.join(folder, name);
  assert.equal(options, {
    handler: module,
    listen: [
      { port: 1, tls: { key, cert, ca: [cert] } },
      { path: inFolder("run/a.sock"), mode: 0o660 },
    ],
    virtualHosts: {
      "a.example": { handler: module, listen: [1, inFolder("run/a.sock")] },
      "b.example": { mounts: [{ path: "/", files: inFolder("public") }] },
    },
    mounts: [
      { path: "/", files: inFolder("public") },
      { path: "/book", zip: inFolder("book.zip") },
      { path: "/db", source: module },
      { path: "/form", handler: "data:text/javascript,export default {}" },
      { path: "/api", proxy: "http://127.0.0.1:3000" },
      { path: "/old", redirect: "/new" },
    ],
    errorPages: { 404: inFolder("404.html"), 500: { type: "text/plain", body: "a.html" } },
    accessLog: { file: inFolder("access.log") },
    ring: "16MiB",
    origins: ["https://a.example"],
  });
  const { tls } = readOptions({ tls: { pfx: "pass.txt", passphrase: "pass.txt" } });
  assert.equal(tls, { pfx: new Uint8Array(Buffer.from("secret\n")), passphrase: "secret" });
  assert.equal(readOptions({ accessLog: { file: "-" } }), { accessLog: { file: "-" } });
});

config("comments and trailing commas are for .jsonc", () => {
  const text = '{\n  // a comment\n  "port": 1, /* more */\n  "hosts": ["a",],\n}\n';
  assert.equal(read(`\ufeff${text}`).options, { port: 1, hosts: ["a"] });
  assert.is(
    faultOf(() => read(text, "json")),
    ":2:3: invalid comment token; name the file *.jsonc",
  );
});

/** Texts, and the place and the text of their faults. */
const FAULTS: readonly (readonly [text: string, fault: string | RegExp])[] = [
  ["", ":1:1: value expected"],
  ["[]", ":1:1: the file is not an object of options"],
  ["null", ":1:1: the file is not an object of options"],
  ['{"port": }', ":1:10: value expected"],
  ['{"port": 1', /^:1:11: close brace expected/],
  ["{port: 1}", /^:1:2: invalid symbol/],
  ['{"port": 1,\n "port": 2}', ':2:2: "port" is given twice'],
  ['{"pool": {"threads": 1, "threads": 2}}', ':1:25: "threads" is given twice'],
  ['{\n "prot": 1}', ":2:2: prot: there is no such option; did you mean port?"],
  ['{"__proto__": {"port": 1}}', /__proto__: there is no such option/],
  ['{"port": 70000}', ":1:2: port: 70000 is not a whole number from 0 to 65535"],
  ['{"port": null}', ":1:2: port: null is not a number"],
  ['{"$schema": 1}', ":1:2: $schema: is not the URL of a schema"],
  ['{"logger": {}}', ":1:2: logger: is for programs that call serve()"],
  ['{"onError": "a"}', ":1:2: onError: is for programs that call serve()"],
  ['{"listen": [{},\n {"prot": 1}]}', /^:2:3: listen\[1\]\.prot: there is no such option/],
  [
    '{"listen": [{"path": "a", "mode": "888"}]}',
    ':1:27: listen[0].mode: "888" is not an octal number such as "660"',
  ],
  [
    '{"virtualHosts": {"a.example":\n {"origins": 1}}}',
    ':2:3: virtualHosts["a.example"].origins: 1 is not a list',
  ],
  ['{"errorPages": {"404":\n "a.png"}}', /^:1:17: errorPages\[404\]: /],
  ['{"errorPages": {"404": "none.html"}}', /^:1:17: errorPages\[404\]: ENOENT/],
  ['{"mounts": [{"path": "/", "files": "none"}]}', /^:1:27: mounts\[0\]\.files: ENOENT/],
  [
    '{"mounts": [{"path": "/", "files": "key.pem"}]}',
    /^:1:27: mounts\[0\]\.files: .* is not a folder/,
  ],
  ['{"handler": "none.mjs"}', /^:1:2: handler: there is no file ".*none\.mjs"$/],
  [
    '{"mounts": [{"path": "/", "handler": "none.mjs"}]}',
    /^:1:27: mounts\[0\]\.handler: there is no file/,
  ],
  ['{"accessLog": {"file": "none/a.log"}}', /^:1:16: accessLog\.file: there is no folder/],
  ['{"tls": {"key": "none.pem", "cert": "cert.pem"}}', /^:1:10: tls\.key: ENOENT/],
  ['{"tls": {"key": "cert.pem", "cert": "cert.pem"}}', /^:1:10: tls\.key: /],
  ['{"tls": {"key": "key.pem"}}', ":1:2: tls: key and cert are missing"],
  [
    '{"tls": {"key": "-----BEGIN PRIVATE KEY-----\\nMII", "cert": "cert.pem"}}',
    ":1:10: tls.key: is the text of a file; give the path of the file",
  ],
  [
    '{"ring": "1MiB", "replyBuffers": "3GiB"}',
    /^:1:18: replyBuffers: "3GiB" is not a whole number/,
  ],
];

config("a fault is one line with its file, line, column, option and value", () => {
  for (const [text, expected] of FAULTS) {
    const fault = faultOf(() => {
      const { options, text: own } = read(text);
      try {
        checkAll(options);
      } catch (thrown) {
        throw own.explain((thrown as Error).message);
      }
    });
    if (typeof expected === "string") assert.is(fault, expected, text);
    else assert.match(fault, expected, text);
    assert.not.match(fault, /\n|MII/);
  }
  assert.match(
    faultOf(() => readConfig(folder)),
    /is not a file$/,
  );
  const large = file("large.json", `{"serverHeader": "${"x".repeat(1048576)}"}`);
  assert.match(
    faultOf(() => readConfig(large)),
    /bytes are more than 1048576$/,
  );
});

const schema = configSchema();
const validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);

config("the schema has each option that a file can have, with its description and default", () => {
  const { properties = {} } = schema;
  const programs = ["signal", "onEvict", "onError", "logger"];
  assert.equal(
    Object.keys(properties).sort(),
    [...OPTION_NAMES.filter((name) => !programs.includes(name)), "$schema"].sort(),
  );
  for (const row of OPTIONS) {
    const { description, default: value } = properties[row.name] ?? {};
    assert.equal([description, value], [row.text, row.default]);
  }
  assert.equal(
    Object.keys(properties.pool?.properties ?? {}),
    POOL_OPTIONS.map(({ name }) => name),
  );
  for (const [name, { description }] of Object.entries(properties)) assert.ok(description, name);
});

/** Configurations that are right, of every option and every form. */
const RIGHT: readonly object[] = [
  {},
  { $schema: "./schema.json", port: 0, hostname: "::", backlog: 1 },
  { path: "a.sock" },
  { fd: 3, proxyProtocol: true },
  { proxyProtocol: ["loopback"], trustProxy: ["10.0.0.0/8"], forwardedHeader: "forwarded" },
  { ring: "16MiB", inbox: "64 KiB", replyBuffers: 65536, maxMemory: "2GiB" },
  { idleTimeout: 1, perMessageDeflate: true, whenFull: "evict", transport: "sockets" },
  { handler: "handler.mjs", pool: { threads: 2, heap: "64MiB" } },
  { tls: { key: "key.pem", cert: "cert.pem", minVersion: "TLSv1.3", ca: ["cert.pem"] } },
  { listen: [{ port: 0 }, { path: "b.sock", mode: "660" }, { path: "c.sock", mode: 432 }] },
  {
    listen: [
      { port: 0, redirect: "https" },
      { port: 0, tls: { key: "key.pem", cert: "cert.pem" } },
    ],
    virtualHosts: {
      localhost: { tls: { key: "key.pem", cert: "cert.pem" }, origins: ["*"] },
      "*": { handler: "handler.mjs", mounts: [{ path: "/", files: "public" }] },
    },
  },
  {
    mounts: [
      {
        ...{ path: "/", files: "public", index: false, spa: "index.html", maxAge: 1 },
        ...{ immutable: "/a/", types: { md: "text/markdown" }, headers: { "X-A": "1" } },
        ...{ addresses: ["loopback"], internal: false },
      },
      { path: "/api", proxy: "http://127.0.0.1:1", strip: true, timeout: 5 },
      { path: "/old", redirect: "https://a.example/", status: 308, addresses: true },
      { path: "/form", handler: "handler.mjs" },
    ],
  },
  { errorPages: { 404: "404.html", 500: { type: "text/plain", body: "oh" } } },
  { accessLog: { file: "-", format: "json" }, metrics: { path: "/m", addresses: true } },
  { origins: ["*"], hosts: ["a.example"], protocols: ["chat"], serverHeader: "a" },
];

/** Configurations with a wrong name or value somewhere. */
const WRONG: readonly object[] = [
  { prot: 1 },
  { port: "80" },
  { port: 65536 },
  { port: 1.5 },
  { ring: "16 apples" },
  { whenFull: "maybe" },
  { perMessageDeflate: 1 },
  { origins: "https://a.example" },
  { origins: [1] },
  { handler: {} },
  { pool: { thread: 1 }, handler: "handler.mjs" },
  { tls: { keys: "key.pem" } },
  { tls: { key: 1, cert: "cert.pem" } },
  { tls: { key: "key.pem", cert: "cert.pem", minVersion: "SSLv3" } },
  { listen: {} },
  { listen: [{ prot: 1 }] },
  { listen: [{ path: "a", mode: "999" }] },
  { listen: [{ redirect: "http" }] },
  { virtualHosts: { "a.example": { root: "x" } } },
  { virtualHosts: { "a.example": { mounts: [{ path: "/", fils: "x" }] } } },
  { mounts: {} },
  { mounts: [{ files: "public" }] },
  { mounts: [{ path: "/", files: "public", index: true }] },
  { errorPages: { 404: 1 } },
  { errorPages: { 404: { type: "text/plain" } } },
  { accessLog: {} },
  { accessLog: { file: "-", format: "common" } },
  { metrics: { paths: "/" } },
  { onError: "a" },
  { logger: {} },
];

config("the schema accepts each file that the reader accepts", () => {
  for (const one of RIGHT) {
    const given = JSON.parse(JSON.stringify(one)) as unknown;
    assert.ok(validate(given), `${JSON.stringify(one)}: ${JSON.stringify(validate.errors)}`);
    assert.is(
      faultOf(() => checkAll(readOptions(one))),
      "none",
      JSON.stringify(one),
    );
  }
});

config("the schema and the reader refuse wrong names and values", () => {
  for (const one of WRONG) {
    assert.not.ok(validate(JSON.parse(JSON.stringify(one))), JSON.stringify(one));
    assert.is.not(
      faultOf(() => checkAll(readOptions(one))),
      "none",
      JSON.stringify(one),
    );
  }
});

/** Plans a reload. @returns the calls of the server that it makes, in their order */
async function reloaded(before: object, after: object): Promise<unknown[]> {
  const [old, now] = [before, after].map((one) => {
    const options = readOptions(one);
    return { options, prepared: checkAll(options) };
  });
  const calls: unknown[] = [];
  const server = {
    reopenLog: async () => void calls.push("reopenLog"),
    reload: async (handler: string) => void calls.push(`reload ${handler?.split("/").at(-1)}`),
    configure: async (changes: object) => void calls.push(changes),
  } as unknown as Server;
  await planReload(old as never, now as never)(server);
  return calls;
}

config("a reload changes live options, certificates and modules", async () => {
  file("other.mjs", "export default {};");
  assert.equal(await reloaded({ idleTimeout: 30 }, { idleTimeout: 30 }), []);
  assert.equal(await reloaded({ idleTimeout: 30 }, { idleTimeout: 31 }), [{ idleTimeout: 31 }]);
  const { default: initial } = OPTIONS.find(({ name }) => name === "idleTimeout") ?? {};
  assert.equal(await reloaded({ idleTimeout: 30 }, {}), [{ idleTimeout: initial }]);
  const log = { accessLog: { file: "-" } };
  assert.equal(
    await reloaded({ handler: "handler.mjs", ...log }, { handler: "other.mjs", ...log }),
    ["reopenLog", "reload other.mjs"],
  );
  const mounts = [{ path: "/", handler: "handler.mjs" }];
  assert.equal(await reloaded({ mounts }, { mounts }), ["reload undefined"]);
  const tls = { key: "key.pem", cert: "cert.pem" };
  const listen = [{ port: 1, tls }, { port: 2, tls }, { port: 3 }];
  const virtualHosts = { localhost: { tls } };
  const key = readFileSync(path.join(folder, "key.pem"), "utf8");
  const cert = readFileSync(path.join(folder, "cert.pem"), "utf8");
  const other = { key: "key.pem", cert: "cert2.pem" };
  file("cert2.pem", `${cert}\n`);
  const renewed = { key, cert: `${cert}\n` };
  assert.equal(await reloaded({ tls }, { tls: other }), [{ tls: renewed }]);
  assert.equal(
    await reloaded(
      { listen, virtualHosts },
      {
        listen: listen.map((one) => (one.tls ? { ...one, tls: other } : one)),
        virtualHosts: { localhost: { tls: other } },
      },
    ),
    [{ tls: renewed, virtualHosts: { localhost: { tls: renewed } } }],
  );
});

config("a reload refuses what cannot change, and names it", async () => {
  const tls = { key: "key.pem", cert: "cert.pem" };
  const other = { key: "key.pem", cert: "cert2.pem" };
  file("cert2.pem", `${readFileSync(path.join(folder, "cert.pem"), "utf8")}\n`);
  const mounts = [{ path: "/", files: "public" }];
  const host = { "a.example": { origins: ["https://a.example"] } };
  const cases: readonly [object, object, RegExp][] = [
    [{ port: 1 }, { port: 2 }, /^port: cannot change while the server runs/],
    [{}, { ring: "32MiB" }, /^ring: cannot change/],
    [{ handler: "handler.mjs" }, {}, /^handler: cannot change/],
    [{}, { mounts }, /^mounts: cannot change/],
    [{ mounts }, { mounts: [{ ...mounts[0], maxAge: 1 }] }, /^mounts: cannot change/],
    [{ idleTimeout: 1 }, { idleTimeout: 2, hosts: ["a"] }, /^hosts: cannot change/],
    [{ accessLog: { file: "-" } }, { accessLog: { file: "a.log" } }, /^accessLog: cannot change/],
    [{ tls }, {}, /^tls: cannot change/],
    [{ tls }, { tls: { ...tls, requestCert: true } }, /^tls.requestCert: cannot change/],
    [{ listen: [{ port: 1 }] }, { listen: [{ port: 2 }] }, /^listen\[0\]\.port: cannot change/],
    [{ listen: [{ port: 1 }] }, { listen: [{ port: 1 }, { port: 2 }] }, /^listen: cannot change/],
    [{ listen: [{ tls }] }, { listen: [{}] }, /^listen\[0\]\.tls: cannot change/],
    [
      {
        listen: [
          { port: 1, tls },
          { port: 2, tls },
        ],
      },
      {
        listen: [
          { port: 1, tls },
          { port: 2, tls: other },
        ],
      },
      /^listen\[1\]\.tls: cannot change while the server runs, because its listeners have different/,
    ],
    [{ virtualHosts: host }, {}, /^virtualHosts: cannot change/],
    [
      { virtualHosts: host },
      { virtualHosts: { ...host, "b.example": {} } },
      /^virtualHosts\["b\.example"\]: cannot change/,
    ],
    [
      { virtualHosts: host },
      { virtualHosts: { "a.example": {} } },
      /^virtualHosts\["a\.example"\]\.origins: cannot change/,
    ],
  ];
  for (const [before, after, expected] of cases) {
    const fault = await reloaded(before, after).then(String, (error: Error) => error.message);
    assert.match(fault, expected);
  }
});

config.run();
