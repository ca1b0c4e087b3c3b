// The client's address behind proxies: addresses and ranges, and the walk through the fields that proxies write.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { AddressSet, isAddress, isRange } from "../../host/shared/text/address";
import { settle } from "../../host/options/settle";
import { createTestServer } from "../../host/testing";
import { clientOf } from "../../worker/request/forwarded";

const forwarded = suite("forwarded");

// ---- addresses and ranges ------------------------------------------------------------------------------

for (const good of [
  ...["0.0.0.0", "255.255.255.255", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"],
  ...["1:2:3:4:5:6:1.2.3.4", "fe80::1%eth0", "2001:DB8::A", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8"],
]) {
  forwarded(`${good} is an address`, () => assert.ok(isAddress(good)));
}

for (const bad of [
  ...["", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "localhost"],
  ...[":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1:2:3:4:5:6:7:8", "12345::"],
  ...["1.2.3.4::", "::1.2.3", "[::1]", "1.2.3.4:80", "unknown", "::g", `::${"0".repeat(70)}`],
]) {
  forwarded(`${JSON.stringify(bad)} is no address`, () => assert.not(isAddress(bad)));
}

for (const [range, inside, outside] of [
  ["192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"], ["192.0.2.2", "::192.0.2.1"]],
  ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255"]],
  ["10.1.2.3/8", ["10.9.9.9"], ["11.1.2.3"]],
  ["192.168.1.128/25", ["192.168.1.128", "192.168.1.255"], ["192.168.1.127", "192.168.2.128"]],
  ["0.0.0.0/0", ["1.2.3.4", "255.0.0.1"], ["::1", "2001:db8::1", ""]],
  ["::/0", ["1.2.3.4", "2001:db8::1"], [""]],
  ["2001:db8::/33", ["2001:db8:7fff::1"], ["2001:db8:8000::1"]],
  ["::ffff:10.0.0.0/104", ["10.1.1.1"], ["11.1.1.1"]],
  ["loopback", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"], ["128.0.0.1", "::2", ""]],
  ["linklocal", ["169.254.1.1", "fe80::1%eth0", "febf::1"], ["169.255.1.1", "fec0::1"]],
  ["uniquelocal", ["10.1.1.1", "172.31.0.1", "192.168.0.1", "fd00::1"], ["172.32.0.1", "fe00::1"]],
  ["unix", [""], ["127.0.0.1", "::1"]],
] as const) {
  forwarded(`${range} holds what it should`, () => {
    assert.ok(isRange(range));
    const set = new AddressSet([range]);
    for (const address of inside) assert.ok(set.has(address), `${address} is in ${range}`);
    for (const address of outside) assert.not(set.has(address), `${address} is not in ${range}`);
  });
}

for (const bad of [
  ...["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "fe80::1%eth0", "*", ""],
  ...["LOOPBACK", "constructor", "example.org", "1.2.3.4/8/8", " 1.2.3.4", "1.2.3.4/8 "],
]) {
  forwarded(`${JSON.stringify(bad)} is no range, and refused by name`, () => {
    assert.not(isRange(bad));
    assert.throws(
      () => settle({ trustProxy: [bad] }),
      (error: Error) => error instanceof TypeError && /^trustProxy: /.test(error.message),
    );
  });
}

forwarded("options of a wrong type are refused by name", () => {
  for (const bad of [true, "loopback", {}, [1], 5])
    assert.throws(
      () => settle({ trustProxy: bad as unknown as string[] }),
      /^TypeError: trustProxy: |^trustProxy: /,
    );
  assert.throws(() => settle({ forwardedHeader: "x-real-ip" as "forwarded" }), /forwardedHeader: /);
});

// ---- the walk --------------------------------------------------------------------------------------------

const trusted = new AddressSet(["10.0.0.0/8", "fd00::/8"]);
const PEER = "10.0.0.1";

for (const [value, client] of [
  [undefined, PEER],
  ["", PEER],
  [" , ", PEER],
  ["192.0.2.1", "192.0.2.1"],
  ["2001:db8::1", "2001:db8::1"],
  // The client's own text comes before its proxy's.
  ["6.6.6.6, 192.0.2.1", "192.0.2.1"],
  ["10.0.0.9, 192.0.2.1", "192.0.2.1"],
  ["nonsense, 192.0.2.1", "192.0.2.1"],
  ["6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1"],
  ["6.6.6.6,192.0.2.1,10.0.0.2 ,\t10.0.0.3", "192.0.2.1"],
  ["2001:db8::7, fd00::1", "2001:db8::7"],
  // All are trusted: the first is the client.
  ["10.0.0.4, 10.0.0.2", "10.0.0.4"],
  // With ports, as some write them.
  ["192.0.2.1:4711", "192.0.2.1"],
  ["[2001:db8::1]:4711", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  // A hop that names no address, from any proxy.
  ["192.0.2.1, unknown", PEER],
  ["6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"],
  ["192.0.2.1,", PEER],
  ["192.0.2.1, 192.0.2", PEER],
  ["_hidden", PEER],
  ["fe80::1%eth0", PEER],
  ["192.0.2.1\u00a0", PEER],
  [`${"10.0.0.2, ".repeat(2000)}10.0.0.3`, "10.0.0.2"],
] as const) {
  forwarded(`X-Forwarded-For: ${JSON.stringify(value)?.slice(0, 50)} is ${client}`, () => {
    assert.is(clientOf(PEER, value, { trusted, field: "x-forwarded-for" }), client);
  });
}

for (const [value, client] of [
  [undefined, PEER],
  ["for=192.0.2.43", "192.0.2.43"],
  ['for="192.0.2.43"', "192.0.2.43"],
  ["For=192.0.2.43;proto=http;by=203.0.113.43", "192.0.2.43"],
  ["proto=http; by=203.0.113.43 ; FOR=192.0.2.43", "192.0.2.43"],
  ['for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"],
  ['for="192.0.2.43:47011"', "192.0.2.43"],
  ["for=6.6.6.6, for=192.0.2.43", "192.0.2.43"],
  ["for=6.6.6.6, for=192.0.2.43, for=10.0.0.2;proto=https", "192.0.2.43"],
  ['for=192.0.2.43, for="[fd00::1]"', "192.0.2.43"],
  ["for=10.0.0.2", "10.0.0.2"],
  ["for=unknown", PEER],
  ["for=_SEVKISEK", PEER],
  ['for="_gazonk", for=10.0.0.2', "10.0.0.2"],
  ["proto=https", PEER],
  // The client's text cannot reach into its proxy's.
  ['for="6.6.6.6, for=192.0.2.43', "192.0.2.43"],
  ['x="a;for=6.6.6.6, for=192.0.2.43', "192.0.2.43"],
  ['host="a;for=6.6.6.6;b=c";for=192.0.2.43', "192.0.2.43"],
  ['for=192.0.2.43;host="a, for=6.6.6.6"', "192.0.2.43"],
  ['for=192.0.2.43;host="a\\", for=6.6.6.6"', "192.0.2.43"],
  ['for=192.0.2.43;host="a\\\\"', "192.0.2.43"],
  ['for="\\1\\9\\2.0.2.43"', "192.0.2.43"],
  // Malformed, from any proxy.
  ["for=192.0.2.43;for=192.0.2.44", PEER],
  ["for=192.0.2.43 proto=http", PEER],
  ["for 192.0.2.43", PEER],
  ["for=", PEER],
  ['for="192.0.2.43', PEER],
  ['for=192.0.2.43"', PEER],
  ['"', PEER],
  ["192.0.2.43", PEER],
] as const) {
  forwarded(`Forwarded: ${value} is ${client}`, () => {
    assert.is(clientOf(PEER, value, { trusted, field: "forwarded" }), client);
  });
}

// ---- a server --------------------------------------------------------------------------------------------

/** Creates a server that returns the client's address, behind a proxy at 10.0.0.1. */
function server(options: Parameters<typeof createTestServer>[0] = {}) {
  const seen: string[] = [];
  const t = createTestServer({
    trustProxy: ["10.0.0.0/8"],
    onError: () => undefined,
    ...options,
    handler: {
      connect: (connection) => void seen.push(`connect ${connection.remoteAddress}`),
      request: (req, res) =>
        req.upgrade
          ? res.upgrade({ data: req.remoteAddress })
          : res.send(200, "text/plain", req.remoteAddress),
      open: (ws) => void seen.push(`open ${ws.remoteAddress} ${ws.data}`),
      close: (ws, info) => void seen.push(`close ${ws.remoteAddress} ${info.cause}`),
      disconnect: (connection, info) =>
        void seen.push(`disconnect ${connection.remoteAddress} ${info.cause}`),
    },
  });
  return { t, seen };
}

const ask = (client: string, field = "X-Forwarded-For"): string =>
  `GET / HTTP/1.1\r\nHost: a\r\n${client && `${field}: ${client}\r\n`}\r\n`;

/** Fields of 16,000 bytes, each as bad for one way of reading it as it can be. */
for (const [name, field, value] of [
  ["blanks within", "x-forwarded-for", `1${" ".repeat(15000)}2, 192.0.2.1`],
  ["tabs within", "forwarded", `for=1${"\t".repeat(15000)}2, for=192.0.2.1`],
  ["hops that are trusted", "x-forwarded-for", "10.0.0.1,".repeat(1700)],
  ["quotes", "forwarded", `for="${'\\"'.repeat(7900)}`],
  ["commas", "forwarded", ",".repeat(16000)],
  ["digits", "x-forwarded-for", "1".repeat(16000)],
] as const) {
  forwarded(`a long field of ${name} takes no longer than it is long`, () => {
    const rules = { trusted: new AddressSet(["10.0.0.0/8"]), field };
    const before = process.cpuUsage();
    for (let i = 0; i < 20; i++) clientOf("10.0.0.2", value, rules);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 400e3, `${(user + system) / 20} µs each`);
  });
}

forwarded("each request of a connection has a client of its own", async () => {
  const { t, seen } = server();
  const proxy = t.socket({ remoteAddress: "10.0.0.1" });
  proxy.write(
    ask("192.0.2.1") + ask("6.6.6.6, 192.0.2.2") + ask("") + ask("192.0.2.3", "Forwarded"),
  );
  const stranger = t.socket({ remoteAddress: "192.0.2.9" });
  stranger.write(ask("192.0.2.1"));
  await t.settle();
  const bodies = (socket: typeof proxy): string[] =>
    socket.answers().map((answer) => Buffer.from(answer.body).toString());
  assert.equal(bodies(proxy), ["192.0.2.1", "192.0.2.2", "10.0.0.1", "10.0.0.1"]);
  assert.equal(bodies(stranger), ["192.0.2.9"]);
  assert.equal(seen, ["connect 10.0.0.1", "connect 192.0.2.9"]);
  assert.is((await t.server.stats()).addresses, 1, "the proxy is nobody's address");
  await t.close();
});

forwarded("several fields are one list; the other field is ignored", async () => {
  const { t } = server({ forwardedHeader: "forwarded" });
  const proxy = t.socket({ remoteAddress: "10.0.0.1" });
  proxy.write(
    "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n" +
      "forwarded: for=192.0.2.1\r\nForwarded: for=10.0.0.2\r\n\r\n",
  );
  await t.settle();
  assert.is(String(Buffer.from(proxy.answers()[0]?.body ?? [])), "192.0.2.1");
  await t.close();
});

forwarded("a WebSocket through a proxy is its client's, and counted under it", async () => {
  const { t, seen } = server({ maxConnectionsPerAddress: 2 });
  const connect = (client: string) =>
    t.connect("/", { remoteAddress: "10.0.0.1", headers: { "X-Forwarded-For": client } });
  const mine = [connect("192.0.2.1"), connect("192.0.2.1")];
  const other = connect("192.0.2.2");
  await t.settle();
  const third = connect("192.0.2.1");
  await t.settle();
  assert.ok(mine.every((client) => client.isOpen) && other.isOpen);
  assert.is(third.answer?.status, 429);
  assert.is((await t.server.stats()).addresses, 2);
  mine[0]?.close(1000);
  await t.settle();
  const again = connect("192.0.2.1");
  await t.settle();
  assert.ok(again.isOpen);
  assert.is((await t.server.stats()).closed.AddressLimit, 1);
  assert.ok(seen.includes("open 192.0.2.1 192.0.2.1"));
  assert.ok(seen.includes("close 192.0.2.1 PeerClosed"));
  assert.ok(seen.includes("close 10.0.0.1 AddressLimit"), "what an upgrade was given is let go of");
  for (let i = 0; i < 10; i++) t.socket({ remoteAddress: "10.0.0.1" });
  await t.settle();
  assert.is((await t.server.stats()).closed.AddressLimit, 1, "the proxy may have any number");
  await t.close();
  const { accepted, closed } = await t.server.stats();
  assert.is(
    Object.values(closed).reduce((a, b) => a + b),
    accepted,
  );
});

forwarded("proxies themselves, and clients that are not named, are not counted", async () => {
  const { t } = server({ maxConnectionsPerAddress: 1 });
  for (const client of ["", "unknown", "10.0.0.7", ""]) {
    const headers = { "X-Forwarded-For": client };
    t.connect("/", { remoteAddress: "10.0.0.1", ...(client ? { headers } : {}) });
  }
  await t.settle();
  const { addresses, webSockets } = await t.server.stats();
  assert.equal([addresses, webSockets], [0, 4]);
  await t.close();
});

forwarded.run();
