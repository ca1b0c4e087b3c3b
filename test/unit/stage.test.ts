// Stages: the one implementation, over a target that keeps what it is given.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { FrameFlag } from "../../assembly/abi";
import { BufferStage } from "../../host/shared/message/stage";
import { Random } from "../../host/testing/random";
import { isUtf8 } from "../../host/shared/text/text";

const stage = suite("stage");
const RING = 4096;
const LIMIT = RING - 10;

interface Sent {
  readonly to: string | number | undefined;
  readonly text: string;
  readonly flags: number;
  readonly except?: number;
}

/** A target, and what it was given; `room` false: it takes nothing. */
class Target {
  readonly ringBytes = RING;
  readonly isUtf8 = isUtf8;
  readonly sent: Sent[] = [];
  room = true;

  publishBytes(to: string | undefined, bytes: Uint8Array, flags: number, except: number): boolean {
    if (this.room) this.sent.push({ to, text: latin1(bytes), flags, except });
    return this.room;
  }

  sendBytes(to: number, bytes: Uint8Array, flags: number): boolean {
    if (this.room) this.sent.push({ to, text: latin1(bytes), flags });
    return this.room;
  }

  stage(): BufferStage {
    return new BufferStage(this);
  }

  get last(): string | undefined {
    return this.sent.at(-1)?.text;
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

const isTypeError = (error: Error): boolean => error instanceof TypeError;
const isRangeError = (error: Error): boolean => error instanceof RangeError;
function notCalled(): number {
  throw new Error("fill was called");
}
/** Arguments that JavaScript allows and the types do not. */
const any = (value: unknown): never => value as never;

stage("many are open at once, across turns of the loop, and share no bytes", async () => {
  const target = new Target();
  const open = Array.from({ length: 100 }, () => target.stage());
  for (let round = 0; round < 20; round++) {
    for (const [i, one] of open.entries()) one.text(`<${i}`).text(i).bytes(Uint8Array.of(62));
    await new Promise((resolve) => setImmediate(resolve));
    target
      .stage()
      .text("z".repeat(round * 100))
      .broadcast();
  }
  for (const [i, one] of open.entries()) {
    assert.ok(one.broadcast());
    assert.is(target.last, `<${i}${i}>`.repeat(20));
  }
});

stage("a view that outlives reserve reaches nothing, and later writes to it have no effect", () => {
  const target = new Target();
  const kept: Uint8Array[] = [];
  const fill = (view: Uint8Array): number => {
    kept.push(view);
    view.set([97, 98]);
    return 2;
  };
  for (let i = 0; i < 50; i++) {
    const one = target.stage().reserve(1000, fill);
    for (const view of kept) view.fill(255);
    const other = target.stage().text("secret");
    for (const view of kept) {
      assert.is(Buffer.from(view.buffer).indexOf("secret"), -1);
      assert.is(view.buffer.byteLength, 1000, "its memory is its own");
    }
    one.broadcast();
    assert.is(target.last, "ab");
    other.broadcast();
    assert.is(target.last, "secret");
  }
});

stage("within reserve its own stage cannot be used, others can", () => {
  const target = new Target();
  const one = target.stage().text("a");
  for (const use of [
    () => one.text("x"),
    () => one.bytes(Uint8Array.of(1)),
    () => one.reserve(1, () => 0),
    () => one.truncate(0),
    () => one.discard(),
    () => one.broadcast(),
    () => one.publish("t"),
    () => one.send(7),
  ]) {
    one.reserve(1, () => {
      assert.throws(use, /^stage: it cannot be used within the callback of reserve$/);
      target.stage().text("other").broadcast();
      return 0;
    });
  }
  assert.throws(
    () =>
      one.reserve(1, () => {
        throw new Error("mine");
      }),
    /^mine$/,
  );
  assert.ok(one.text("b").broadcast());
  assert.is(target.last, "ab");
});

stage("text may be as long as its bytes, not three bytes a character", () => {
  const target = new Target();
  const full = ["x".repeat(LIMIT), "\u00e9".repeat(LIMIT / 2), "\u20ac".repeat(LIMIT / 3)];
  for (const text of full) {
    const one = target.stage().text(text);
    assert.is(one.length, Buffer.byteLength(text));
    assert.ok(one.broadcast());
    assert.is(target.last, Buffer.from(text).toString("latin1"));
    const over = target.stage().text(text).text("yz");
    assert.throws(() => over.broadcast(), isRangeError);
  }
  assert.is(target.sent.length, full.length);
});

stage("after an overflow calls do nothing, and publishing reports it once", () => {
  const target = new Target();
  for (const spoil of [
    (one: BufferStage) => one.text("x".repeat(LIMIT)),
    (one: BufferStage) => one.bytes(new Uint8Array(LIMIT)),
    (one: BufferStage) => one.reserve(LIMIT, notCalled),
  ]) {
    const one = spoil(target.stage().text("first"));
    one.text("more").bytes(Uint8Array.of(1)).truncate(0).text("again");
    one.reserve(1, notCalled);
    assert.is(one.length, 5);
    assert.throws(() => one.broadcast(), /^broadcast: .* larger than the ring \(4096 bytes\)$/);
    assert.throws(() => one.broadcast(), /^stage: it was published or discarded$/);
  }
  assert.equal(target.sent, []);
  assert.ok(target.stage().text("next").send(7));
});

stage("after false it still holds its message", () => {
  const target = new Target();
  const one = target.stage().text("kept");
  target.room = false;
  assert.not(one.broadcast());
  assert.not(one.send(7));
  target.room = true;
  assert.ok(one.text("!").publish("t", { except: 9, compress: false, binary: true }));
  const flags = FrameFlag.Binary | FrameFlag.Plain;
  assert.equal(target.sent, [{ to: "t", text: "kept!", flags, except: 9 }]);
  for (const use of [() => one.text("x"), () => one.truncate(0), () => one.send(7)]) {
    assert.throws(use, /^stage: it was published or discarded$/);
  }
  one.discard();
});

stage("bytes are text that is checked, unless they are sent as binary", () => {
  const target = new Target();
  const euro = Uint8Array.of(0xe2, 0x82, 0xac);
  assert.ok(target.stage().bytes(euro.subarray(0, 1)).bytes(euro.subarray(1)).broadcast());
  const broken = [
    target.stage().bytes(Uint8Array.of(0xff)),
    target.stage().text("\u20ac").truncate(2),
    target.stage().text("\u20ac").truncate(1).text("x"),
    target.stage().reserve(1, (view) => view.fill(0x80).length),
  ];
  for (const one of broken) {
    assert.throws(() => one.broadcast(), isTypeError);
    assert.throws(() => one.publish("t"), isTypeError);
    assert.throws(() => one.send(7, { binary: false }), isTypeError);
    assert.ok(one.broadcast({ binary: true }));
  }
  assert.is(target.sent.length, 1 + broken.length);
  assert.ok(target.stage().text("a\u20ac").truncate(1).text("\ud800").broadcast());
});

stage("wrong arguments are refused by name, and change nothing", () => {
  const target = new Target();
  const one = target.stage().text("a");
  for (const wrong of [undefined, null, {}, [], new Date(), Symbol("s"), () => "x"]) {
    assert.throws(() => one.text(any(wrong)), /^stage\.text: .* is not a string, number/);
  }
  for (const wrong of [-1, 1.5, Number.NaN, "1", undefined]) {
    assert.throws(() => one.truncate(any(wrong)), /^truncate: .* is not a number of bytes$/);
    assert.throws(() => one.reserve(any(wrong), () => 0), /^reserve: .* is not a number of bytes$/);
  }
  for (const used of [-1, 5, 0.5, undefined, Promise.resolve(1)]) {
    assert.throws(() => one.reserve(4, () => any(used)), isRangeError);
  }
  assert.throws(() => one.reserve(1, any(undefined)), isTypeError);
  assert.throws(() => one.publish("t".repeat(201)), isRangeError);
  assert.ok(one.text(1).text(2n).text(true).text("").broadcast());
  assert.is(target.last, "a12true");
});

stage("messages built at random equal a list of their pieces", () => {
  const target = new Target();
  const numbers = new Random(1);
  const random = (below: number): number => numbers.int(0, below - 1);
  const open: { one: BufferStage; bytes: Buffer; isOver: boolean }[] = [];
  for (let step = 0; step < 20000; step++) {
    if (open.length < 5) open.push({ one: target.stage(), bytes: Buffer.alloc(0), isOver: false });
    const at = random(open.length);
    const entry = open[at] as (typeof open)[number];
    const add = (piece: Uint8Array): void => {
      entry.isOver ||= entry.bytes.length + piece.length > LIMIT;
      if (!entry.isOver) entry.bytes = Buffer.concat([entry.bytes, piece]);
    };
    const piece = Buffer.alloc(random(8) === 0 ? random(3000) : random(40), random(128));
    switch (random(6)) {
      case 0:
        entry.one.bytes(piece);
        add(piece);
        break;
      case 1: {
        const text =
          ["a", "\u00e9", "\u20ac", "\ud83d\ude00"][random(4)]?.repeat(random(300)) ?? "";
        entry.one.text(text);
        add(Buffer.from(text));
        break;
      }
      case 2: {
        const over = entry.isOver || entry.bytes.length + piece.length + 5 > LIMIT;
        entry.one.reserve(piece.length + 5, (view) => {
          view.set(piece);
          return piece.length;
        });
        if (over) entry.isOver = true;
        else add(piece);
        break;
      }
      case 3: {
        const length = random(5000);
        entry.one.truncate(length);
        if (!entry.isOver) entry.bytes = entry.bytes.subarray(0, length);
        break;
      }
      default:
        if (random(4) !== 0) break;
        open.splice(at, 1);
        if (entry.isOver) {
          assert.throws(() => entry.one.broadcast({ binary: true }), isRangeError);
        } else {
          assert.is(entry.one.length, entry.bytes.length);
          assert.ok(entry.one.broadcast({ binary: true }));
          assert.is(target.last, latin1(entry.bytes), `step ${step}`);
        }
    }
  }
  assert.ok(target.sent.length > 500, `${target.sent.length} were published`);
});

stage.run();
