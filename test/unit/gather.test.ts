// Bodies between their sources and the engine: pieces that are gathered, framed, sent from their own memory, read
// again; how a source ends, fails, and is closed.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Outcome, PIECE_LIMIT } from "../../assembly/abi";
import type { PieceSource } from "../../host/shared/request/pieces";
import type { SuppliedBody } from "../../worker/engine/loop";
import { NextSupply } from "../../worker/supply/gather";
import { ReadSupply, type Supply, type SupplyLoop } from "../../worker/supply/supply";
import { SupplyWaits } from "../../worker/supply/waits";

const gather = suite("gather");

const KiB = 1024;
const SLOT = { slot: 1, generation: 1 };

interface Given {
  readonly bytes: Uint8Array;
  /** The memory that it is in. */
  readonly memory: ArrayBufferLike;
  readonly held: number;
  readonly keeps: number;
}

/** A loop that takes everything, and an engine that asks on request. */
class Scene implements SupplyLoop {
  body: SuppliedBody | undefined;
  readonly given: Given[] = [];
  readonly kept: number[] = [];
  /** Bytes that went with the head, and how many more may. */
  head = "";
  headRoom = 0;
  outcome = Outcome.Ok;
  #isDue = false;
  now = 0;
  wakes: number[] = [];
  readonly waits = new SupplyWaits(
    () => this.now,
    (ms) => void this.wakes.push(ms),
  );

  give(_: unknown, length: number, held: number, keeps: 0 | 1): Outcome {
    if (this.outcome !== Outcome.Ok) return this.outcome;
    const piece = this.body?.piece as Uint8Array;
    assert.is(piece.length, length);
    this.given.push({ bytes: new Uint8Array(piece), memory: piece.buffer, held, keeps });
    return Outcome.Ok;
  }

  keepRoom(_: unknown, bytes: number): void {
    this.kept.push(bytes);
  }

  streamWrite(_: unknown, bytes: Uint8Array): Outcome {
    if (bytes.length > this.headRoom) return Outcome.Full;
    this.headRoom -= bytes.length;
    this.head += textOf(bytes);
    return Outcome.Ok;
  }

  awaitPass(): void {
    this.#isDue = true;
  }

  /** The pass writes the pieces. */
  pass(): void {
    if (this.#isDue) this.body?.give();
    this.#isDue = false;
  }

  /** Texts of the pieces so far. */
  get texts(): string[] {
    return this.given.map(({ bytes }) => textOf(bytes));
  }

  next(source: PieceSource, wanted = PIECE_LIMIT, isChunked = false): NextSupply {
    const supply = new NextSupply(this, SLOT, source, wanted, isChunked, this.waits);
    this.body = supply;
    return supply;
  }

  /** Supplies a body. @returns a promise of whether it is whole */
  run(source: PieceSource, wanted = PIECE_LIMIT, isChunked = false): Promise<boolean> {
    return runOf(this.next(source, wanted, isChunked));
  }
}

/** Runs a supply. @returns a promise of whether its body is whole */
function runOf(supply: Supply): Promise<boolean> {
  return new Promise((resolve, reject) => supply.run(resolve, reject));
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

/** A source of a list; promises settle later. */
class List implements PieceSource {
  readonly #items: (Uint8Array | Promise<Uint8Array> | Error)[];
  calls = 0;
  rooms: number[] = [];
  closes = 0;

  constructor(...items: (string | Uint8Array | Promise<Uint8Array> | Error)[]) {
    this.#items = items.map((item) => (typeof item === "string" ? bytesOf(item) : item));
  }

  next(room: number): Uint8Array | Promise<Uint8Array> | undefined {
    this.calls++;
    this.rooms.push(room);
    const item = this.#items.shift();
    if (item instanceof Error) throw item;
    return item;
  }

  close(): void {
    this.closes++;
  }
}

/** Runs the microtasks. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

// ---- pieces that come once ---------------------------------------------------------------------------------

gather("small pieces are gathered until the pass, and asked for while there is room", async () => {
  const scene = new Scene();
  const list = new List("a", "", "b".repeat(1000), "c");
  const whole = scene.run(list);
  scene.pass();
  assert.equal(scene.texts, [`a${"b".repeat(1000)}c`]);
  assert.is(list.closes, 0);
  scene.body?.want(PIECE_LIMIT);
  assert.is(await whole, true);
  assert.is(list.closes, 1);
});

gather("pieces that leave with the head need no other write", async () => {
  const scene = new Scene();
  scene.headRoom = 10;
  const list = new List("abc", "def", "ghijklm", "n");
  const whole = scene.run(list);
  assert.is(scene.head, "abcdef");
  scene.pass();
  assert.equal(scene.texts, ["ghijklmn"]);
  scene.headRoom = 10;
  scene.body?.want(PIECE_LIMIT);
  assert.is(await whole, true);
  const small = new Scene();
  small.headRoom = 10;
  assert.is(await small.run(new List("abc")), true, "the whole body may be");
  assert.equal(small.texts, []);
});

gather("in chunks each piece is framed, and the end is left to the engine", async () => {
  const scene = new Scene();
  const whole = scene.run(new List("a", "b".repeat(20)), PIECE_LIMIT, true);
  scene.pass();
  assert.equal(scene.texts, [`1\r\na\r\n14\r\n${"b".repeat(20)}\r\n`]);
  scene.body?.want(PIECE_LIMIT);
  assert.is(await whole, true);
});

gather(
  "a large piece is sent from its own memory, in parts, before the next is asked for",
  async () => {
    const scene = new Scene();
    const large = new Uint8Array(150 * KiB).fill(120);
    const list = new List("a", large, "z");
    const whole = scene.run(list);
    scene.pass();
    assert.equal(scene.texts, ["a"]);
    for (let i = 0; i < 4; i++) {
      assert.is(list.calls, 2, "the large piece may still change");
      if (i < 3) scene.body?.want(PIECE_LIMIT);
    }
    const parts = scene.given.slice(1);
    assert.equal(
      parts.map(({ bytes, held, keeps }) => [bytes.length, held, keeps]),
      [
        [64 * KiB, 150 * KiB, 1],
        [64 * KiB, 150 * KiB, 1],
        [22 * KiB, 150 * KiB, 0],
      ],
    );
    assert.ok(parts.every(({ memory }) => memory === large.buffer));
    scene.body?.want(PIECE_LIMIT);
    scene.pass();
    assert.is(scene.texts.at(-1), "z");
    scene.body?.want(PIECE_LIMIT);
    assert.is(await whole, true);
  },
);

gather("in chunks a large piece has its frame before and after it", async () => {
  const scene = new Scene();
  const large = "x".repeat(70000);
  const whole = scene.run(new List("a", large, "b"), PIECE_LIMIT, true);
  for (let i = 0; i < 4; i++) {
    scene.pass();
    scene.body?.want(PIECE_LIMIT);
  }
  assert.is(await whole, true);
  assert.is(scene.texts.join(""), `1\r\na\r\n11170\r\n${large}\r\n1\r\nb\r\n`);
  assert.equal(
    scene.given.map(({ bytes }) => bytes.length),
    [13, 65536, 4464, 8],
  );
});

gather(
  "the memory of small pieces may be used again at once, as nothing else is asked for",
  async () => {
    const scene = new Scene();
    const memory = new Uint8Array(10);
    let n = 0;
    const source = {
      next: () => (n++ < 5 ? memory.fill(48 + n) : undefined),
      close: () => undefined,
    };
    const whole = scene.run(source);
    scene.pass();
    scene.body?.want(PIECE_LIMIT);
    assert.is(await whole, true);
    assert.is(scene.texts.join(""), `1111111111222222222233333333334444444444${"5".repeat(10)}`);
  },
);

gather("nothing is asked of the source while a piece leaves", async () => {
  const scene = new Scene();
  const list = new List(...Array.from({ length: 1000 }, () => "x".repeat(100)));
  void scene.run(list);
  assert.equal(
    scene.given.map(({ bytes }) => bytes.length),
    [4000],
    "the first is 4 KiB",
  );
  const { calls } = list;
  await settle();
  scene.pass();
  assert.is(list.calls, calls);
  scene.body?.want(PIECE_LIMIT);
  scene.body?.want(PIECE_LIMIT);
  assert.ok(list.calls > calls);
  const sizes = scene.given.map(({ bytes }) => bytes.length);
  assert.ok((sizes[1] as number) > 7000 && (sizes[2] as number) > 14000, `they grow: ${sizes}`);
});

gather("a source that has a little now and then reserves a little", async () => {
  const scene = new Scene();
  const later: ((bytes: Uint8Array) => void)[] = [];
  const source = {
    next: () => new Promise<Uint8Array>((resolve) => later.push(resolve)),
    close: () => undefined,
  };
  void scene.run(source);
  for (let i = 0; i < 3; i++) {
    later.at(-1)?.(bytesOf("event"));
    await settle();
    scene.pass();
    scene.body?.want(PIECE_LIMIT);
  }
  assert.equal(scene.texts, ["event", "event", "event"]);
  assert.equal(scene.kept, [KiB, KiB, KiB]);
  assert.ok(scene.given.every(({ held }) => held <= 4 * KiB));
  scene.now += 199;
  scene.waits.sweep();
  assert.is(scene.kept.length, 3);
  scene.now += 1;
  scene.waits.sweep();
  assert.is(scene.kept.at(-1), 0, "and nothing after 200 ms");
  later.at(-1)?.(bytesOf("late"));
  await settle();
  scene.pass();
  assert.is(scene.texts.at(-1), "late");
  assert.ok(scene.wakes.length >= 2);
  scene.body?.recall(0);
  scene.next(source).close();
});

gather("room for the first piece of many sources is reserved for a moment", async () => {
  const scene = new Scene();
  const source = { next: () => new Promise<Uint8Array>(() => undefined), close: () => undefined };
  const supplies = Array.from({ length: 3 }, () => scene.next(source));
  for (const supply of supplies) {
    void runOf(supply);
    scene.now += 5;
  }
  assert.equal(scene.wakes, [20]);
  scene.now = 20;
  scene.waits.sweep();
  assert.equal([scene.kept, scene.wakes], [[0], [20, 5]]);
  supplies[1]?.close();
  scene.now = 30;
  scene.waits.sweep();
  assert.equal(scene.kept, [0, 0], "one has ended");
  scene.waits.sweep();
  assert.equal(scene.wakes, [20, 5], "none is due");
});

gather("a source of large pieces reserves as much as the last one took", async () => {
  const scene = new Scene();
  void scene.run(new List("x".repeat(10000), "y".repeat(10000)), 2 * KiB);
  scene.pass();
  scene.body?.want(2 * KiB);
  scene.pass();
  assert.is(scene.given.length, 2);
  assert.equal(scene.kept, [10000]);
});

gather("the frame of a large piece takes little memory", async () => {
  const scene = new Scene();
  void scene.run(new List("x".repeat(PIECE_LIMIT)), PIECE_LIMIT, true);
  assert.equal(scene.texts, ["10000\r\n"]);
  assert.ok((scene.given[0]?.held as number) <= PIECE_LIMIT + 12);
});

gather("a piece that arrives while another leaves waits its turn", async () => {
  const scene = new Scene();
  let resolve: (bytes: Uint8Array) => void = () => undefined;
  const late = new Promise<Uint8Array>((fn) => {
    resolve = fn;
  });
  const whole = scene.run(new List("a", late));
  scene.pass();
  resolve(bytesOf("late"));
  await settle();
  scene.pass();
  assert.equal(scene.texts, ["a"]);
  scene.body?.want(PIECE_LIMIT);
  scene.pass();
  assert.equal(scene.texts, ["a", "late"]);
  scene.body?.want(PIECE_LIMIT);
  assert.is(await whole, true);
});

gather("the source learns how much room there is", () => {
  const scene = new Scene();
  const list = new List("a");
  void scene.run(list, 3000);
  assert.equal(list.rooms, [3000, 3000]);
});

for (const [name, fail] of [
  [
    "throws",
    () => {
      throw new Error("as asked");
    },
  ],
  ["rejects", () => Promise.reject(new Error("as asked"))],
] as const) {
  gather(`a source that ${name} fails the body, and is closed`, async () => {
    const scene = new Scene();
    let calls = 0;
    let closes = 0;
    const source = {
      next: () => (calls++ === 0 ? bytesOf("before") : fail()),
      close: () => void closes++,
    };
    const thrown = await scene.run(source).catch((error: unknown) => error);
    assert.is((thrown as Error).message, "as asked");
    assert.is(closes, 1);
    scene.body?.want(PIECE_LIMIT);
    assert.is(calls, 2, "it is not asked again");
  });
}

gather("a source whose pieces are no bytes fails the body", async () => {
  const scene = new Scene();
  let closes = 0;
  const source = {
    next: () => "text" as unknown as Uint8Array,
    close: () => void closes++,
  };
  const thrown = await scene.run(source).catch((error: unknown) => error);
  assert.match((thrown as Error).message, /^body: its source has .*not a Uint8Array$/);
  assert.is(closes, 1);
});

gather("the end of the connection closes the source once, whatever is pending", async () => {
  for (const item of ["a", new Promise<Uint8Array>(() => undefined), "x".repeat(100000)]) {
    const scene = new Scene();
    const list = new List(item);
    const supply = scene.next(list);
    const whole = runOf(supply);
    supply.close();
    supply.close();
    assert.is(list.closes, 1);
    assert.is(supply.piece.length, 0);
    if (typeof item === "string") assert.is(await whole, false);
  }
});

gather("an error of a source that was closed counts only where it is the handler's", async () => {
  for (const failsLate of [false, true]) {
    const scene = new Scene();
    let reject: (error: Error) => void = () => undefined;
    const pending = new Promise<Uint8Array>((_, fn) => {
      reject = fn;
    });
    const supply = scene.next({ next: () => pending, close: () => undefined, failsLate });
    const settled = runOf(supply).catch((error: Error) => error.message);
    supply.close();
    reject(new Error("late"));
    assert.is(await settled, failsLate ? "late" : false);
  }
});

gather("more bytes than the engine takes fail the body", async () => {
  const scene = new Scene();
  scene.outcome = Outcome.TooLarge;
  const whole = scene.run(new List("a"));
  scene.pass();
  const thrown = await whole.catch((error: unknown) => error);
  assert.match((thrown as Error).message, /more bytes than its Content-Length/);
});

// ---- bodies that can be read again -------------------------------------------------------------------------

/** A file of digits. */
class File {
  readonly size: number;
  readonly reads: [number, number][] = [];
  closes = 0;
  /** Returns the bytes of a read; they may be fewer, or more. */
  part: (start: number, end: number) => Uint8Array | Promise<Uint8Array>;

  constructor(size: number) {
    this.size = size;
    this.part = (start, end) =>
      Uint8Array.from({ length: end - start }, (_, i) => 48 + ((start + i) % 10));
  }

  read(start: number, end: number): Uint8Array | Promise<Uint8Array> {
    this.reads.push([start, end]);
    return this.part(start, end);
  }

  close(): void {
    this.closes++;
  }

  supply(scene: Scene, wanted = 100): ReadSupply {
    const supply = new ReadSupply(scene, SLOT, this, wanted);
    scene.body = supply;
    return supply;
  }
}

gather("a file is read as the engine asks, and closed when all of it has left", async () => {
  const scene = new Scene();
  const file = new File(250);
  const whole = runOf(file.supply(scene));
  scene.body?.want(50);
  scene.body?.want(200);
  assert.equal(file.reads, [
    [0, 100],
    [100, 150],
    [150, 250],
  ]);
  assert.is(file.closes, 0);
  scene.body?.want(100);
  assert.is(await whole, true);
  assert.is(file.closes, 1);
  assert.equal(
    scene.given.map(({ held, keeps }) => [held, keeps]),
    [
      [100, 0],
      [50, 0],
      [100, 0],
    ],
  );
});

gather("bytes that were recalled are read again", async () => {
  const scene = new Scene();
  const file = new File(300);
  const whole = runOf(file.supply(scene));
  scene.body?.recall(60);
  assert.is(scene.body?.piece.length, 0, "its memory is released");
  scene.body?.want(100);
  assert.equal(file.reads.at(-1), [40, 140]);
  scene.body?.recall(0);
  scene.body?.want(1000);
  assert.equal(file.reads.at(-1), [140, 300]);
  scene.body?.want(1000);
  assert.is(await whole, true);
});

gather("a file that reads less than was asked for is read on", async () => {
  const scene = new Scene();
  const file = new File(30);
  const { part } = file;
  file.part = async (start, end) => part(start, Math.min(end, start + 7));
  const whole = runOf(file.supply(scene));
  for (let i = 0; i < 5; i++) {
    await settle();
    scene.body?.want(100);
  }
  await settle();
  assert.is(scene.texts.join(""), "012345678901234567890123456789");
  assert.is(await whole, true);
});

for (const [name, part, message] of [
  ["ends early", () => new Uint8Array(0), /^body: its source ends at 0 of 30 bytes$/],
  ["has too much", () => new Uint8Array(31), /^body: its source has 31 bytes where 30 were asked/],
  [
    "fails",
    () => {
      throw new Error("EIO");
    },
    /^EIO$/,
  ],
  ["fails later", () => Promise.reject(new Error("EIO")), /^EIO$/],
  ["has no bytes", () => undefined as unknown as Uint8Array, /not a Uint8Array$/],
] as const) {
  gather(`a file that ${name} fails the body, and is closed`, async () => {
    const scene = new Scene();
    const file = new File(30);
    file.part = part;
    const thrown = await runOf(file.supply(scene)).catch((error: unknown) => error);
    assert.match((thrown as Error).message, message);
    assert.is(file.closes, 1);
  });
}

gather("an empty file is whole at once", async () => {
  const scene = new Scene();
  const file = new File(0);
  assert.is(await runOf(file.supply(scene)), true);
  assert.equal([file.reads.length, file.closes], [0, 1]);
});

gather("a read that is pending at the end of the connection changes nothing", async () => {
  const scene = new Scene();
  const file = new File(30);
  file.part = async () => new Uint8Array(30);
  const supply = file.supply(scene);
  const whole = runOf(supply);
  supply.close();
  assert.is(file.closes, 1);
  assert.is(await whole, false);
  assert.equal(scene.given, []);
});

gather.run();
