// Leaf kernels, seen through frames: UTF-8 against a slow, obvious validator; the mask at every
// alignment and length.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Trait } from "../../assembly/abi";
import { type Asked, Drive } from "../lib/drive";
import { frame, lines, text, closeLine } from "../lib/frame";
import { Random } from "../../host/testing/random";
import { KEY } from "../lib/handshake";

const leaf = suite("leaf");

/** The well-formed byte sequences, row by row (Unicode, table 3-7). */
const ROWS: readonly (readonly (readonly [number, number])[])[] = [
  [[0x00, 0x7f]],
  [
    [0xc2, 0xdf],
    [0x80, 0xbf],
  ],
  [
    [0xe0, 0xe0],
    [0xa0, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xe1, 0xec],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xed, 0xed],
    [0x80, 0x9f],
    [0x80, 0xbf],
  ],
  [
    [0xee, 0xef],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xf0, 0xf0],
    [0x90, 0xbf],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xf1, 0xf3],
    [0x80, 0xbf],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xf4, 0xf4],
    [0x80, 0x8f],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
];

function isUtf8(bytes: Uint8Array): boolean {
  let at = 0;
  while (at < bytes.length) {
    const row = ROWS.find((ranges) =>
      ranges.every(([low, high], i) => {
        const byte = bytes[at + i];
        return byte !== undefined && byte >= low && byte <= high;
      }),
    );
    if (!row) return false;
    at += row.length;
  }
  return true;
}

const source = new Random(20260101);
const random = (n: number): number => source.int(0, n - 1);

/** Returns true when the engine accepts a text, in one frame or in two. */
function takes(drive: Drive, payload: Uint8Array, cut: number): boolean {
  const wire = drive.webSocket();
  if (cut === 0) wire.send(text(payload));
  else wire.send(text(payload.subarray(0, cut), { final: false }), frame(0, payload.subarray(cut)));
  const taken = wire.messages.length === 1;
  if (taken) assert.ok(Buffer.from(wire.messages[0] as Uint8Array).equals(payload));
  else assert.equal(lines(wire.take()), [closeLine("WsBadUtf8")]);
  wire.lose();
  return taken;
}

function compare(drive: Drive, payload: Uint8Array, cut = 0): void {
  const hex = Buffer.from(payload).toString("hex");
  assert.is(takes(drive, payload, cut), isUtf8(payload), `${hex} cut at ${cut}`);
}

leaf("utf-8: every one and two bytes are accepted or refused as in the table", () => {
  const drive = new Drive();
  for (let a = 0; a < 256; a++) {
    compare(drive, Uint8Array.of(a));
    for (const b of [0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xff]) {
      compare(drive, Uint8Array.of(a, b));
      compare(drive, Uint8Array.of(a, b), 1);
    }
  }
  drive.end();
});

leaf("utf-8: boundaries of three and four bytes are accepted or refused as in the table", () => {
  const drive = new Drive();
  const leads = [0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5];
  const seconds = [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
  const thirds = [0x7f, 0x80, 0xbf, 0xc0];
  for (const a of leads) {
    for (const b of seconds) {
      for (const c of thirds) {
        compare(drive, Uint8Array.of(a, b, c));
        compare(drive, Uint8Array.of(a, b, c), 2);
        for (const d of thirds) compare(drive, Uint8Array.of(a, b, c, d), random(4));
      }
    }
  }
  drive.end();
});

leaf("utf-8: random texts with a byte changed are accepted or refused as in the table", () => {
  const drive = new Drive();
  const kinds = ["a", "\u00e4", "\u20ac", "\u{1d11e}", "\ud7ff", "\u0800", "\u{10ffff}"];
  for (let i = 0; i < 4000; i++) {
    let value = "x".repeat(random(40));
    for (let k = random(8); k > 0; k--) {
      value += `${kinds[random(kinds.length)]}${"y".repeat(random(3) ? 0 : random(20))}`;
    }
    const bytes = Buffer.from(value);
    if (random(2) && bytes.length > 0) bytes[random(bytes.length)] = random(256);
    compare(drive, bytes, random(bytes.length + 1));
  }
  drive.end();
});

/** Returns how many bytes form whole characters; undefined when the rest cannot begin a character. */
function wholeOf(bytes: Uint8Array): number | undefined {
  for (let cut = 0; cut < 4 && cut <= bytes.length; cut++) {
    const whole = bytes.length - cut;
    if (!isUtf8(bytes.subarray(0, whole))) continue;
    const open = bytes.subarray(whole);
    const begins = ROWS.some(
      (row) =>
        row.length > cut &&
        open.every((byte, i) => {
          const [low, high] = row[i] as readonly [number, number];
          return byte >= low && byte <= high;
        }),
    );
    return begins ? whole : undefined;
  }
  return undefined;
}

/** Texts of which runs of ASCII and of other characters reach over every edge of 16 and 64 bytes. */
function someText(limit: number): Uint8Array {
  const kinds = ["a", "\u00e4", "\u20ac", "\u{1d11e}", "\ud7ff", "\u0800", "\u{10ffff}", "\ue000"];
  let value = "";
  while (value.length < limit) {
    const run = random(3) === 0 ? random(90) : random(6);
    value += (kinds[random(2) ? 0 : random(kinds.length)] as string).repeat(run);
  }
  const bytes = Buffer.from(value);
  return bytes.subarray(0, random(Math.min(limit, bytes.length) + 1));
}

leaf(
  "utf-8: at every alignment and cut anywhere, refuses an invalid beginning of a text at once",
  () => {
    const { engine } = new Drive();
    const refused = 0xffffffff;
    const around = [0x41, 0x80, 0xbf, 0xc3, 0xe4, 0xf0, 0xff];
    let bad = 0;
    for (let i = 0; i < 30000; i++) {
      const bytes = Uint8Array.from(someText(i % 10 === 0 ? 400 : 150));
      // Half of them with a fault, most of those within the bytes that a wrong edge would miss.
      if (i & 1 && bytes.length > 0) bytes[random(bytes.length)] = random(256);
      const at = engine.scratch + 64 + (i % 64);
      // Bytes around the text are not part of it.
      engine.u8.fill(around[random(around.length)] as number, at - 32, at + bytes.length + 32);
      engine.u8.set(bytes, at);
      let state = 0;
      for (let from = 0, last = false; !last; ) {
        const to = random(3) ? bytes.length : from + random(bytes.length - from + 1);
        last = to === bytes.length;
        state = engine.x.checkUtf8(at + from, to - from, state) >>> 0;
        const whole = wholeOf(bytes.subarray(0, to));
        const hex = `${Buffer.from(bytes).toString("hex")} up to ${to} at ${at & 63}`;
        if (whole === undefined) assert.is(state, refused, hex);
        else assert.is(state === 0, whole === to, hex);
        if (whole !== undefined) assert.is.not(state, refused, hex);
        if (whole === undefined) {
          bad++;
          break;
        }
        from = to;
      }
    }
    assert.ok(bad > 5000 && bad < 25000, `${bad} are refused`);
  },
);

leaf("mask: every alignment and length is unmasked", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  const masks = [
    [1, 2, 3, 4],
    [0, 0, 0, 0],
    [255, 0, 255, 0],
    [0x37, 0xfa, 0x21, 0x3d],
  ];
  for (let pad = 0; pad < 18; pad++) {
    for (let length = 0; length < 210; length++) {
      const payload = Uint8Array.from({ length }, () => random(256));
      const mask = masks[random(masks.length)] as number[];
      // A pong in front moves the payload within the window.
      wire.send(Buffer.concat([frame(10, "p".repeat(pad)), frame(2, payload, { mask })]));
      const got = wire.messages.pop() as Uint8Array;
      assert.ok(Buffer.from(got).equals(payload), `${length} bytes at ${pad}`);
    }
  }
  drive.end();
});

leaf("mask: a payload cut into pieces continues with the right byte of the mask", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  for (let i = 0; i < 1500; i++) {
    const payload = Uint8Array.from({ length: 1 + random(200) }, () => random(256));
    const input = Buffer.concat([
      frame(2, payload.subarray(0, random(payload.length)), { final: false }),
      frame(0, payload, { mask: [random(256), random(256), random(256), random(256)] }),
    ]);
    const first = input.length;
    for (let at = 0; at < first; ) {
      const n = 1 + random(60);
      wire.send(input.subarray(at, at + n));
      at += n;
    }
    const got = Buffer.from(wire.messages.pop() as Uint8Array);
    assert.ok(got.subarray(got.length - payload.length).equals(payload));
  }
  drive.end();
});

// ---- octets of a request head -------------------------------------------------------------------

/** Returns the request that a head is parsed as; undefined when it is refused. */
function taken(drive: Drive, head: string): Asked | undefined {
  const wire = drive.connect();
  wire.send(Buffer.from(head, "latin1"));
  const asked = wire.asked[0];
  if (!asked) assert.match(wire.text, /^HTTP\/1\.1 4/);
  wire.lose();
  return asked;
}

/** Returns `text` with one octet of it replaced. */
function changed(text: string, at: number, octet: number): string {
  return text.slice(0, at) + String.fromCharCode(octet) + text.slice(at + 1);
}

/** Puts each octet at each place of a text; padding before it moves it over every edge of 16 bytes. */
function eachOctet(length: number, look: (text: string, octet: number, pad: string) => void): void {
  const text = "Abcdefghijklmnopqrstuvwxyz-0123456789-".repeat(2).slice(0, length);
  for (let at = 0; at < length; at++) {
    for (let octet = 0; octet < 256; octet++) {
      look(changed(text, at, octet), octet, "p".repeat((at + octet) % 19));
    }
  }
}

leaf("a field's name holds only tchars, at any position", () => {
  const drive = new Drive();
  eachOctet(35, (name, octet, pad) => {
    const asked = taken(drive, `GET / HTTP/1.1\r\nHost: a\r\nP: ${pad}\r\n${name}: v\r\n\r\n`);
    const is = /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(octet));
    // A colon ends the name earlier, but for the one in front of which there would be none.
    const isColon = octet === 0x3a && name[0] !== ":";
    assert.is(asked !== undefined, is || isColon, `${octet} in ${name}`);
    if (asked && is) assert.equal(asked.fields[2], [name, "v"]);
  });
  drive.end();
});

leaf("a field's value holds no control octet but HTAB, at any position", () => {
  const drive = new Drive();
  eachOctet(50, (value, octet, pad) => {
    const asked = taken(drive, `GET / HTTP/1.1\r\nHost: a\r\nP: ${pad}\r\nv: ${value}\r\n\r\n`);
    const is = octet === 9 || (octet >= 0x20 && octet !== 0x7f);
    assert.is(asked !== undefined, is, `${octet} in ${value}`);
    if (asked) assert.equal(asked.fields[2], ["v", value.replace(/^[ \t]+|[ \t]+$/g, "")]);
  });
  drive.end();
});

leaf("a target holds only visible ASCII, at any position", () => {
  const drive = new Drive();
  eachOctet(35, (path, octet, pad) => {
    const target = `/${pad}${path}`;
    const asked = taken(drive, `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.is(asked !== undefined, octet > 0x20 && octet < 0x7f, `${octet} in ${target}`);
    if (asked) assert.is(asked.target, target);
  });
  drive.end();
});

leaf("a host's name holds unreserved octets, sub-delims but the comma, and whole escapes", () => {
  const drive = new Drive();
  eachOctet(35, (name, octet) => {
    for (const host of [name, `%4a${name}`, `${name}:80`]) {
      const asked = taken(drive, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      const value = host.replace(/^[ \t]+|[ \t]+$/g, "");
      const found = /^(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+(?::(\d*))?$/.exec(value);
      const is = found !== null && Number(found[1] ?? 0) < 65536;
      assert.is(asked !== undefined, is, `${octet} in ${host}`);
    }
  });
  drive.end();
});

leaf("names and words are known in any case, and no others are taken for them", () => {
  const drive = new Drive();
  const cases: [name: string, value: string, trait: Trait][] = [
    ["Expect", "100-continue", Trait.Expect],
    ["Connection", "keep-alive", Trait.KeepAlive],
    ["Connection", "close", Trait.Close],
    ["Connection", "upgrade", Trait.ConnectionUpgrade],
    ["Upgrade", "websocket", Trait.UpgradeWebSocket],
    ["Content-Length", "0", Trait.ContentLength],
    ["Sec-WebSocket-Key", KEY, Trait.Key],
    ["Sec-WebSocket-Version", "13", Trait.Version13],
  ];
  const look = (name: string, value: string, trait: Trait, is: boolean): void => {
    // From 1.0, so that a handshake that is not whole is no reason to refuse it.
    const asked = taken(drive, `GET / HTTP/1.0\r\n${name}: ${value}\r\n\r\n`);
    if (asked) assert.is((asked.traits & trait) !== 0, is, `${name}: ${value}`);
  };
  for (const [name, value, trait] of cases) {
    look(name, value, trait, true);
    look(name.toUpperCase(), value, trait, true);
    look(name.toLowerCase(), value, trait, true);
    for (let at = 0; at < name.length; at++) {
      for (let octet = 0x21; octet < 0x7f; octet++) {
        const other = changed(name, at, octet);
        look(other, value, trait, other.toLowerCase() === name.toLowerCase());
      }
    }
    if (!/^[a-z]/.test(value) || trait === Trait.Key) continue;
    for (let at = 0; at < value.length; at++) {
      for (let octet = 0x21; octet < 0x100; octet++) {
        if (octet === 0x7f || octet === 0x2c) continue;
        const other = changed(value, at, octet);
        // Latin-1 letters have no case here.
        const is = octet < 0x80 && other.toLowerCase() === value;
        look(name, other, trait, is);
        look(name, `a, ${other} ,b`, trait, is);
      }
    }
  }
  drive.end();
});

leaf.run();
