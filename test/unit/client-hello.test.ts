// The name in a ClientHello: whole, cut at each byte, over several records, too long, and broken in random ways. Real
// ones come from node:tls.

import { Duplex } from "node:stream";
import * as tls from "node:tls";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Random } from "../../host/testing/random";
import { ClientHello } from "../../worker/net/client-hello";

const hello = suite("client-hello");

const LIMIT = 16389;

/** Returns bytes after their length, which has `size` bytes. */
function vector(size: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(size);
  length.writeUIntBE(body.length, 0, size);
  return Buffer.concat([length, body]);
}

const byte = (...bytes: readonly number[]): Buffer => Buffer.from(bytes);

/** Returns an extension. */
const extension = (type: number, ...parts: readonly Uint8Array[]): Buffer =>
  Buffer.concat([byte(type >> 8, type & 255), vector(2, ...parts)]);

const serverName = (name: string | Uint8Array, type = 0): Buffer =>
  extension(0, vector(2, byte(type), vector(2, Buffer.from(name))));

/** Returns a ClientHello message with these extensions; undefined: it has none. */
function messageOf(extensions: readonly Uint8Array[] | undefined, more = 0): Buffer {
  const fixed = Buffer.concat([byte(3, 3), Buffer.alloc(32, 7)]);
  const lists = [vector(1, Buffer.alloc(32)), vector(2, Buffer.alloc(30)), vector(1, byte(0))];
  const padding = more > 0 ? [extension(21, Buffer.alloc(more))] : [];
  const all = extensions ? [vector(2, ...padding, ...extensions)] : [];
  return Buffer.concat([byte(1), vector(3, fixed, ...lists, ...all)]);
}

/** Returns a message in records of at most `size` bytes. */
function recordsOf(message: Uint8Array, size = 16384): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size)
    records.push(byte(22, 3, 1), vector(2, message.subarray(at, at + size)));
  return Buffer.concat(records);
}

/** Reads pieces. @returns the state after the last one that was needed, and the name */
function read(...pieces: readonly Uint8Array[]): [state: string, name: string] {
  const [first = Buffer.alloc(0), ...more] = pieces;
  const reader = new ClientHello(first);
  let state = reader.read();
  for (const piece of more) {
    if (state !== "open") break;
    reader.add(piece);
    state = reader.read();
  }
  return [state, reader.name];
}

const ONE = messageOf([extension(43, byte(2, 3, 4)), serverName("a.Example"), extension(10)], 200);

hello("is read at once, at each cut, and byte by byte, in records of any size", () => {
  for (const size of [16384, 200, 60, 4, 3, 1]) {
    const whole = recordsOf(ONE, size);
    assert.equal(read(whole), ["read", "a.Example"]);
    const bytes = [...whole].map((one) => byte(one));
    assert.equal(read(...bytes), ["read", "a.Example"]);
    for (let cut = 1; cut < whole.length; cut++) {
      const [head, tail] = [whole.subarray(0, cut), whole.subarray(cut)];
      assert.equal(read(head), ["open", ""], `the first ${cut} bytes in records of ${size}`);
      assert.equal(read(head, tail), ["read", "a.Example"], `cut at ${cut}`);
    }
  }
});

hello("keeps all bytes in order, with those after it", () => {
  const whole = Buffer.concat([recordsOf(ONE, 50), byte(20, 3, 3, 0, 1, 1)]);
  const reader = new ClientHello(whole.subarray(0, 1));
  for (let at = 1; at < whole.length; at += 7) reader.add(whole.subarray(at, at + 7));
  assert.is(reader.read(), "read");
  assert.ok(whole.equals(reader.bytes));
});

hello("without a name that can be read has none", () => {
  for (const extensions of [
    undefined,
    [],
    [extension(10, Buffer.alloc(4))],
    [serverName("")],
    [serverName("a.example", 1)],
    [extension(0)],
    [extension(0, vector(2))],
    [extension(0, byte(0, 99, 0, 0, 1, 97))],
    [extension(0, vector(2, byte(0, 0, 9, 97)))],
  ])
    assert.equal(read(recordsOf(messageOf(extensions))), ["read", ""]);
  // The extensions are longer than the message, or one is longer than all of them.
  const message = messageOf([serverName("a.example")]);
  for (const [at, value] of [
    [message.length - 19, 99],
    [message.length - 15, 99],
    [38, 255],
  ] as const) {
    const broken = Buffer.from(message);
    broken[at] = value;
    assert.equal(read(recordsOf(broken)), ["read", ""], `${value} at ${at}`);
  }
});

hello("that is none is left to the TLS library at once", () => {
  const whole = recordsOf(ONE);
  for (const [at, value] of [
    [0, 21],
    [1, 2],
    [3, 255],
    [5, 2],
  ] as const) {
    const other = Buffer.from(whole);
    other[at] = value;
    assert.equal(read(other), ["read", ""], `${value} at ${at}`);
  }
  assert.equal(read(byte(22, 3, 1, 0, 0)), ["read", ""], "an empty record");
  const second = Buffer.concat([recordsOf(ONE.subarray(0, 40)), byte(21, 3, 3, 0, 2, 1, 0)]);
  assert.equal(read(second), ["read", ""], "an alert before its end");
});

hello("of more than 16,389 bytes is refused, whether it says so or grows", () => {
  const room = LIMIT - recordsOf(messageOf([serverName("a.example")], 1)).length + 1;
  const largest = recordsOf(messageOf([serverName("a.example")], room));
  assert.is(largest.length, LIMIT);
  assert.equal(read(largest.subarray(0, -1), largest.subarray(-1)), ["read", "a.example"]);
  const long = messageOf([serverName("a.example")], 20000);
  assert.equal(read(recordsOf(long, 16384).subarray(0, LIMIT)), ["large", ""]);
  assert.equal(read(recordsOf(long, 9)), ["large", ""]);
  const slow = recordsOf(Buffer.from([1, 1, 0, 0]), 1);
  assert.equal(read(slow), ["large", ""]);
  const many = recordsOf(messageOf([serverName("a.example")], 8000), 1);
  assert.ok(many.length > LIMIT);
  const reader = new ClientHello(many.subarray(0, 10));
  let at = 10;
  for (; reader.read() === "open"; at += 10) reader.add(many.subarray(at, at + 10));
  assert.is(reader.read(), "large");
  assert.ok(at <= LIMIT + 10 && reader.bytes.length <= LIMIT + 10, `${at} bytes were kept`);
});

/** Returns the first bytes that a client of node:tls writes. */
function firstOf(options: tls.ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read: () => undefined,
      write(bytes: Buffer, _, done) {
        resolve(bytes);
        done();
      },
    });
    tls.connect({ socket: wire, ...options }).on("error", () => undefined);
  });
}

hello("of a real client is read", async () => {
  for (const [options, name] of [
    [{ servername: "a.example" }, "a.example"],
    [{ servername: "b.example", maxVersion: "TLSv1.2" }, "b.example"],
    [{ servername: "c.example", ALPNProtocols: ["h2", "http/1.1"] }, "c.example"],
    [{}, ""],
  ] as const) {
    const whole = await firstOf(options as tls.ConnectionOptions);
    assert.equal(read(whole), ["read", name]);
    for (let cut = 1; cut < whole.length; cut++)
      assert.equal(read(whole.subarray(0, cut)), ["open", ""], `the first ${cut} bytes`);
  }
});

/** Reads the name of a ClientHello in one record, as shortly as possible. */
function slowName(bytes: Buffer): string {
  const end = 5 + bytes.readUInt16BE(3);
  let at = 5 + 4 + 34;
  at += 1 + bytes.readUInt8(at);
  at += 2 + bytes.readUInt16BE(at);
  at += 1 + bytes.readUInt8(at);
  const stop = at + 2 + bytes.readUInt16BE(at);
  if (stop > end) throw new RangeError("too long");
  for (at += 2; at < stop; ) {
    const next = at + 4 + bytes.readUInt16BE(at + 2);
    if (next > stop) throw new RangeError("too long");
    if (bytes.readUInt16BE(at) === 0) {
      const list = at + 6 + bytes.readUInt16BE(at + 4);
      const to = at + 9 + bytes.readUInt16BE(at + 7);
      if (list > next || to > list || bytes[at + 6] !== 0) return "";
      return bytes.toString("latin1", at + 9, to);
    }
    at = next;
  }
  return "";
}

hello("that is broken at random never throws, and has the name that a model reads, or none", () => {
  const random = new Random(11);
  let named = 0;
  for (let round = 0; round < 20000; round++) {
    const bytes = recordsOf(ONE);
    for (let i = random.int(0, 3); i > 0; i--)
      bytes[random.int(9, bytes.length - 1)] = random.int(0, 255);
    const [state, name] = read(bytes);
    let expected = "";
    try {
      expected = slowName(bytes);
    } catch {
      // It has lengths that lead out of it.
    }
    assert.equal([state, name], ["read", expected], `round ${round}`);
    if (name !== "") named++;
  }
  assert.ok(named > 1000 && named < 20000, `${named} had a name`);
  for (let round = 0; round < 20000; round++) {
    const noise = random.bytes(random.int(1, 80));
    noise.set([22, 3].slice(0, noise.length));
    assert.ok(["open", "read", "large"].includes(read(noise)[0]));
  }
});

hello.run();
