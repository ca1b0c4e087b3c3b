// Families 1 to 7 and 10: framing, pings, reserved bits, opcodes, fragments, UTF-8, closing.

import { type Case, answered, failed } from "./cases";
import {
  BINARY,
  CLOSE,
  type Client,
  type Event,
  PING,
  PONG,
  TEXT,
  binary,
  closePayload,
  fragmented,
  frame,
  pong,
  text,
} from "./client";
import { sleep } from "../lib/wait";

/** How frames are written: at once, each by itself, octet by octet. */
type Way = "at once" | "one by one" | "octet by octet";
const WAYS: readonly Way[] = ["at once", "one by one", "octet by octet"];

function put(client: Client, way: Way, frames: readonly Buffer[]): void | Promise<void> {
  if (way === "one by one") return client.separately(...frames);
  if (way === "octet by octet") return client.chopped(Buffer.concat(frames), 1);
  client.write(Buffer.concat(frames));
}

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(" ", ""), "hex");
const HELLO = "Hello, world!";

function framing(): Case[] {
  const sizes = [0, 125, 126, 127, 128, 65535, 65536];
  const cases: Case[] = [];
  for (const [family, event] of [
    ["1.1", (n: number): Event => text("*".repeat(n))],
    ["1.2", (n: number): Event => binary(Buffer.alloc(n, 0xfe))],
  ] as const) {
    sizes.forEach((size, i) => {
      const due = event(size);
      cases.push(answered(`${family}.${i + 1}`, [due], (client) => client.message(due)));
    });
    const due = event(65536);
    const whole = Buffer.concat(fragmented(due, 65536));
    cases.push(answered(`${family}.8`, [due], (client) => client.chopped(whole, 997)));
  }
  return cases;
}

function pings(): Case[] {
  const odd = hex("00 ff fe fd fc fb 00 ff");
  const longest = Buffer.alloc(125, 0xfe);
  const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);
  const tenPings = Buffer.concat(ten.map((payload) => frame(PING, payload)));
  const tenPongs = ten.map((payload) => pong(payload));
  const unasked = frame(PONG, "unsolicited pong payload");
  return [
    ...["", HELLO, odd, longest].map((payload, i) =>
      answered(`2.${i + 1}`, [pong(payload)], (client) => client.write(frame(PING, payload))),
    ),
    failed("2.5", 1002, (client) => client.write(frame(PING, Buffer.alloc(126, 0xfe)))),
    answered("2.6", [pong(longest)], (client) => client.chopped(frame(PING, longest), 1)),
    answered("2.7", [], (client) => client.write(frame(PONG))),
    answered("2.8", [], (client) => client.write(unasked)),
    answered("2.9", [pong("ping payload")], (client) =>
      client.write(unasked, frame(PING, "ping payload")),
    ),
    answered("2.10", tenPongs, (client) => client.write(tenPings)),
    answered("2.11", tenPongs, (client) => client.chopped(tenPings, 1)),
  ];
}

/** Returns a case with a good message, an invalid frame, and a ping that gets no pong. */
function afterHello(id: string, bad: Buffer, way: Way): Case {
  const frames = [frame(TEXT, HELLO), bad, frame(PING)];
  return failed(id, 1002, (client) => put(client, way, frames), [text(HELLO)]);
}

function reservedBits(): Case[] {
  const odd = hex("00 ff fe fd fc fb 00 ff");
  const alone = (id: string, bad: Buffer): Case => failed(id, 1002, (client) => client.write(bad));
  return [
    alone("3.1", frame(TEXT, HELLO, { reserved: 1 })),
    afterHello("3.2", frame(TEXT, HELLO, { reserved: 2 }), "at once"),
    afterHello("3.3", frame(TEXT, HELLO, { reserved: 3 }), "one by one"),
    afterHello("3.4", frame(TEXT, HELLO, { reserved: 4 }), "octet by octet"),
    alone("3.5", frame(BINARY, odd, { reserved: 5 })),
    alone("3.6", frame(PING, HELLO, { reserved: 6 })),
    alone("3.7", frame(CLOSE, closePayload(1000), { reserved: 7 })),
  ];
}

function opcodes(): Case[] {
  const payload = "reserved opcode payload";
  const family = (name: string, [a, b, c, d, e]: readonly number[]): Case[] => [
    failed(`${name}.1`, 1002, (client) => client.write(frame(a as number))),
    failed(`${name}.2`, 1002, (client) => client.write(frame(b as number, payload))),
    afterHello(`${name}.3`, frame(c as number), "at once"),
    afterHello(`${name}.4`, frame(d as number, payload), "at once"),
    afterHello(`${name}.5`, frame(e as number, payload), "octet by octet"),
  ];
  return [...family("4.1", [3, 4, 5, 6, 7]), ...family("4.2", [11, 12, 13, 14, 15])];
}

const OPEN = { final: false };

function fragments(): Case[] {
  const first = frame(TEXT, "fragment1", OPEN);
  const last = frame(0, "fragment2");
  const both = text("fragment1fragment2");
  const stray = (final: boolean): Buffer => frame(0, "non-continuation payload", { final });
  const cases: Case[] = [
    failed("5.1", 1002, (client) => client.write(frame(PING, "fragment1", OPEN), last)),
    failed("5.2", 1002, (client) => client.write(frame(PONG, "fragment1", OPEN), last)),
  ];
  WAYS.forEach((way, i) => {
    const between = frame(PING, "ping payload");
    cases.push(
      answered(`5.${3 + i}`, [both], (client) => put(client, way, [first, last])),
      answered(`5.${6 + i}`, [pong("ping payload"), both], (client) =>
        put(client, way, [first, between, last]),
      ),
      failed(`5.${9 + i}`, 1002, (client) => put(client, way, [stray(true), frame(TEXT, HELLO)])),
      failed(`5.${12 + i}`, 1002, (client) => put(client, way, [stray(false), frame(TEXT, HELLO)])),
    );
  });
  const twice = (final: boolean): Buffer[] => [
    stray(final),
    first,
    last,
    stray(final),
    first,
    last,
  ];
  const early = [
    frame(TEXT, "fragment1", OPEN),
    frame(0, "fragment2", OPEN),
    frame(PING, "pongme 1!"),
  ];
  const late = [
    frame(0, "fragment3", OPEN),
    frame(0, "fragment4", OPEN),
    frame(PING, "pongme 2!"),
    frame(0, "fragment5"),
  ];
  const five = [
    pong("pongme 1!"),
    pong("pongme 2!"),
    text("fragment1fragment2fragment3fragment4fragment5"),
  ];
  const waiting = (id: string, way: Way): Case =>
    answered(id, five, async (client) => {
      await put(client, way, early);
      // As long as in the suite that the cases are from.
      await sleep(1000);
      await put(client, way, late);
    });
  cases.push(
    failed(
      "5.15",
      1002,
      (client) => put(client, "at once", [first, last, stray(false), frame(TEXT, HELLO)]),
      [both],
    ),
    failed("5.16", 1002, (client) => put(client, "at once", twice(false))),
    failed("5.17", 1002, (client) => put(client, "at once", twice(true))),
    failed("5.18", 1002, (client) => client.write(first, frame(TEXT, "fragment2"))),
    waiting("5.19", "at once"),
    waiting("5.20", "one by one"),
  );
  return cases;
}

const KOSME = hex("ce ba e1 bd b9 cf 83 ce bc ce b5");
const UMLAUTS = "Hello-µ@ßöäüàá-UTF-8!!";
const EDITED = Buffer.from("edited");

/** Sequences from Markus Kuhn's UTF-8 decoder test, by family, each with whether it is valid. */
function sequences(): [string, boolean][][] {
  const all = (valid: boolean, ...list: string[]): [string, boolean][] =>
    list.map((digits) => [digits, valid]);
  const range = (from: number, to: number, step = ""): string =>
    Array.from({ length: to - from }, (_, i) => (from + i).toString(16) + step).join("");
  const world = (middle: string): string => `68656c6c6f${middle}776f726c64`;
  const kosme = KOSME.toString("hex");
  const whole = [2, 5, 7, 9, 11];
  const prefixes = Array.from({ length: 11 }, (_, i): [string, boolean] => [
    kosme.slice(0, 2 * i + 2),
    whole.includes(i + 1),
  ]);
  const cut = [
    ..."c0 e080 f08080 f8808080 fc80808080".split(" "),
    ..."df efbf f7bfbf fbbfbfbf fdbfbfbfbf".split(" "),
  ];
  const nonCharacters = ["efbfbe", "efbfbf"];
  for (const lead of ["f0", "f1", "f2", "f3", "f4"]) {
    for (const second of lead === "f4" ? ["8f"] : ["8f", "9f", "af", "bf"]) {
      // F0 8F leads what is overlong.
      if (lead === "f0" && second === "8f") continue;
      for (const end of ["be", "bf"]) nonCharacters.push(`${lead}${second}bf${end}`);
    }
  }
  return [
    all(true, ...["24", "c2a2", "e282ac", "f0a4ada2"].map(world), kosme),
    prefixes,
    all(true, ..."00 c280 e0a080 f0908080".split(" ")),
    all(false, "f888808080", "fc8480808080"),
    all(true, ..."7f dfbf efbfbf f48fbfbf".split(" ")),
    all(false, "f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"),
    [...all(true, ..."ed9fbf ee8080 efbfbd f48fbfbf".split(" ")), ["f4908080", false]],
    all(
      false,
      ..."80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf".split(" "),
      range(0x80, 0xbf),
    ),
    all(
      false,
      range(0xc0, 0xdf, "20"),
      range(0xe0, 0xef, "20"),
      range(0xf0, 0xf7, "20"),
      range(0xf8, 0xfb, "20"),
      range(0xfc, 0xfd, "20"),
    ),
    all(false, ...cut),
    all(false, cut.join("")),
    all(false, "fe", "ff", "fefeffff"),
    all(false, ..."c0af e080af f08080af f8808080af fc80808080af".split(" ")),
    all(false, ..."c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf".split(" ")),
    all(false, ..."c080 e08080 f0808080 f880808080 fc8080808080".split(" ")),
    all(false, ..."eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf".split(" ")),
    all(
      false,
      ..."eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf".split(" "),
      ..."edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf".split(" "),
    ),
    all(true, ...nonCharacters),
    all(true, ..."efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf".split(" ")),
  ];
}

/** Returns a case with text that turns invalid in its second part. The third part is not needed, and not sent. */
function failFast(id: string, first: Buffer, second: Buffer, chops: boolean): Case {
  return failed(id, 1007, async (client) => {
    const whole = frame(TEXT, Buffer.concat([first, second, EDITED]));
    const head = whole.length - first.length - second.length - EDITED.length;
    const cut = head + first.length;
    client.write(chops ? whole.subarray(0, cut) : frame(TEXT, first, OPEN));
    // It must not be refused yet.
    await sleep(500);
    if (client.closeCode !== 0) client.faults.push("refused before it was bad");
    client.write(chops ? whole.subarray(cut, cut + second.length) : frame(0, second, OPEN));
  });
}

function utf8(): Case[] {
  const one = (id: string, payload: Buffer): Case =>
    answered(id, [text(payload)], (client) => client.message(text(payload)));
  const bad = Buffer.concat([KOSME, hex("ed a0 80"), EDITED]);
  const wide = Buffer.from(UMLAUTS);
  const split = Buffer.byteLength("Hello-µ@ßöä");
  const beyond = hex("f4 90 80 80");
  const lead = Buffer.concat([KOSME, hex("f4")]);
  const cases: Case[] = [
    one("6.1.1", Buffer.alloc(0)),
    answered("6.1.2", [text("")], (client) =>
      client.write(frame(TEXT, "", OPEN), frame(0, "", OPEN), frame(0)),
    ),
    answered("6.1.3", [text("middle frame payload")], (client) =>
      client.write(frame(TEXT, "", OPEN), frame(0, "middle frame payload", OPEN), frame(0)),
    ),
    one("6.2.1", wide),
    answered("6.2.2", [text(wide)], (client) =>
      client.write(frame(TEXT, wide.subarray(0, split), OPEN), frame(0, wide.subarray(split))),
    ),
    answered("6.2.3", [text(wide)], (client) => client.write(...fragmented(text(wide), 1))),
    answered("6.2.4", [text(KOSME)], (client) => client.write(...fragmented(text(KOSME), 1))),
    failed("6.3.1", 1007, (client) => client.message(text(bad))),
    failed("6.3.2", 1007, (client) => client.write(...fragmented(text(bad), 1))),
    failFast("6.4.1", KOSME, beyond, false),
    failFast("6.4.2", lead, hex("90"), false),
    failFast("6.4.3", KOSME, beyond, true),
    failFast("6.4.4", lead, hex("90"), true),
  ];
  sequences().forEach((family, i) => {
    family.forEach(([digits, valid], j) => {
      const id = `6.${i + 5}.${j + 1}`;
      const payload = hex(digits);
      cases.push(
        valid ? one(id, payload) : failed(id, 1007, (client) => client.message(text(payload))),
      );
    });
  });
  return cases;
}

const CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const BAD_CODES = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

function closing(): Case[] {
  const reason = (n: number): Buffer => closePayload(1000, "*".repeat(n));
  const closed = (id: string, codes: readonly number[], payload: Buffer): Case =>
    answered(id, [], (client) => client.closeWith(payload), codes);
  const after = (id: string, bytes: Buffer): Case =>
    answered(id, [], (client) => {
      client.close();
      client.write(bytes);
    });
  const bad = Buffer.concat([KOSME, hex("ed a0 80"), EDITED]);
  const long = text("BAsd7&jh23".repeat(26215).slice(0, 262144));
  return [
    answered("7.1.1", [text(HELLO)], (client) => client.message(text(HELLO))),
    after("7.1.2", frame(CLOSE, closePayload(1000))),
    after("7.1.3", frame(PING)),
    after("7.1.4", frame(TEXT, HELLO)),
    answered("7.1.5", [], (client) => {
      client.write(frame(TEXT, "fragment1", OPEN));
      client.close();
      client.write(frame(0, "fragment2"));
    }),
    // Messages before the Close are answered, messages after it are not.
    answered("7.1.6", [long, text("Hello World!")], (client) => {
      client.message(long);
      client.message(text("Hello World!"));
      client.close();
      client.write(frame(PING));
    }),
    closed("7.3.1", [1005], Buffer.alloc(0)),
    closed("7.3.2", [1002], hex("61")),
    closed("7.3.3", [1000], closePayload(1000)),
    closed("7.3.4", [1000], closePayload(1000, "Hello World!")),
    closed("7.3.5", [1000], reason(123)),
    closed("7.3.6", [1002], reason(124)),
    closed("7.5.1", [1007], closePayload(1000, bad)),
    ...CODES.map((code, i) => closed(`7.7.${i + 1}`, [code], closePayload(code))),
    ...BAD_CODES.map((code, i) => closed(`7.9.${i + 1}`, [1002], closePayload(code))),
    closed("7.13.1", [1002], closePayload(5000)),
    closed("7.13.2", [1002], closePayload(65535)),
  ];
}

function autoFragments(): Case[] {
  const due = text("*".repeat(65536));
  return [answered("10.1.1", [due], (client) => client.message(due, 1300))];
}

export const FAMILIES: readonly (readonly [name: string, cases: readonly Case[]])[] = [
  ["1 framing", framing()],
  ["2 pings and pongs", pings()],
  ["3 reserved bits", reservedBits()],
  ["4 opcodes", opcodes()],
  ["5 fragments", fragments()],
  ["6 UTF-8", utf8()],
  ["7 closing", closing()],
  ["10 automatic fragments", autoFragments()],
];
