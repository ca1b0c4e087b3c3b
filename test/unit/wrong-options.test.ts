// Wrong configurations beyond wrong numbers (options.test.ts): no object of options, values that cannot be read,
// texts that look right, lists, and what answers and upgrades are given. One row each.
//
// Invariant: a TypeError or RangeError that begins with the option's name and shows the value in a few words.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Response } from "../../host/handler";
import type { LiveOptions, Options } from "../../host/options/types";
import { settle, settleChanges } from "../../host/options/settle";
import { type TestServer, createTestServer } from "../../host/testing";

const wrong = suite("wrong options");

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** Returns an object with a member that cannot be read. */
function unreadable(name: string): object {
  return Object.defineProperty({}, name, {
    get(): never {
      throw new Error("not now");
    },
    enumerable: true,
  });
}

/** Asserts that a call throws an error that says so in one line. */
function refuses(call: () => unknown, message: RegExp | string): void {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  assert.ok(
    thrown instanceof TypeError || thrown instanceof RangeError,
    `${message}: ${String(thrown)}`,
  );
  const said = (thrown as Error).message;
  if (typeof message === "string") assert.ok(said.startsWith(message), `${said} ≠ ${message}`);
  else assert.match(said, message);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals obey them
  assert.not.match(said, /[\x00-\x1f\x7f]/, "control characters");
  assert.ok(said.length < 500, `${said.length} characters`);
}

/** Values in the place of options. */
const NO_OPTIONS: readonly (readonly [given: unknown, message: string])[] = [
  [null, "options: null is not an object"],
  [5, "options: 5 is not an object"],
  [1n, "options: 1 is not an object"],
  [true, "options: true is not an object"],
  ["file:///handler.js", 'options: "file:///handler.js" is not an object'],
  [Symbol("s"), "options: Symbol(s) is not an object"],
  [() => ({}), "options: a function is not an object"],
  [[], "options: an array is not an object"],
  [new Map([["port", 1]]), "options: an object is not an object of options"],
  [new Set(), "options: an object is not an object of options"],
  [new Date(), "options: an object is not an object of options"],
  [/x/, "options: an object is not an object of options"],
  [new Error("x"), "options: an object is not an object of options"],
  [new URL("file:///handler.js"), "options: an object is not an object of options"],
  [new Uint8Array(4), "options: an object is not an object of options"],
  [Promise.resolve({}), "options: an object is not an object of options; is an await missing?"],
  [revoked({}), "options: an object is not an object of options"],
  [revoked([]), "options: an object is not an object of options"],
];

wrong("serve, configure and createTestServer refuse a value that is no object of options", () => {
  for (const [given, message] of NO_OPTIONS) {
    refuses(() => settle(given as Options), message);
    refuses(() => settleChanges({}, given as LiveOptions), message);
    if (given !== undefined) refuses(() => createTestServer(given as never), message);
  }
});

/** Options that are wrong each for itself: the first word of the message is the option. */
const OPTIONS: readonly (readonly [given: object, message: string])[] = [
  // Objects whose members are inherited, hidden or cannot be read.
  [Object.create({ port: "x" }) as object, 'port: "x" is not a number'],
  [Object.create({ prot: 1 }) as object, "prot: there is no such option; did you mean port?"],
  [
    new (class {
      readonly prot = 1;
    })(),
    "prot: there is no such option; did you mean port?",
  ],
  [unreadable("port"), "port: cannot be read: not now"],
  [unreadable("hosts"), "hosts: cannot be read: not now"],
  [JSON.parse('{"__proto__":{"port":1}}') as object, "__proto__: there is no such option"],
  [{ constructor: 1 }, "constructor: there is no such option"],
  [{ "po\x1b[31mrt": 1 }, '"po\\u001b[31mrt": there is no such option'],
  [{ ["x".repeat(10000)]: 1 }, `"${"x".repeat(200)}"… (10000 characters): there is no such option`],
  // Values that only look like numbers.
  [{ port: new Number(1) }, "port: an object is not a number"],
  [{ port: { valueOf: () => 80 } }, "port: an object is not a number"],
  [{ port: Object.create(null) as object }, "port: an object is not a number"],
  [{ port: revoked({}) }, "port: an object is not a number"],
  [{ port: "x".repeat(100000) }, `port: "${"x".repeat(200)}"… (100000 characters) is not a number`],
  [{ slowGrace: Number.MIN_VALUE }, "slowGrace: 5e-324 is not a whole number from 1"],
  [{ keepAliveTimeout: Infinity }, "keepAliveTimeout: Infinity is not a whole number"],
  [{ idleTimeout: "30s" }, 'idleTimeout: "30s" is not a number'],
  [{ maxWebSockets: "1kB" }, 'maxWebSockets: "1kB" is not a number'],
  [{ ring: new String("16MiB") }, "ring: an object is not a number"],
  [{ ring: "1.3KiB" }, 'ring: "1.3KiB" is not a whole number'],
  [{ ring: "0x10000" }, 'ring: "0x10000" is not a number'],
  [{ ring: "\ud800" }, 'ring: "\\ud800" is not a number'],
  [{ ring: "１６MiB" }, 'ring: "１６MiB" is not a number'],
  [{ ring: "16\u00a0MiB" }, "ring: "],
  [{ ring: "16Mi" }, 'ring: "16Mi" is not a number'],
  [{ ring: "16MiB\n" }, 'ring: "16MiB\\n" is not a number'],
  [{ ring: "1_000B" }, 'ring: "1_000B" is not a number'],
  [{ ring: "+16MiB" }, 'ring: "+16MiB" is not a number'],
  // Words.
  [{ whenFull: { toString: () => "evict" } }, "whenFull: an object is not one of"],
  [{ transport: "handles" }, 'transport: "handles" is not one of "auto", "sockets"'],
  [{ transport: true }, "transport: true is not one of"],
  [{ whenFull: "Evict" }, 'whenFull: "Evict" is not one of "refuse", "evict"'],
  [{ forwardedHeader: "X-Forwarded-For" }, 'forwardedHeader: "X-Forwarded-For" is not one of'],
  // Where to listen.
  [{ hostname: null }, "hostname: null is not a host name"],
  [{ hostname: "\ud800" }, 'hostname: "\\ud800" is not a host name'],
  [{ hostname: "a\0b" }, 'hostname: "a\\u0000b" is not a host name'],
  [{ hostname: "a b" }, 'hostname: "a b" is not a host name'],
  [{ hostname: " " }, 'hostname: " " is not a host name'],
  [{ hostname: "a\r\nb" }, 'hostname: "a\\r\\nb" is not a host name'],
  [{ hostname: "a\x1b[31m" }, 'hostname: "a\\u001b[31m" is not a host name'],
  [{ hostname: "127.0.0.1:80" }, 'hostname: "127.0.0.1:80" is not a host name'],
  [{ hostname: "http://localhost" }, 'hostname: "http://localhost" is not a host name'],
  [{ hostname: "[::1]" }, 'hostname: "[::1]" is not a host name'],
  [{ hostname: "*" }, 'hostname: "*" is not a host name'],
  [{ hostname: ":::" }, 'hostname: ":::" is not a host name'],
  [{ hostname: "10.0.0.0/8" }, 'hostname: "10.0.0.0/8" is not a host name'],
  [{ hostname: "x".repeat(300) }, `hostname: "${"x".repeat(200)}"… (300 characters) is not`],
  [{ path: null }, "path: null is not a path"],
  [{ path: "/a\0b" }, 'path: "/a\\u0000b" is not a path'],
  [{ path: "\0" }, 'path: "\\u0000" is not a path'],
  [{ path: "/\ud800" }, 'path: "/\\ud800" is not a path'],
  [{ path: `/${"x".repeat(107)}` }, `path: "/${"x".repeat(107)}" has 108 bytes; a Unix socket's`],
  [{ path: `/${"é".repeat(54)}` }, "path: "],
  [{ path: new URL("file:///a") }, "path: an object is not a path"],
  [{ path: Buffer.from("/a") }, "path: an object is not a path"],
  [{ fd: null }, "fd: null is not a number"],
  [{ fd: Number.NaN }, "fd: NaN is not a whole number from 0"],
  [{ fd: 0.5 }, "fd: 0.5 is not a whole number from 0"],
  [{ fd: 3n }, "fd: 3 is not a number"],
  [{ fd: 2 ** 31 }, "fd: 2147483648 is not a whole number from 0"],
  [{ serverHeader: null }, "serverHeader: null is not a string"],
  [{ serverHeader: "\ud800" }, 'serverHeader: "\\ud800" is not a field value'],
  [{ serverHeader: "é" }, 'serverHeader: "é" is not a field value'],
  [{ serverHeader: " " }, 'serverHeader: " " is not a field value'],
  [{ serverHeader: "\0" }, 'serverHeader: "\\u0000" is not a field value'],
  // Upstreams.
  [
    { raw: null },
    'raw: null is not "host:port", "[::1]:port" or the absolute path of a Unix socket',
  ],
  [{ raw: 22 }, 'raw: 22 is not "host:port", '],
  [{ raw: true }, 'raw: true is not "host:port", '],
  [{ raw: new URL("tcp://a:22") }, 'raw: an object is not "host:port", '],
  [{ raw: { host: "a", port: 22 } }, 'raw: an object is not "host:port", '],
  [{ raw: "" }, 'raw: "" is not "host:port", '],
  [{ raw: "a" }, 'raw: "a" is not "host:port", '],
  [{ raw: ":22" }, 'raw: ":22" is not "host:port", '],
  [{ raw: "a:" }, 'raw: "a:" is not "host:port", '],
  [{ raw: "a:ssh" }, 'raw: "a:ssh" is not "host:port", '],
  [{ raw: "a:-1" }, 'raw: "a:-1" is not "host:port", '],
  [{ raw: "a:2.5" }, 'raw: "a:2.5" is not "host:port", '],
  [{ raw: "a:22 " }, 'raw: "a:22 " is not "host:port", '],
  [{ raw: "a b:22" }, 'raw: "a b:22" is not "host:port", '],
  [{ raw: "a\0:22" }, 'raw: "a\\u0000:22" is not "host:port", '],
  [{ raw: "tcp://a:22" }, 'raw: "tcp://a:22" is not "host:port", '],
  [{ raw: "u@a:22" }, 'raw: "u@a:22" is not "host:port", '],
  [{ raw: "::1:22" }, 'raw: "::1:22" is not "host:port", '],
  [{ raw: "[::1]" }, 'raw: "[::1]" is not "host:port", '],
  [{ raw: "[::x]:22" }, 'raw: "[::x]:22" is not "host:port", '],
  [{ raw: "[127.0.0.1]:22" }, 'raw: "[127.0.0.1]:22" is not "host:port", '],
  [{ raw: "[a]:22" }, 'raw: "[a]:22" is not "host:port", '],
  [{ raw: "./x.sock" }, 'raw: "./x.sock" is not "host:port", '],
  [{ raw: "\0abstract" }, 'raw: "\\u0000abstract" is not "host:port", '],
  [{ raw: "a:0" }, 'raw: "a:0" has port "0", which is not from 1 to 65535'],
  [{ raw: "a:65536" }, 'raw: "a:65536" has port "65536", which is not from 1 to 65535'],
  [{ raw: `a:${"9".repeat(400)}` }, "raw: "],
  [{ raw: "/a\0b" }, 'raw: "/a\\u0000b" is not a path'],
  [{ raw: `/${"x".repeat(107)}` }, `raw: "/${"x".repeat(107)}" has 108 bytes; a Unix socket's`],
  [{ raw: "127.0.0.1:8080" }, 'raw: "127.0.0.1:8080" is a listener of this server'],
  [{ raw: "localhost:80", port: 80 }, 'raw: "localhost:80" is a listener of this server'],
  [{ raw: "[::1]:80", port: 80, hostname: "::" }, 'raw: "[::1]:80" is a listener of this server'],
  [{ raw: "a:80", port: 80, hostname: "a" }, 'raw: "a:80" is a listener of this server'],
  [{ raw: "/a", listen: [{ port: 1 }, { path: "/a" }] }, 'raw: "/a" is a listener of this server'],
  [{ rawTimeout: -1 }, "rawTimeout: -1 is not a whole number from 0 to 86400000"],
  [{ rawTimeout: "3s" }, 'rawTimeout: "3s" is not a number'],
  // Lists.
  [{ origins: null }, "origins: null is not a list"],
  [{ origins: new Set(["*"]) }, "origins: an object is not a list"],
  [{ origins: { length: 1, 0: "*" } }, "origins: an object is not a list"],
  [{ origins: revoked([]) }, "origins: an object is not a list"],
  [{ origins: [""] }, 'origins: "" is not an origin'],
  // biome-ignore lint/suspicious/noSparseArray: the case
  [{ origins: [, "https://a.example"] }, "origins: undefined is not an origin"],
  [{ origins: [/x/] }, "origins: an object is not an origin"],
  [{ origins: ["https://\ud800.a"] }, 'origins: "https://\\ud800.a" is not an origin'],
  [{ origins: ["file://"] }, 'origins: "file://" is not an origin'],
  [{ origins: ["https://a.example:99999"] }, 'origins: "https://a.example:99999" is not an origin'],
  [{ origins: ["https://u@a.example"] }, 'origins: "https://u@a.example" is not an origin'],
  [{ origins: ["https://a.example/x"] }, 'origins: "https://a.example/x" is not an origin'],
  [{ hosts: "a" }, 'hosts: "a" is not a list'],
  [{ hosts: [""] }, 'hosts: "" is not a host'],
  [{ hosts: ["\ud800"] }, 'hosts: "\\ud800" is not a host'],
  [{ hosts: ["a:70000"] }, 'hosts: "a:70000" is not a host'],
  [{ hosts: ["a:-1"] }, 'hosts: "a:-1" is not a host'],
  [{ hosts: ["a b"] }, 'hosts: "a b" is not a host'],
  [{ hosts: ["http://a"] }, 'hosts: "http://a" is not a host'],
  [{ hosts: ["**.a"] }, 'hosts: "**.a" is not a host'],
  [{ hosts: ["a.*"] }, 'hosts: "a.*" is not a host'],
  [{ hosts: [".a"] }, 'hosts: ".a" is not a host'],
  [{ hosts: ["[::1"] }, 'hosts: "[::1" is not a host'],
  [{ hosts: ["u@a"] }, 'hosts: "u@a" is not a host'],
  [{ hosts: ["a?b"] }, 'hosts: "a?b" is not a host'],
  [{ hosts: ["a#b"] }, 'hosts: "a#b" is not a host'],
  [{ protocols: null }, "protocols: null is not a list"],
  [{ protocols: "chat" }, 'protocols: "chat" is not a list'],
  [{ protocols: [""] }, 'protocols: "" is not a token'],
  [{ protocols: ["a,b"] }, 'protocols: "a,b" is not a token'],
  [{ protocols: ["\ud800"] }, 'protocols: "\\ud800" is not a token'],
  [{ protocols: [["a"]] }, "protocols: an array is not a token"],
  [{ trustProxy: true }, "trustProxy: true is not a list"],
  [{ trustProxy: 1 }, "trustProxy: 1 is not a list"],
  [{ trustProxy: "loopback" }, 'trustProxy: "loopback" is not a list'],
  [{ trustProxy: ["10.0.0.0/33"] }, 'trustProxy: "10.0.0.0/33" is not an address'],
  [{ trustProxy: ["10.0.0.0/-1"] }, 'trustProxy: "10.0.0.0/-1" is not an address'],
  [{ trustProxy: ["10.0.0.0/8.5"] }, 'trustProxy: "10.0.0.0/8.5" is not an address'],
  [{ trustProxy: ["10.0.0.0/1e1"] }, 'trustProxy: "10.0.0.0/1e1" is not an address'],
  [{ trustProxy: ["10.0.0.0/"] }, 'trustProxy: "10.0.0.0/" is not an address'],
  [{ trustProxy: ["localhost"] }, 'trustProxy: "localhost" is not an address'],
  [{ trustProxy: ["010.0.0.1"] }, 'trustProxy: "010.0.0.1" is not an address'],
  [{ trustProxy: ["10.0"] }, 'trustProxy: "10.0" is not an address'],
  [{ trustProxy: ["::1/129"] }, 'trustProxy: "::1/129" is not an address'],
  [{ trustProxy: ["fe80::1%eth0"] }, 'trustProxy: "fe80::1%eth0" is not an address'],
  [{ trustProxy: [" 10.0.0.1"] }, 'trustProxy: " 10.0.0.1" is not an address'],
  [{ trustProxy: ["toString"] }, 'trustProxy: "toString" is not an address'],
  [{ proxyProtocol: 1 }, "proxyProtocol: 1 is not a list"],
  [{ proxyProtocol: "all" }, 'proxyProtocol: "all" is not a list'],
  [{ proxyProtocol: null }, "proxyProtocol: null is not a list"],
  // Several listeners.
  [{ listen: null }, "listen: null is not a list of listeners"],
  [{ listen: { port: 80 } }, "listen: an object is not a list of listeners"],
  [{ listen: [] }, "listen: 0 entries are not from 1 to 32"],
  [{ listen: Array.from({ length: 33 }, () => ({})) }, "listen: 33 entries are not from 1 to 32"],
  [{ listen: [80] }, "listen[0]: 80 is not an object of options"],
  [{ listen: [{}, null] }, "listen[1]: null is not an object of options"],
  // biome-ignore lint/suspicious/noSparseArray: the case
  [{ listen: [, {}] }, "listen[0]: undefined is not an object of options"],
  [{ listen: [new Map()] }, "listen[0]: an object is not an object of options"],
  [{ listen: [unreadable("port")] }, "listen[0].port: cannot be read: not now"],
  [{ listen: [{}], port: 80 }, "listen: excludes port beside it; it is an option of its entries"],
  [
    { tls: { key: "x", cert: "y" }, noDelay: false, listen: [{}], proxyProtocol: false },
    "listen: excludes noDelay, tls, proxyProtocol beside it; they are options of its entries",
  ],
  [
    { listen: [{ prot: 1 }] },
    "listen[0].prot: there is no such option; did you mean listen[0].port",
  ],
  [
    { listen: [{ host: "a" }] },
    "listen[0].host: there is no such option; did you mean listen[0].host",
  ],
  [{ listen: [{ hosts: ["a"] }] }, "listen[0].hosts: there is no such option"],
  [{ listen: [{ ring: 4096 }] }, "listen[0].ring: there is no such option"],
  [{ mode: 0o660 }, "mode: there is no such option; did you mean listen?"],
  [
    { listen: [{}, { port: 65536 }] },
    "listen[1].port: 65536 is not a whole number from 0 to 65535",
  ],
  [{ listen: [{ backlog: "1" }] }, 'listen[0].backlog: "1" is not a number'],
  [{ listen: [{ noDelay: 1 }] }, "listen[0].noDelay: 1 is not a boolean"],
  [{ listen: [{ tcpKeepAlive: -1 }] }, "listen[0].tcpKeepAlive: -1 is not a whole number from 0"],
  [{ tcpKeepAlive: 32767001 }, "tcpKeepAlive: 32767001 is not a whole number from 0 to 32767000"],
  [{ tcpKeepAliveInterval: 0 }, "tcpKeepAliveInterval: 0 is not a whole number from 1 to 32767000"],
  [{ tcpKeepAliveCount: 128 }, "tcpKeepAliveCount: 128 is not a whole number from 1 to 127"],
  [{ listen: [{ ipv6Only: null }] }, "listen[0].ipv6Only: null is not a boolean"],
  [{ listen: [{ handshakeTimeout: 0 }] }, "listen[0].handshakeTimeout: 0 is not a whole number"],
  [{ listen: [{ hostname: "a b" }] }, 'listen[0].hostname: "a b" is not a host name'],
  [{ listen: [{ path: "" }] }, 'listen[0].path: "" is not a path'],
  [{ listen: [{ path: `/${"x".repeat(107)}` }] }, "listen[0].path: "],
  [{ listen: [{ fd: 0.5 }] }, "listen[0].fd: 0.5 is not a whole number from 0 to 2147483647"],
  [{ listen: [{ fd: 3, path: "/a" }] }, 'listen[0].fd: 3 and path "/a" exclude each other'],
  [{ listen: [{ fd: 3 }, {}, { fd: 3 }] }, "listen[2].fd: 3 is the descriptor of listen[0], too"],
  [{ listen: [{ proxyProtocol: ["x"] }] }, 'listen[0].proxyProtocol: "x" is not an address'],
  [{ listen: [{ tls: {} }] }, "listen[0].tls: key and cert are missing"],
  [
    { listen: [{ tls: { kye: 1 } }] },
    "listen[0].tls.kye: there is no such option; did you mean listen",
  ],
  [{ listen: [{ tls: { key: "x", cert: 1 } }] }, "listen[0].tls.cert: 1 is not the text or bytes"],
  [{ listen: [{ path: "/a", mode: "660" }] }, 'listen[0].mode: "660" is not a number'],
  [
    { listen: [{ path: "/a", mode: 660 }] },
    "listen[0].mode: 660 (0o1224) is not a whole number from 0 to 0o777",
  ],
  [
    { listen: [{ path: "/a", mode: -1 }] },
    "listen[0].mode: -1 is not a whole number from 0 to 0o777",
  ],
  [{ listen: [{ path: "/a", mode: 0.5 }] }, "listen[0].mode: 0.5 is not a whole number"],
  [{ listen: [{ mode: 0o660 }] }, "listen[0].mode: 0o660 without path"],
  [
    { listen: [{ path: "\0a", mode: 0o660 }] },
    'listen[0].mode: 0o660, but "\\u0000a" is not a file',
  ],
  [{ listen: [{ path: "\\\\.\\pipe\\a", mode: 0 }] }, "listen[0].mode: 0o0, but "],
  [{ redirect: "https" }, "redirect: there is no such option; did you mean listen?"],
  [{ listen: [{ redirect: true }] }, 'listen[0].redirect: true is not "https"'],
  [{ listen: [{ redirect: "http" }] }, 'listen[0].redirect: "http" is not "https"'],
  [{ listen: [{ redirect: "https" }] }, 'listen[0].redirect: "https" needs a listener with tls'],
  [
    { listen: [{}, { redirect: "https" }, { path: "/a", tls: { key: "x", cert: "y" } }] },
    'listen[1].redirect: "https" needs a listener with tls and a port',
  ],
  [
    { listen: [{ redirect: "https", path: "/a", tls: { key: "x", cert: "y" } }] },
    'listen[0].redirect: "https", but path "/a" has no port',
  ],
  // The access log.
  [{ accessLog: "a.log" }, 'accessLog: "a.log" is not an object such as { file: "access.log" }'],
  [{ accessLog: null }, 'accessLog: null is not an object such as { file: "access.log" }'],
  [{ accessLog: {} }, 'accessLog.file: undefined is neither a path nor "-"'],
  [{ accessLog: { file: "" } }, 'accessLog.file: "" is neither a path nor "-"'],
  [{ accessLog: { file: "a\0b" } }, 'accessLog.file: "a\\u0000b" is neither a path nor "-"'],
  [{ accessLog: { file: 1 } }, 'accessLog.file: 1 is neither a path nor "-"'],
  [
    { accessLog: { file: "-", format: "common" } },
    'accessLog.format: "common" is not one of "combined", "json"',
  ],
  [
    { accessLog: { file: "-", formt: "json" } },
    "accessLog.formt: there is no such option; did you mean accessLog.format?",
  ],
  // Error pages.
  [{ errorPages: null }, "errorPages: null is not an object of pages by status"],
  [{ errorPages: "404.html" }, 'errorPages: "404.html" is not an object of pages by status'],
  [{ errorPages: new Map() }, "errorPages: an object is not an object of pages by status"],
  [{ errorPages: [] }, "errorPages: an array is not an object of pages by status"],
  [{ errorPages: unreadable("404") }, "errorPages.404: cannot be read: not now"],
  [{ errorPages: { 200: "a.html" } }, 'errorPages: "200" is not a status from 400 to 599'],
  [{ errorPages: { 399: "a.html" } }, 'errorPages: "399" is not a status from 400 to 599'],
  [{ errorPages: { 600: "a.html" } }, 'errorPages: "600" is not a status from 400 to 599'],
  [{ errorPages: { "4xx": "a.html" } }, 'errorPages: "4xx" is not a status from 400 to 599'],
  [{ errorPages: { "0404": "a.html" } }, 'errorPages: "0404" is not a status from 400 to 599'],
  [{ errorPages: { 404: null } }, "errorPages[404]: null is not a path, a file: URL or { type, bo"],
  [{ errorPages: { 404: 5 } }, "errorPages[404]: 5 is not a path, a file: URL or { type, body }"],
  [{ errorPages: { 404: new Uint8Array(5) } }, "errorPages[404]: an object is not a path"],
  [
    { errorPages: { 404: "a.png" } },
    'errorPages[404]: "a.png" is not a file with a name that ends with .html, .htm, .txt, .json',
  ],
  [{ errorPages: { 404: "html" } }, 'errorPages[404]: "html" is not a file with a name that ends'],
  [{ errorPages: { 404: "" } }, 'errorPages[404]: "" is not a file with a name that ends with'],
  [{ errorPages: { 404: "a.toString" } }, 'errorPages[404]: "a.toString" is not a file with a'],
  [{ errorPages: { 404: "\0.html" } }, 'errorPages[404]: "\\u0000.html" is not a file with a name'],
  [
    { errorPages: { 404: new URL("https://a.example/404.html") } },
    'errorPages[404]: "https://a.example/404.html" is not a file: URL',
  ],
  [
    { errorPages: { 404: { body: "x" } } },
    "errorPages[404].type: undefined is not a media type such",
  ],
  [
    { errorPages: { 404: { type: "", body: "x" } } },
    'errorPages[404].type: "" is not a media type',
  ],
  [
    { errorPages: { 404: { type: "a/b\r\nX: y", body: "x" } } },
    'errorPages[404].type: "a/b\\r\\nX: y" is not a media type',
  ],
  [
    { errorPages: { 404: { type: "a/b", body: 5 } } },
    "errorPages[404].body: 5 is neither a string",
  ],
  [{ errorPages: { 404: { type: "a/b" } } }, "errorPages[404].body: undefined is neither a string"],
  [
    { errorPages: { 404: { type: "a/b", body: "" } } },
    "errorPages[404]: body has 0 bytes, not from 1 to 65536",
  ],
  [
    { errorPages: { 404: { type: "a/b", body: "\u00e9".repeat(32769) } } },
    "errorPages[404]: body has 65538 bytes, not from 1 to 65536",
  ],
  [
    { errorPages: { 404: { tpye: "a/b", body: "x" } } },
    "errorPages[404].tpye: there is no such option; did you mean errorPages[404].type?",
  ],
  // Modules of subprotocols.
  [{ protocolHandlers: null }, "protocolHandlers: null is not an object of modules by subprotoc"],
  [
    { protocolHandlers: [] },
    "protocolHandlers: an array is not an object of modules by subprotocol",
  ],
  [{ protocolHandlers: new Map() }, "protocolHandlers: an object is not an object of modules by"],
  [{ protocolHandlers: {} }, "protocolHandlers: 0 subprotocols are not from 1 to 1000"],
  [
    {
      protocolHandlers: Object.fromEntries(
        Array.from({ length: 1001 }, (_, i) => [i, "file:///a"]),
      ),
    },
    "protocolHandlers: 1001 subprotocols are not from 1 to 1000",
  ],
  [
    { protocolHandlers: { "": "file:///a.mjs" } },
    'protocolHandlers: "" is not the name of a subprotocol, a token',
  ],
  [
    { protocolHandlers: { "a, b": "file:///a.mjs" } },
    'protocolHandlers: "a, b" is not the name of a subprotocol, a token',
  ],
  [{ protocolHandlers: unreadable("chat") }, "protocolHandlers.chat: cannot be read: not now"],
  [{ defaultProtocol: "chat" }, 'defaultProtocol: "chat" without protocolHandlers'],
  [
    { protocolHandlers: { chat: "file:///a", "v1.echo": "file:///b" }, defaultProtocol: "cht" },
    'defaultProtocol: "cht" is not one of protocolHandlers, "chat", "v1.echo"',
  ],
  [
    { protocolHandlers: { chat: "file:///a.mjs" }, defaultProtocol: 5 },
    'defaultProtocol: 5 is not one of protocolHandlers, "chat"',
  ],
  // Callbacks and objects.
  [{ signal: { aborted: false, addEventListener() {} } }, "signal: an object is not an AbortSig"],
  [{ signal: new AbortController() }, "signal: an object is not an AbortSignal"],
  [{ signal: null }, "signal: null is not an AbortSignal"],
  [{ onEvict: null }, "onEvict: null is not a function"],
  [{ onError: {} }, "onError: an object is not a function"],
  [{ logger: "console" }, 'logger: "console" is not a logger'],
  [{ logger: {} }, "logger: it has none of debug, info, warn, error"],
  [{ logger: [] }, "logger: "],
  [{ metrics: new Map() }, "metrics: an object is not an object of options"],
  [{ metrics: unreadable("path") }, "metrics.path: cannot be read: not now"],
  [{ metrics: Object.create({ pth: "/" }) as object }, "metrics.pth: there is no such option"],
  [{ metrics: { path: null } }, "metrics.path: null is not the path of a URL"],
  [{ metrics: { path: "" } }, 'metrics.path: "" is not the path of a URL'],
  [{ metrics: { path: "/\ud800" } }, 'metrics.path: "/\\ud800" is not the path of a URL'],
  [{ metrics: { addresses: null } }, "metrics.addresses: null is not a list"],
  [{ metrics: { addresses: 1 } }, "metrics.addresses: 1 is not a list"],
  [{ metrics: { addresses: ["*"] } }, 'metrics.addresses: "*" is not an address'],
  [{ tls: null }, "tls: null is not an object with key and cert"],
  [{ tls: {} }, "tls"],
  [{ tls: { key: "x" } }, "tls"],
  [{ tls: { key: 1, cert: 2 } }, "tls"],
  [{ handler: "file:///a.js", pool: [] }, "pool: an array is not an object of options"],
  [{ handler: "file:///a.js", pool: new Map() }, "pool: an object is not an object of options"],
  [{ handler: "file:///a.js", pool: true }, "pool: true is not an object of options"],
  [{ handler: "file:///a.js", pool: unreadable("heap") }, "pool.heap: cannot be read: not now"],
  [{ handler: "file:///a.js", pool: { threads: "2" } }, 'pool.threads: "2" is not a number'],
  [
    { handler: "file:///a.js", pool: Object.create({ threads: 0 }) as object },
    "pool.threads: 0 is not a whole number",
  ],
];

wrong("each wrong option is refused by its name, by serve and in memory", () => {
  for (const [given, message] of OPTIONS) {
    refuses(() => settle(given as Options), message);
    if (!("pool" in given)) refuses(() => createTestServer(given as never), message);
  }
});

wrong("a module of a subprotocol is named by a URL, and is a handler in memory", () => {
  refuses(
    () => settle({ protocolHandlers: { chat: "./chat.mjs" } }),
    'protocolHandlers["chat"]: "./chat.mjs" is not the URL of a module; use new URL(',
  );
  refuses(
    () => createTestServer({ protocolHandlers: { chat: "file:///a.mjs" as never } }),
    'protocolHandlers["chat"]: must be a handler, or a function that makes one',
  );
  refuses(
    () => createTestServer({ protocolHandlers: { chat: { connect() {} } } }),
    'protocolHandlers["chat"].connect: is called on the main handler alone',
  );
});

wrong("an error page that is in a file is refused where there are none", () => {
  settle({ errorPages: { 404: "404.html" } });
  refuses(
    () => createTestServer({ errorPages: { 404: "404.html" } }),
    'errorPages[404]: "404.html" is a file, and there are none here; give { type, body }',
  );
});

wrong("changes are read like options", () => {
  const cannot = "cannot change while the server runs";
  refuses(() => settleChanges({}, Object.create({ port: 1 }) as LiveOptions), `port: ${cannot}`);
  refuses(
    () => settleChanges({}, Object.create({ idleTimeout: "1" }) as LiveOptions),
    'idleTimeout: "1" is not a number',
  );
  const getter = unreadable("idleTimeout") as LiveOptions;
  refuses(() => settleChanges({}, getter), "idleTimeout: cannot be read: not now");
  const inherited = Object.create({ idleTimeout: 7 }) as LiveOptions;
  assert.equal(settleChanges({}, inherited).values, { idleTimeout: 7 });
});

wrong("certificates change only where listeners have TLS, and without their flags", () => {
  const tls = { key: "k", cert: "c" };
  const asking = { ...tls, requestCert: true };
  const off = "tls: cannot be switched on while the server runs";
  const kept = "tls.requestCert: cannot change while the server runs";
  refuses(() => settleChanges({}, { tls }), off);
  refuses(() => settleChanges({ listen: [{}, { path: "/a" }] }, { tls }), off);
  refuses(() => settleChanges({ listen: [{}, { tls: asking }] }, { tls }), kept);
  refuses(() => settleChanges({ listen: [{ tls }, { tls: asking }] }, { tls: asking }), kept);
  refuses(
    () => settleChanges({ listen: [{ tls }] }, { listen: [] } as LiveOptions),
    "listen: cannot",
  );
  const changes = settleChanges({ listen: [{}, { tls }] }, { tls, idleTimeout: 7 });
  assert.equal(changes, { values: { idleTimeout: 7 }, tls, hosts: [] });
  // Each of several listeners keeps its own flags.
  assert.equal(settleChanges({ listen: [{ tls }, { tls: asking }] }, { tls }).tls, tls);
});

wrong("an option is read once, and options may be frozen", () => {
  let reads = 0;
  const given = {
    get maxConnections(): number {
      return ++reads;
    },
  };
  const { values } = settle(Object.freeze(given));
  assert.equal([reads, values.maxConnections], [1, 1]);
});

wrong("right ones that look odd are taken", () => {
  const odd: readonly Options[] = [
    ...["::", "::1", "fe80::1%eth0", "localhost", "a.b-c", "bücher.example", "under_score"].map(
      (hostname) => ({ hostname }),
    ),
    ...["\0abstract", "/a b", "relative.sock", "C:\\a", `/${"x".repeat(106)}`].map((path) => ({
      path,
    })),
    { path: `\\\\.\\pipe\\${"x".repeat(200)}` },
    { port: -0 },
    { listen: [{}, { path: "/a", mode: 0 }, { path: "/b", mode: 0o777 }, { fd: 3 }, { fd: 4 }] },
    Object.create(null) as Options,
  ];
  for (const options of odd) settle(options);
});

/** Handlers that are none. */
const HANDLERS: readonly (readonly [handler: unknown, message: string])[] = [
  [null, "handler: null is not an object of handler functions"],
  [5, "handler: a number is not an object of handler functions"],
  [true, "handler: a boolean is not an object of handler functions"],
  [[], "handler: an array is not an object of handler functions"],
  ["./handler.js", "handler: must be a handler"],
  [new URL("file:///a.js"), "handler: must be a handler"],
  [Promise.resolve({}), "handler: a promise is not a handler; is an await missing?"],
];

wrong("refuses a value that is no handler in memory", () => {
  for (const [handler, message] of HANDLERS)
    refuses(() => createTestServer({ handler } as never), message);
});

/** Has a handler answer, and returns what the call throws. */
async function answering(
  call: (res: Response) => unknown,
  ask: (t: TestServer) => unknown,
): Promise<unknown> {
  let thrown: unknown;
  const t = createTestServer({
    onError: () => undefined,
    handler: {
      request(_, res) {
        try {
          call(res);
        } catch (error) {
          thrown = error;
          res.send(500);
        }
      },
    },
  });
  ask(t);
  await t.settle();
  await t.close();
  return thrown;
}

const FIELDS = "is not an object of fields such as";
/** Fields that have no names which are read. */
const NO_FIELDS: readonly (readonly [headers: unknown, message: string])[] = [
  [null, `headers: null ${FIELDS}`],
  [5, `headers: 5 ${FIELDS}`],
  [true, `headers: true ${FIELDS}`],
  ["a: b", `headers: "a: b" ${FIELDS}`],
  [() => 1, `headers: a function ${FIELDS}`],
  [[], `headers: an array ${FIELDS}`],
  [[["a", "b"]], `headers: an array ${FIELDS}`],
  [new Headers({ a: "b" }), `headers: an object ${FIELDS}`],
  [new Map([["a", "b"]]), `headers: an object ${FIELDS}`],
];
const NO_STATUS: readonly (readonly [status: unknown, message: string])[] = [
  ...[undefined, null, Number.NaN, 0.5, 199, 600, Infinity].map((value) => {
    return [value, `status: ${value} is not a whole number from 200 to 599`] as const;
  }),
  [1n, "status: 1 is not a whole number"],
  ["200", 'status: "200" is not a whole number'],
  ["a\r\nb", 'status: "a\\r\\nb" is not a whole number'],
  [Symbol("s"), "status: Symbol(s) is not a whole number"],
  [{}, "status: an object is not a whole number"],
  [Object.create(null), "status: an object is not a whole number"],
  [unreadable("valueOf"), "status: an object is not a whole number"],
];

wrong("answers and upgrades refuse a status, fields or options that are none", async () => {
  type Rows = readonly (readonly [value: unknown, message: string])[];
  const ask = (t: TestServer): unknown => t.socket().write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const open = (t: TestServer): unknown => t.connect();
  const calls: readonly [(res: Response, value: never) => unknown, Rows, typeof ask][] = [
    [(res, value) => res.send(value), NO_STATUS, ask],
    [(res, value) => res.begin(value), NO_STATUS, ask],
    [(res, value) => res.send(200, "text/plain", "x", value), NO_FIELDS, ask],
    [(res, value) => res.begin(200, "text/plain", value), NO_FIELDS, ask],
    [(res, value) => res.json(1, 200, value), NO_FIELDS, ask],
    [(res, value) => res.upgrade({ headers: value }), NO_FIELDS, open],
    [
      (res, value) => res.upgrade(value),
      [
        [new Map(), "upgrade: an object is not an object such as { data }"],
        [new Date(), "upgrade: an object is not an object such as { data }"],
        [Promise.resolve({}), "upgrade: an object is not an object such as { data }"],
        [Object.create({ user: 1 }), "upgrade.user: there is no such option"],
      ],
      open,
    ],
  ];
  for (const [call, rows, how] of calls) {
    for (const [value, message] of rows) {
      const thrown = await answering((res) => call(res, value as never), how);
      refuses(() => {
        throw thrown;
      }, message);
    }
  }
});

wrong("a WebSocket's close code and reason are shown as they were given", async () => {
  const thrown: unknown[] = [];
  const t = createTestServer({
    handler: {
      request: (_, res) => res.upgrade(),
      open(ws) {
        for (const args of [["a\r\nb"], [Object.create(null)], [Symbol("s")], [1000, 5]]) {
          try {
            ws.close(...(args as [number, string]));
          } catch (error) {
            thrown.push((error as Error).message);
          }
        }
      },
    },
  });
  t.connect();
  await t.settle();
  const codes = "is not 1000–1003, 1007–1014 or 3000–4999";
  assert.equal(thrown, [
    `code: "a\\r\\nb" ${codes}`,
    `code: an object ${codes}`,
    `code: Symbol(s) ${codes}`,
    "reason: 5 is not a string",
  ]);
  await t.close();
});

wrong.run();
