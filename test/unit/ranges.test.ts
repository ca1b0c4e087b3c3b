// The ranges of the engine's parameters, as assembly/abi.ts states them, one row each: by the wasm, by its binding,
// by `params` and the options of `ringcast/engine`.
//
// Invariant: an engine exists only with parameters within their ranges, also after `configure`.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Param } from "../../assembly/abi";
import { OPTIONS } from "../../host/options/table";
import { type EngineOptions, loadEngine } from "../../worker/embed/embed";
import { Drive } from "../lib/drive";
import { SMALL, testEngine } from "../lib/wasm";

const ranges = suite("ranges");

type Name = keyof typeof Param;

/** Returns the message of the RangeError that a call throws. */
function refusalOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert.instance(error, RangeError, String(error));
    return (error as Error).message;
  }
  return "nothing was thrown";
}

const U32 = 4294967295;
const RING = [4095, 5000, 2 ** 31, -4096, 4096.5];
const RING_RANGE = "a power of two from 4096 to 1073741824";
const FLAG = [-1, 2, 0.5, Number.NaN];

/** Parameters with a range of their own: values out of it, values at its ends, the range as text. */
const ROWS: readonly (readonly [Name, readonly number[], readonly number[], string])[] = [
  ["Connections", [0, -1, 524289, 1.5], [1, 524288], "a whole number from 1 to 524288"],
  ["WebSockets", [0, -1, 524289, 1.5], [1, 524288], "a whole number from 1 to 524288"],
  ["RingBytes", [0, ...RING], [4096, 1 << 30], RING_RANGE],
  ["DeflateRingBytes", RING, [0, 4096, 1 << 30], `0 or ${RING_RANGE}`],
  ["EventRingBytes", RING, [0, 4096, 1 << 30], `0 or ${RING_RANGE}`],
  ["Frames", [0, 3, 2 ** 32], [1, 2 ** 31], `a power of two from 1 to ${U32}`],
  ["QueuedFrames", [-1, 65, U32], [0, 64], "a whole number from 0 to 64"],
  ["HeadBytes", [-1, 65536], [0, 65535], "a whole number from 0 to 65535"],
  ["RunBytes", [0, 1, 511, 2 ** 32, 600.5], [512, U32], `a whole number from 512 to ${U32}`],
  ["CopiedRunBytes", [1, 511, 2 ** 32], [0, 512, U32], `0 or a whole number from 512 to ${U32}`],
  ["RequireContentLength", FLAG, [0, 1], "a whole number from 0 to 1"],
  ["Pieces", FLAG, [0, 1], "a whole number from 0 to 1"],
  ["EvictWhenFull", FLAG, [0, 1], "a whole number from 0 to 1"],
  ["SendPings", FLAG, [0, 1], "a whole number from 0 to 1"],
  ["EventNames", FLAG, [0, 1], "a whole number from 0 to 1"],
  ["History", FLAG, [0, 1], "a whole number from 0 to 1"],
  ["FirstSequence", [-1, 2 ** 53 + 2], [0, 2 ** 53], `a whole number from 0 to ${2 ** 53}`],
  ["Seed", [0, 2 ** 32], [1, U32], `a whole number from 1 to ${U32}`],
  ["StreamBytes", [-1, 2 ** 53], [0, 2 ** 53 - 1], `a whole number from 0 to ${2 ** 53 - 1}`],
  ["Epoch", [-1, 36 ** 8], [0, 36 ** 8 - 1], `a whole number from 0 to ${36 ** 8 - 1}`],
];

const NAMES = Object.keys(Param).filter((name) => /\D/.test(name) && name !== "COUNT") as Name[];
const OTHERS = NAMES.filter((name) => ROWS.every(([own]) => own !== name));
const ALL = [
  ...ROWS,
  ...OTHERS.map(
    (name) =>
      [name, [-1, 2 ** 32, Number.NaN], [0, U32], `a whole number from 0 to ${U32}`] as const,
  ),
];

for (const [name, wrong, right, range] of ALL) {
  ranges(`${name} is ${range}`, () => {
    const { x } = testEngine();
    for (const value of right) assert.ok(x.isInRange(Param[name], value), `${value}`);
    for (const value of wrong) {
      const message = `params.${name}: ${value} is not ${range}`;
      assert.is(
        refusalOf(() => testEngine({ [name]: value })),
        message,
      );
    }
  });
}

ranges("`new` formats no region for a parameter out of its range", () => {
  const { x } = testEngine();
  const table = new Float64Array(x.memory.buffer, x.params(), Param.COUNT);
  const base = x.base();
  assert.is(x.new(base), base);
  assert.is(x.refused(), Param.COUNT);
  for (const [name, value] of [
    ["RunBytes", 511],
    ["QueuedFrames", 65],
  ] as const) {
    table[Param[name]] = value;
    assert.is(x.refused(), Param[name]);
    assert.is(x.new(base), 0, name);
    table[Param[name]] = SMALL[name] as number;
  }
  assert.is(x.new(base), base);
});

ranges("`configure` refuses values out of range, and changes nothing", () => {
  const drive = new Drive({ CopiedRunBytes: 600 });
  const { engine } = drive;
  const cases = [
    ["RunBytes", 511],
    ["CopiedRunBytes", 100],
    ["QueuedFrames", 65],
    ["WriteTimeout", Number.NaN],
    ["SendPings", 2],
  ] as const;
  for (const [name, value] of cases) {
    const before = engine.param(Param[name]);
    const said = refusalOf(() => engine.configure(Param[name], value));
    assert.match(said, new RegExp(`^params\\.${name}: ${value} is not (?:0 or )?a whole number`));
    assert.is(engine.param(Param[name]), before);
  }
  assert.is(
    refusalOf(() => engine.configure(Param.RingBytes, 4096)),
    "params.RingBytes: it is fixed",
  );
  // The shortest run: pieces that are gathered still leave.
  engine.configure(Param.RunBytes, 512);
  const wire = drive.webSocket();
  for (let i = 0; i < 40; i++) drive.publish("y".repeat(100));
  drive.after(10);
  assert.ok(wire.out.length >= 4000, `${wire.out.length}`);
  drive.end();
});

ranges("`ringcast/engine` refuses params and options out of range, by name", async () => {
  const few = { maxConnections: 10, maxWebSockets: 10, ring: 4096 };
  const fails = async (options: EngineOptions): Promise<string> => {
    const error = await loadEngine({ ...few, ...options }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.instance(error, RangeError, JSON.stringify(options));
    return (error as Error).message;
  };
  assert.is(
    await fails({ params: { RunBytes: 100 } }),
    `params.RunBytes: 100 is not a whole number from 512 to ${U32}`,
  );
  for (const { name, param, min, max } of OPTIONS) {
    if (!param || min === undefined || max === undefined || name === "deflateThreshold") continue;
    for (const value of [min - 1, max + 1]) {
      const said = await fails({ [name]: value } as EngineOptions);
      assert.ok(said.startsWith(`${name}: ${value} is not`), said);
      assert.ok(said.includes(`${max}`), `${said} has no range`);
    }
  }
});

ranges("each option's range lies within its parameter's", () => {
  const { x } = testEngine();
  for (const { name, param, min, max, scale = 1 } of OPTIONS) {
    if (!param || min === undefined || max === undefined) continue;
    for (const value of [min * scale, max * scale])
      assert.ok(x.isInRange(Param[param], value), `${name}: ${param} cannot be ${value}`);
  }
});

ranges.run();
