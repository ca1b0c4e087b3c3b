// OpenMetrics text 1.0, read as strictly as its ABNF and its MUSTs say: for tests of what is exposed.

import * as assert from "uvu/assert";

interface Family {
  readonly name: string;
  readonly type: string;
  readonly unit: string;
  readonly help: string;
  /** By the text before the value: the name and its labels. */
  readonly samples: Map<string, number>;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)((?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (\S+)$/;
const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/** Suffixes of a family's name that its type allows. */
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  gauge: [""],
  counter: ["_total", "_created"],
  gaugehistogram: ["_bucket", "_gcount", "_gsum"],
};

function numberOf(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  assert.match(text, NUMBER);
  return Number(text);
}

function addSample(family: Family, line: string): void {
  const [, name = "", labels = "", value = ""] = SAMPLE.exec(line) ?? [];
  assert.ok(name, `a sample: ${line}`);
  const suffixes = SUFFIXES[family.type] ?? [];
  assert.ok(suffixes.includes(name.slice(family.name.length)), `${family.type}: ${line}`);
  assert.ok(name.startsWith(family.name), `interleaved: ${line}`);
  assert.not.ok(family.samples.has(name + labels), `twice: ${line}`);
  family.samples.set(name + labels, numberOf(value));
}

/** Checks that a histogram's buckets increase, and end with the total. */
function checkBuckets({ type, samples }: Family): void {
  if (type !== "gaugehistogram") return;
  const bounds = [...samples.keys()].map((key) => /le="([^"]+)"/.exec(key)?.[1] ?? "");
  assert.is(bounds.at(-1), "+Inf");
  for (const bound of bounds.slice(0, -1)) assert.match(bound, /^\d+\.\d+$/);
  const sorted = (values: number[]): boolean =>
    values.every((value, i) => i === 0 || value >= (values[i - 1] as number));
  assert.ok(sorted(bounds.slice(0, -1).map(Number)), "bounds go up");
  assert.ok(sorted([...samples.values()]), "counts are cumulative");
}

/** Parses a page of metrics. @throws AssertionError when it is not valid OpenMetrics */
export function readOpenMetrics(text: string): Map<string, Family> {
  assert.ok(text.endsWith("\n# EOF\n"), "ends with # EOF");
  const families = new Map<string, Family>();
  let family: Family | undefined;
  for (const line of text.slice(0, -"# EOF\n".length).split("\n").slice(0, -1)) {
    const [, what, name = "", rest = ""] = /^# (TYPE|UNIT|HELP) (\S+) (.*)$/.exec(line) ?? [];
    if (!what) {
      assert.ok(family, `no family: ${line}`);
      addSample(family as Family, line);
      continue;
    }
    assert.match(name, NAME);
    if (family?.name !== name) {
      assert.is(what, "TYPE", `TYPE is first: ${line}`);
      assert.not.ok(families.has(name), `interleaved: ${line}`);
      assert.ok(rest in SUFFIXES, `a type: ${line}`);
      family = { name, type: rest, unit: "", help: "", samples: new Map() };
      families.set(name, family);
      continue;
    }
    assert.is(family.samples.size, 0, `metadata is in front: ${line}`);
    if (what === "UNIT") {
      assert.ok(name.endsWith(`_${rest}`), `the unit is in the name: ${line}`);
      Object.assign(family, { unit: rest });
    } else {
      assert.not.match(rest, /(?<!\\)\\(?![\\n"])/, `escaped: ${line}`);
      Object.assign(family, { help: rest });
    }
  }
  for (const one of families.values()) {
    assert.ok(one.help, `${one.name} has a HELP`);
    const claims = /_(bytes|seconds|ratio)$/.exec(one.name)?.[1] ?? "";
    assert.is(one.unit, claims, `${one.name}: its unit`);
    checkBuckets(one);
  }
  return families;
}

/** Returns the value of a sample. @throws AssertionError when there is none */
export function sampleOf(families: ReadonlyMap<string, Family>, key: string): number {
  for (const { samples } of families.values()) {
    const value = samples.get(key);
    if (value !== undefined) return value;
  }
  return assert.unreachable(`no sample ${key}`) as never;
}
