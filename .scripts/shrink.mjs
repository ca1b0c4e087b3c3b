// What makes the package small without leaving anything out: enums are written more shortly than esbuild writes them,
// and chunks are named so that those that are alike stand side by side in the archive.
//
// Invariant: what a bundle does is what it did before.

import path from "node:path";
import { deflateRawSync } from "node:zlib";
import { transform } from "esbuild";

/** A bundle: what is in it, and what it is called in dist/; `isChunk` when nothing outside of dist/ names it. */
/** @typedef {{ name: string, text: string, main: string, isChunk: boolean }} Bundle */

// ---- enums ----------------------------------------------------------------------------------------------

/** An enum as esbuild writes it: `(e=>(e[e.A=0]="A",e[e.B=1]="B",e))(E||{})`. */
const ENUM = /\(([\w$]+)=>\(((?:\1\[\1\.\w+=-?\d+\]="\w+",)+)\1\)\)\([\w$]+\|\|\{\}\)/g;
const MEMBER = /\.(\w+)=(-?\d+)\]/g;

/** Part of the bundles: an enum of names in order, each `step` from the one before, or what stands behind "=". */
function enumOf(names, before, step) {
  const made = {};
  let n = before;
  for (const member of names.split(" ")) {
    const [name, value] = member.split("=");
    n = value ? Number(value) : n + step;
    made[n] = name;
    made[name] = n;
  }
  return made;
}

/** The call of `enumOf` that makes an enum of these members. */
function enumCall(members) {
  const [, first] = members[0];
  const step = first < 0 ? -1 : 1;
  let next = first;
  const names = members.map(([name, value]) => {
    const member = value === next ? name : `${name}=${value}`;
    next = value + step;
    return member;
  });
  return `enumOf("${names.join(" ")}",${first - step},${step})`;
}

/** Writes the enums of a bundle by their names alone. */
async function shortenEnums(text) {
  if (text.includes("enumOf")) throw new Error("a bundle has an enumOf of its own");
  const short = text.replace(ENUM, (_, __, members) =>
    enumCall([...members.matchAll(MEMBER)].map(([, name, value]) => [name, Number(value)])),
  );
  if (short === text) return text;
  const { code } = await transform(enumOf.toString(), { minify: true });
  return `${short.trimEnd()}${code}`;
}

// ---- the order in the archive -----------------------------------------------------------------------------

/** How far back gzip looks. */
const WINDOW = 32768;

function packed(text, dictionary) {
  const options = dictionary.length > 0 ? { dictionary } : {};
  return deflateRawSync(text, { level: 9, ...options }).length;
}

/** Puts chunks in an order in which each has much in common with those before it. */
function arrange(chunks) {
  const left = chunks.map((chunk) => ({ chunk, alone: packed(chunk.text, "") }));
  const order = [];
  let before = Buffer.alloc(0);
  while (left.length > 0) {
    const gains = left.map(
      ({ chunk, alone }) => (alone - packed(chunk.text, before)) / Math.sqrt(alone),
    );
    const [{ chunk }] = left.splice(gains.indexOf(Math.max(...gains)), 1);
    order.push(chunk);
    before = Buffer.concat([before, Buffer.from(chunk.text)]).subarray(-WINDOW);
  }
  return order;
}

/** Tries each chunk at each place, in front of the entry points. Takes seconds. */
function rearrange(chunks, entries) {
  const sizeOf = (order) =>
    deflateRawSync([...order, ...entries].map(({ text }) => text).join("")).length;
  let order = chunks;
  let least = sizeOf(order);
  for (const chunk of chunks) {
    const others = order.filter((other) => other !== chunk);
    for (const place of chunks.keys()) {
      const other = others.toSpliced(place, 0, chunk);
      const size = sizeOf(other);
      if (size >= least) continue;
      least = size;
      order = other;
    }
  }
  return order;
}

/**
 * Names chunks by what they hold most of. npm sorts an archive by names: numbers put them in front of the entry
 * points, in the order that packs best.
 */
function nameChunks(bundles, isQuick) {
  const entries = bundles
    .filter(({ isChunk }) => !isChunk)
    .sort((a, b) => a.name.localeCompare(b.name, "en"));
  const near = arrange(bundles.filter(({ isChunk }) => isChunk));
  const order = isQuick ? near : rearrange(near, entries);
  const names = new Map();
  for (const [i, { name, main }] of order.entries()) {
    const number = String(i + 1).padStart(2, "0");
    names.set(name, `${number}-${path.basename(main).replace(/\.\w+$/, "")}.js`);
  }
  const rename = (text) => text.replace(/(?<="\.\/)shared-\w+\.js(?=")/g, (old) => names.get(old));
  return bundles.map((bundle) => ({
    ...bundle,
    name: names.get(bundle.name) ?? bundle.name,
    text: rename(bundle.text),
  }));
}

/**
 * Makes bundles shorter, and names the chunks.
 * @param {Bundle[]} bundles @param {{ isQuick: boolean }} options @returns {Promise<Bundle[]>}
 */
export async function shrink(bundles, { isQuick }) {
  const short = await Promise.all(
    bundles.map(async (bundle) => ({ ...bundle, text: await shortenEnums(bundle.text) })),
  );
  return nameChunks(short, isQuick);
}
