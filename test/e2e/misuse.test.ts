// Whatever a handler does wrong, the server lives, and no client gets another's bytes: in each placement, over
// sockets. RINGCAST_BODIES and RINGCAST_SEED try more handlers, and others.

import type { HandlerModule } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Placement, type Vocabulary, misuse, misuseInMemory } from "./misuse";
import { fileUrl } from "./peer";

interface MisuseModule {
  readonly default: HandlerModule;
  readonly REQUEST_STEPS: readonly string[];
  readonly MESSAGE_STEPS: readonly string[];
}

const bodies = Number(process.env.RINGCAST_BODIES ?? 1000);
const seed = Number(process.env.RINGCAST_SEED ?? 1);

// Errors of timers and promises of a handler on this thread are this process's own business.
process.on("uncaughtException", () => undefined);
process.on("unhandledRejection", () => undefined);

async function load(url: URL): Promise<MisuseModule> {
  return (await import(url.href)) as MisuseModule;
}

const placements: Record<string, Placement> = {
  "in the worker": async (handler) => ({ handler }),
  "on the application's thread": async (url) => ({ handler: (await load(url)).default }),
  "in a pool of threads": async (handler) => ({
    handler,
    pool: { threads: 2, backlog: 256, handlerTimeout: 200 },
  }),
};

const test = suite("misuse");

async function vocabulary(): Promise<Vocabulary> {
  const { REQUEST_STEPS, MESSAGE_STEPS } = await load(fileUrl("handlers/misuse.mjs"));
  return { request: REQUEST_STEPS, message: MESSAGE_STEPS };
}

for (const [name, placement] of Object.entries(placements)) {
  test(`${name}: ${bodies} wrong handlers end nothing but their requests`, async () => {
    console.log(`${name}: seed ${seed}`);
    const { faults, heard, errors } = await misuse(await vocabulary(), placement, seed, bodies);
    assert.equal(faults, []);
    assert.ok(heard > 0, "the bystander heard something");
    assert.ok(errors > 0, "errors were reported");
  });
}

test(`in memory: ${bodies} wrong handlers end nothing but their requests`, async () => {
  const make = async (url: URL): Promise<HandlerModule> => (await load(url)).default;
  const { faults, heard, errors } = await misuseInMemory(await vocabulary(), make, seed, bodies);
  assert.equal(faults, []);
  assert.ok(heard > 0, "the bystander heard something");
  assert.ok(errors > 0, "errors were reported");
});

test.run();
