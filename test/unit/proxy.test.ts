// The PROXY protocol: headers that are accepted, headers that are refused and at which octet, and the connection's
// address afterwards.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Arrival, CloseReason, Control } from "../../assembly/abi";
import { settle } from "../../host/options/settle";
import { type TestOptions, createTestServer } from "../../host/testing";
import { reasonName } from "../../host/shared/close";
import { type Bytes, Drive, octets } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { responsesOf } from "../lib/response";

const proxy = suite("proxy");

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";

/** Returns a header of version 2. */
function binary(command: number, kind: number, addresses: Bytes, length?: number): Uint8Array {
  const bytes = octets(addresses);
  const n = length ?? bytes.length;
  return Buffer.concat([octets(SIGNATURE), Uint8Array.of(command, kind, n >> 8, n & 255), bytes]);
}

const IPV4 = Uint8Array.of(192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80);
const IPV6 = Buffer.concat([
  Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7),
  new Uint8Array(16),
  Uint8Array.of(0x12, 0x67, 0, 80),
]);
const MAPPED = Buffer.concat([
  new Uint8Array(10),
  Uint8Array.of(255, 255, 192, 0, 2, 9),
  new Uint8Array(20),
]);
/** Type-length-value fields, whatever they say. */
const TLVS = Uint8Array.of(4, 0, 3, 1, 2, 3, 0x20, 0, 0);

const LONGEST = `PROXY TCP6 ${"ffff:".repeat(7)}ffff ${"ffff:".repeat(7)}ffff 65535 65535\r\n`;

for (const [what, header, address] of [
  ["IPv4 in text", "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", "192.0.2.1"],
  ["the least ports and the most", "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0"],
  ["IPv6 in text", "PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7"],
  ["IPv4 in IPv6 in text", "PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 80\r\n", "192.0.2.1"],
  ["the longest line", LONGEST, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["nobody", "PROXY UNKNOWN\r\n", ""],
  ["nobody, and anything", `PROXY UNKNOWN ${"x".repeat(91)}\r\n`, ""],
  ["IPv4 in octets", binary(0x21, 0x11, IPV4), "192.0.2.1"],
  ["IPv6 in octets", binary(0x21, 0x21, IPV6), "2001:db8::7"],
  ["IPv4 in IPv6 in octets", binary(0x21, 0x21, MAPPED), "192.0.2.9"],
  ["with more after the addresses", binary(0x21, 0x11, Buffer.concat([IPV4, TLVS])), "192.0.2.1"],
  [
    "as much as there may be",
    binary(0x21, 0x21, Buffer.concat([IPV6, new Uint8Array(4044)])),
    "2001:db8::7",
  ],
  ["a connection of the proxy's own", binary(0x20, 0x00, ""), ""],
  ["one of its own that says more", binary(0x20, 0x11, "xyz"), ""],
  ["no family", binary(0x21, 0x00, TLVS), ""],
  ["UDP", binary(0x21, 0x12, IPV4), ""],
  ["a Unix socket", binary(0x21, 0x31, new Uint8Array(216)), ""],
] as const) {
  const log = [`proxied ${address}`.trimEnd(), "GET / 1.1"];
  const bytes = octets(header);

  proxy(`${what}: the header and the request after it are accepted`, () => {
    const drive = new Drive();
    const wire = drive.connect("", Arrival.Proxied).send(Buffer.concat([bytes, octets(GET)]));
    assert.equal(wire.log, log);
    assert.equal(
      responsesOf(wire.text).map((reply) => reply.status),
      [200],
    );
    drive.end();
  });

  proxy(`${what}: cut anywhere, and octet by octet`, () => {
    const drive = new Drive();
    const all = Buffer.concat([bytes, octets(GET)]);
    const step = all.length > 1000 ? 97 : 1;
    for (let cut = 1; cut < all.length; cut += step) {
      const wire = drive.connect("", Arrival.Proxied);
      wire.send(all.subarray(0, cut));
      wire.send(all.subarray(cut));
      assert.equal(wire.log, log, `cut at ${cut}`);
      wire.lose();
    }
    const wire = drive.connect("", Arrival.Proxied);
    for (let at = 0; at < all.length; at += step) wire.send(all.subarray(at, at + step));
    assert.equal(wire.log, log);
    drive.end();
  });

  proxy(`${what}: before TLS the bytes after the header are left, however it is cut`, () => {
    const drive = new Drive();
    const { engine } = drive;
    const all = Buffer.concat([bytes, octets("\x16\x03\x01 a handshake")]);
    const step = all.length > 1000 ? 97 : 1;
    for (let cut = 1; cut < all.length; cut += step) {
      const wire = drive.connect("", Arrival.Proxied | Arrival.Unsecured);
      let left = -1;
      for (const piece of [all.subarray(0, cut), all.subarray(cut)]) {
        if (left >= 0) break;
        engine.u8.set(piece, engine.window);
        const consumed = engine.x.feed(wire.slot, wire.generation, piece.length);
        drive.handle();
        if (wire.log.length > 0) left = piece.length - consumed;
        else assert.is(consumed, piece.length);
      }
      assert.is(left, cut < bytes.length ? all.length - bytes.length : cut - bytes.length);
      assert.equal(wire.log, log.slice(0, 1));
      drive.check();
      engine.x.gauge();
      assert.is(engine.get(Control.ReceivePoolUsed), 0, "it owns no buffer");
      engine.x.secured(wire.slot, wire.generation);
      wire.send(GET);
      assert.equal(wire.log, log);
      wire.lose();
    }
    drive.end();
  });
}

for (const [what, header] of [
  ["a request without a header", GET],
  ["TLS without a header", "\x16\x03\x01\x02\x00\x01"],
  ["an empty line", "\r\n\r\nGET"],
  ["lower case", "proxy TCP4"],
  ["another family", "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n"],
  ["no family", "PROXY  1.1.1.1 1.1.1.1 1 1\r\n"],
  ["UNKNOWN that goes on", "PROXY UNKNOWNS\r\n"],
  ["IPv6 as IPv4", "PROXY TCP4 ::1 ::1 1 1\r\n"],
  ["IPv4 as IPv6", "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n"],
  ["a leading zero in an address", "PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n"],
  ["a leading zero in a port", "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n"],
  ["a port too large", "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n"],
  ["the other port too large", "PROXY TCP4 1.1.1.1 1.1.1.1 1 99999\r\n"],
  ["no port", "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n"],
  ["an empty port", "PROXY TCP4 1.1.1.1 1.1.1.1  1\r\n"],
  ["an empty last port", "PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n"],
  ["two spaces", "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n"],
  ["a space at the end", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n"],
  ["a bad destination", "PROXY TCP4 1.1.1.1 1.1.1 1 1\r\n"],
  ["no addresses", "PROXY TCP4\r\n"],
  ["no addresses, but spaces", "PROXY TCP4    \r\n"],
  ["a bare LF", "PROXY UNKNOWN\nGET / HTTP/1.1\r\nx"],
  ["a bare CR", "PROXY UNKNOWN\rGET"],
  ["a line too long", `PROXY UNKNOWN ${"x".repeat(200)}`],
  ["a line one octet too long", `PROXY UNKNOWN ${"x".repeat(92)}\r\n`],
  ["another signature", "\r\n\r\n\0\r\nQUIT\r"],
  ["version 1 in octets", binary(0x11, 0x11, IPV4)],
  ["version 3", binary(0x31, 0x11, IPV4)],
  ["another command", binary(0x22, 0x11, IPV4)],
  ["a family there is not", binary(0x21, 0x41, new Uint8Array(300))],
  ["a transport there is not", binary(0x21, 0x13, IPV4)],
  ["too short for IPv4", binary(0x21, 0x11, IPV4.subarray(1))],
  ["too short for IPv6", binary(0x21, 0x21, IPV6.subarray(1))],
  ["too short for a Unix socket", binary(0x21, 0x31, new Uint8Array(215))],
  ["longer than 4096 octets", binary(0x21, 0x11, "", 4081)],
] as const) {
  proxy(`${what} is refused, without a word, whole and octet by octet`, () => {
    const drive = new Drive();
    const bytes = octets(header);
    for (const flags of [Arrival.Proxied, Arrival.Proxied | Arrival.Unsecured]) {
      for (const pieces of [[bytes], [...bytes].map((byte) => Uint8Array.of(byte))]) {
        const wire = drive.connect("", flags);
        for (const piece of pieces) wire.send(piece);
        assert.equal(wire.log, ["closed BadProxyHeader"]);
        assert.is(wire.text, "");
        assert.ok(wire.reset);
      }
    }
    drive.end();
  });
}

proxy("a header that does not come ends with the head's time, without a word", () => {
  const drive = new Drive();
  for (const flags of [Arrival.Proxied, Arrival.Unsecured, Arrival.Proxied | Arrival.Unsecured]) {
    const wire = drive.connect("", flags);
    if (flags & Arrival.Proxied) {
      drive.after(5000);
      wire.send("PROXY TCP4 1.1");
      drive.after(4999);
    } else {
      drive.after(9999);
    }
    assert.equal(wire.log, []);
    drive.after(1);
    assert.equal(wire.log, ["closed HeadTimeout"]);
    assert.is(wire.text, "");
  }
  drive.end();
});

proxy("a head after it has the rest of the time", () => {
  const drive = new Drive();
  const wire = drive.connect("", Arrival.Proxied);
  drive.after(5000);
  wire.send("PROXY UNKNOWN\r\nGET");
  drive.after(5000);
  assert.equal(wire.log, ["proxied", "end HeadTimeout"]);
  assert.is(responsesOf(wire.text)[0]?.status, 408);
  drive.end();
});

proxy("only the first bytes are a header", () => {
  const drive = new Drive();
  const wire = drive.connect("", Arrival.Proxied);
  wire.send(`PROXY UNKNOWN\r\n${GET}PROXY UNKNOWN\r\n`);
  assert.equal(wire.log, ["proxied", "GET / 1.1", "end BadRequest"]);
  drive.end();
});

proxy("an end within a header, and a shutdown, end the connection", () => {
  const drive = new Drive();
  const cut = drive.connect("", Arrival.Proxied).send("PROXY").finish();
  assert.is(cut.log.at(-1), `closed ${reasonName(CloseReason.PeerEnded)}`);
  const idle = drive.connect("", Arrival.Proxied);
  const half = drive.connect("", Arrival.Proxied).send("PROXY");
  for (const wire of [idle, half]) drive.engine.x.dismiss(wire.slot, wire.generation);
  drive.turn();
  for (const wire of [idle, half]) assert.equal(wire.log, ["closed Shutdown"]);
  drive.end();
});

proxy("without a free buffer a header waits as a head does", () => {
  const drive = new Drive({ ReceivePoolBytes: 16384 });
  const start = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3200\r\n\r\n${"x".repeat(3000)}`;
  const holders = Array.from({ length: 4 }, () => drive.connect().send(start));
  const late = drive.connect("", Arrival.Proxied).send("PROXY TCP4 192.0.2.1 10.");
  assert.ok(drive.engine.isWaiting(late.slot));
  for (const wire of holders) wire.send("y".repeat(200));
  late.send(`0.0.1 4711 80\r\n${GET}`);
  assert.equal(late.log, ["proxied 192.0.2.1", "GET / 1.1"]);
  drive.end();
});

// ---- a server --------------------------------------------------------------------------------------------

function server(options: TestOptions) {
  const seen: string[] = [];
  const t = createTestServer({
    onError: () => undefined,
    ...options,
    handler: {
      connect: ({ remoteAddress }) => void seen.push(`connect ${remoteAddress}`),
      disconnect: ({ remoteAddress }, { cause }) =>
        void seen.push(`gone ${remoteAddress} ${cause}`),
      request: (req, res) =>
        req.upgrade ? res.upgrade() : res.send(200, "text/plain", req.remoteAddress),
      open: (ws) => void seen.push(`open ${ws.remoteAddress}`),
    },
  });
  return { t, seen };
}

const from = (address: string): string => {
  const [family, own] = address.includes(":") ? ["TCP6", "::1"] : ["TCP4", "10.0.0.1"];
  return `PROXY ${family} ${address} ${own} 4711 80\r\n`;
};

proxy("requests and WebSockets have the client address that the header names", async () => {
  const { t, seen } = server({ proxyProtocol: true });
  const http = t.socket({ remoteAddress: "10.0.0.1" }).write(from("192.0.2.1") + GET + GET);
  const ws = t.socket({ remoteAddress: "10.0.0.1" }).write(from("2001:db8::1") + HANDSHAKE);
  const own = t
    .socket({ remoteAddress: "10.0.0.1" })
    .write(binary(0x20, 0, ""))
    .write(GET);
  await t.settle();
  const bodies = (socket: typeof http): string[] =>
    socket.answers().map((answer) => Buffer.from(answer.body).toString());
  assert.equal(bodies(http), ["192.0.2.1", "192.0.2.1"]);
  assert.equal(bodies(own), ["10.0.0.1"]);
  assert.is((await t.server.stats()).addresses, 2, "the proxy's own is nobody's");
  assert.equal(seen, [
    "connect 192.0.2.1",
    "connect 2001:db8::1",
    "connect 10.0.0.1",
    "open 2001:db8::1",
  ]);
  for (const socket of [http, ws, own]) socket.reset();
  await t.close();
});

proxy("clients have their limit, whatever proxy they come through", async () => {
  const { t, seen } = server({ proxyProtocol: ["10.0.0.0/8"], maxConnectionsPerAddress: 2 });
  const sockets = Array.from({ length: 3 }, (_, i) =>
    t.socket({ remoteAddress: `10.0.0.${i}` }).write(from("192.0.2.1") + GET),
  );
  const other = t.socket({ remoteAddress: "10.0.0.1" }).write(from("192.0.2.2") + GET);
  await t.settle();
  assert.equal(
    [...sockets, other].map(({ state }) => state),
    ["open", "open", "reset", "open"],
  );
  assert.equal(seen, ["connect 192.0.2.1", "connect 192.0.2.1", "connect 192.0.2.2"]);
  assert.equal((await t.server.stats()).closed, { AddressLimit: 1 });
  sockets[0]?.reset();
  await t.settle();
  const again = t.socket({ remoteAddress: "10.0.0.1" }).write(from("192.0.2.1") + GET);
  await t.settle();
  assert.is(again.answers()[0]?.status, 200);
  await t.close();
});

proxy("peers that are not named are reset at once, and not reported", async () => {
  const { t, seen } = server({ proxyProtocol: ["10.0.0.1"] });
  const stranger = t.socket({ remoteAddress: "10.0.0.2" }).write(from("192.0.2.1") + GET);
  const bare = t.socket({ remoteAddress: "10.0.0.1" }).write(GET);
  await t.settle();
  assert.equal([stranger.state, bare.state], ["reset", "reset"]);
  assert.equal(seen, []);
  const { accepted, closed } = await t.server.stats();
  assert.equal([accepted, closed], [2, { ProxyRefused: 1, BadProxyHeader: 1 }]);
  await t.close();
});

proxy("with two proxies in a row, the header's client may be trusted to name another", async () => {
  const { t } = server({ proxyProtocol: ["10.0.0.1"], trustProxy: ["198.51.100.0/24"] });
  const ask = (client: string): string =>
    `GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${client}\r\n\r\n`;
  const cdn = t.socket({ remoteAddress: "10.0.0.1" });
  cdn.write(from("198.51.100.7") + ask("6.6.6.6, 192.0.2.1"));
  const client = t.socket({ remoteAddress: "10.0.0.1" });
  client.write(from("192.0.2.2") + ask("192.0.2.1"));
  await t.settle();
  assert.is(Buffer.from(cdn.answers()[0]?.body ?? []).toString(), "192.0.2.1");
  assert.is(Buffer.from(client.answers()[0]?.body ?? []).toString(), "192.0.2.2");
  assert.is((await t.server.stats()).addresses, 1);
  await t.close();
});

proxy("options of a wrong type are refused by name", () => {
  for (const bad of ["10.0.0.1", ["example.org"], [1], 1, {}, null])
    assert.throws(() => settle({ proxyProtocol: bad as unknown as boolean }), /proxyProtocol: /);
  assert.is(settle({ proxyProtocol: false }).listeners[0].proxyProtocol, undefined);
  assert.equal(settle({ proxyProtocol: true }).listeners[0].proxyProtocol, ["*"]);
  assert.throws(() => settle({ proxyProtocol: ["*"] }), /proxyProtocol: /);
});

proxy.run();
