// The simulator finds bugs: a handful of the mutants that comments in the sources name, each put into a copy of them.
// `npm run simulate -- --mutants` does it for all.

import path from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";

interface Hunted {
  readonly found?: { readonly seeds: number; readonly mode: string; readonly length: number };
}

interface Hunter {
  hunt(name: string, options: Readonly<Record<string, number>>): Promise<Hunted>;
}

const file = pathToFileURL(path.join(process.cwd(), ".scripts/mutants.mjs")).href;
const { hunt } = (await import(file)) as Hunter;

const mutants = suite("mutants");

for (const name of [
  "ring-lap",
  "treap-stay",
  "reply-order",
  "deflate-bit",
  "http-keep",
  "write-early",
]) {
  mutants(`${name} is found within 60 seeds, and shown in few steps`, async () => {
    const { found } = await hunt(name, { seeds: 60, from: 1, steps: 400, shrink: 200 });
    assert.ok(found, "no seed finds it");
    console.log(`${name}: ${found?.mode}, ${found?.seeds} seeds, ${found?.length} steps`);
    assert.ok((found?.length ?? 0) <= 40);
  });
}

mutants.run();
