// Counters of an address: exact, however its connections begin and end.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Control, NONE, Param } from "../../assembly/abi";
import { isAddress } from "../../host/shared/text/address";
import { Random } from "../../host/testing/random";
import { Drive, type Wire } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { text } from "../lib/frame";
import { responsesOf } from "../lib/response";
import { createTestServer } from "../../host/testing";

const address = suite("address");

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const refused = (drive: Drive): number =>
  drive.engine.control[Control.CloseCount - CloseReason.AddressLimit] as number;
const known = (drive: Drive): number => drive.engine.get(Control.AddressCount);

address("refuses connections over the limit of their address, and accepts other addresses", () => {
  const drive = new Drive({ AddressConnections: 2 });
  drive.connect("192.0.2.1");
  drive.connect("192.0.2.1");
  assert.is(drive.tryConnect("192.0.2.1"), undefined);
  assert.is(drive.engine.get(Control.Result), CloseReason.AddressLimit);
  drive.connect("192.0.2.2");
  assert.is(refused(drive), 1);
  assert.is(drive.engine.get(Control.Accepted), 4, "one that is refused was accepted before");
  assert.is(known(drive), 2);
  drive.end();
});

address("a refused connection takes no slot and evicts no other", () => {
  const drive = new Drive({ AddressConnections: 7, Connections: 8 });
  const other = drive.connect("192.0.2.2");
  for (let i = 0; i < 7; i++) drive.connect("192.0.2.1");
  for (let i = 0; i < 5; i++) assert.is(drive.tryConnect("192.0.2.1"), undefined);
  assert.not(other.dead);
  assert.is(drive.wires.length, 8);
  assert.is(refused(drive), 5);
  drive.end();
});

for (const [what, first, second, same] of [
  ["IPv4 is counted by address", "192.0.2.1", "192.0.2.2", false],
  ["an IPv4 address in IPv6 is that address", "192.0.2.1", "::ffff:192.0.2.1", true],
  ["in hexadecimal too", "192.0.2.1", "::FFFF:c000:201", true],
  ["another prefix of it is not", "192.0.2.1", "::192.0.2.1", false],
  ["the first eight octets alone are not", "0.0.0.0", "::", false],
  ["IPv6 is counted by its /64", "2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff", true],
  ["the next /64 is another", "2001:db8::1", "2001:db8:0:1::1", false],
  [
    "the longest form is the shortest",
    "2001:0db8:0000:0000:0000:0000:0000:0001",
    "2001:db8::",
    true,
  ],
  ["a gap at the end", "1:2:3:4::", "1:2:3:4:5:6:7:8", true],
  ["a gap of one group", "1:2:3::5:6:7:8", "1:2:3:0:5:6:7:8", true],
  ["the zone of an address is left out", "fe80::1%eth0", "fe80::1", true],
] as const) {
  address(`${what}: ${first} ${same ? "is" : "is not"} ${second}`, () => {
    const drive = new Drive({ AddressConnections: 1 });
    drive.connect(first);
    assert.is(drive.tryConnect(second) === undefined, same);
    drive.end();
  });
}

for (const bad of [
  ...["", "unix", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", ":", ":::", "1::2::3"],
  ...["1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::"],
  ...[
    "1:2:3:4:5:6:7:1.2.3.4",
    "::1.2.3",
    "1:",
    "::g",
    "1.2.3.4:80",
    "[::1]",
    `::${"0".repeat(70)}`,
  ],
]) {
  address(`${JSON.stringify(bad)} is no address: it is counted under none`, () => {
    const drive = new Drive({ AddressConnections: 1 });
    for (let i = 0; i < 3; i++) drive.connect(bad);
    assert.is(known(drive), 0);
    drive.end();
  });
}

address("the engine and the host read the same addresses", () => {
  const random = new Random(7);
  const drive = new Drive({ AddressConnections: 1 });
  const parts = [
    ":",
    "::",
    ".",
    "1",
    "0",
    "255",
    "256",
    "a",
    "ffff",
    "%e",
    "1.2.3.4",
    "1:2:3:4:5:6",
  ];
  let good = 0;
  for (let i = 0; i < 20000; i++) {
    let text = "";
    for (let n = random.int(1, 9); n > 0; n--) text += random.pick(parts);
    const wire = drive.connect(text);
    assert.is(known(drive) === 1, isAddress(text), text);
    good += known(drive);
    wire.lose();
  }
  assert.ok(good > 300, `${good} of them were addresses`);
  drive.end();
});

address("an upgraded connection counts once for its address, until it has ended", () => {
  const drive = new Drive({ AddressConnections: 1 });
  const wire = drive.webSocket("192.0.2.1");
  assert.is(drive.tryConnect("192.0.2.1"), undefined);
  wire.send(text("still here"));
  wire.lose();
  wire.lose();
  const next = drive.connect("192.0.2.1");
  assert.is(drive.tryConnect("192.0.2.1"), undefined);
  next.send("GET / HTTP/1.0\r\n\r\n");
  assert.is(drive.tryConnect("192.0.2.1"), undefined, "one that lingers is a connection");
  next.finish();
  drive.connect("192.0.2.1");
  drive.end();
});

address("a slot that is not freed yet is no connection, and is still its address's", () => {
  const drive = new Drive({ AddressConnections: 1 });
  const { engine } = drive;
  const slot = engine.accept("192.0.2.1");
  const generation = engine.get(Control.Generation);
  engine.x.terminate(slot, generation, CloseReason.PeerReset);
  engine.set(Control.EventCount, 0);
  assert.is(known(drive), 1);
  const second = drive.connect("192.0.2.1");
  engine.x.free(slot, generation);
  drive.check();
  assert.is(engine.accept("192.0.2.1"), NONE);
  second.lose();
  assert.is(known(drive), 0);
  drive.end();
});

address("the limit changes while the server runs, and counts open connections", () => {
  const drive = new Drive();
  for (let i = 0; i < 3; i++) drive.connect("192.0.2.1");
  drive.engine.configure(Param.AddressConnections, 3);
  assert.is(drive.tryConnect("192.0.2.1"), undefined);
  drive.engine.configure(Param.AddressConnections, 4);
  drive.connect("192.0.2.1");
  assert.is(drive.tryConnect("192.0.2.1"), undefined);
  drive.end();
});

/** Addresses that share buckets, prefixes and octets. */
const ADDRESSES = Array.from({ length: 24 }, (_, i) =>
  i < 8 ? `10.0.0.${i}` : i < 16 ? `2001:db8:0:${i}::${i}` : `${i.toString(16)}::`,
);

address("counts are exact in whatever order connections open and end", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const limit = random.int(1, 4);
    const drive = new Drive({
      ...{ AddressConnections: limit, Seed: seed, Connections: 16, WebSockets: 16 },
      EvictWhenFull: 1,
    });
    const all: [Wire, string][] = [];
    const live = (): [Wire, string][] => all.filter(([wire]) => !wire.dead);
    for (let step = 0; step < 400; step++) {
      const from = random.pick(ADDRESSES);
      const count = live().filter(([, of]) => of === from).length;
      const wires = live().map(([wire]) => wire);
      const wire = wires.length > 0 ? random.pick(wires) : undefined;
      switch (random.int(0, 5)) {
        case 0:
        case 1: {
          const made = drive.tryConnect(from);
          if (count >= limit) assert.is(made, undefined, `seed ${seed}: ${from} has ${count}`);
          if (made) all.push([made, from]);
          break;
        }
        case 2:
          if (wire && !wire.ended) wire.send(wire.slot < 16 ? HANDSHAKE : text("x"));
          break;
        case 3:
          if (wire && !wire.ended && wire.slot < 16) wire.send(GET);
          break;
        case 4:
          wire?.lose();
          break;
        default:
          wire?.finish();
      }
      const addresses = new Set(live().map(([, of]) => of));
      assert.is(known(drive), addresses.size, `seed ${seed}, step ${step}`);
    }
    drive.end();
  }
});

address("a server resets connections over the limit, and reports it", async () => {
  const t = createTestServer({ maxConnectionsPerAddress: 2, onError: () => undefined });
  const remoteAddress = "2001:db8::1";
  t.socket({ remoteAddress });
  t.socket({ remoteAddress });
  const third = t.socket({ remoteAddress: "2001:db8::2" });
  const other = t.socket({ remoteAddress: "2001:db8:0:1::" });
  await t.settle();
  assert.is(third.state, "reset");
  other.write(GET);
  await t.settle();
  assert.is(responsesOf(new TextDecoder("latin1").decode(other.received))[0]?.status, 404);
  const { accepted, addresses, closed, connections } = await t.server.stats();
  assert.equal([accepted, addresses, connections], [4, 2, 3]);
  assert.equal(closed, { AddressLimit: 1 });
  await t.server.configure({ maxConnectionsPerAddress: 3 });
  assert.is(t.socket({ remoteAddress }).state, "open");
  await t.close();
});

address.run();
