// Tests that Chromium runs in its page: the server suite in memory, the engine from its URL, and a run whose steps are
// all drawn from a seed. Nothing of Node.

import { EngineDriver, loadEngine } from "ringcast/engine";
import { createTestServer } from "ringcast/testing";
import { type Result, runSuite } from "../suite/suite";
import handler from "../suite/suite-handler";
import { memoryPlatform } from "../suite/memory";

export interface PageResults {
  readonly checks: readonly Result[];
  /** The status line of an answer of the engine alone. */
  readonly engine: string;
  /** Everything that the clients of a run received. */
  readonly log: string;
}

/** Runs clients that echo, listen, read slowly and leave; returns everything they received. */
export async function scripted(seed: number): Promise<string> {
  const t = createTestServer({
    ...{ seed, ring: 65536, socketBuffer: 4096, maxConnections: 100, maxWebSockets: 100 },
    handler: {
      request: (_, res) => res.upgrade(),
      async message(ws, data) {
        await Promise.resolve();
        ws.send(data);
      },
    },
  });
  const { random } = t;
  const clients = Array.from({ length: 100 }, (_, i) => t.connect(`/${i}`, { split: "random" }));
  await t.settle();
  for (let i = 0; i < 400; i++) {
    const client = random.pick(clients);
    const draw = random.next();
    if (draw < 0.5) t.server.broadcast(`all ${i} ${"é".repeat(random.int(0, 1000))}`);
    else if (draw < 0.7 && client.isOpen) client.send(`one ${i}`, { fragment: 3, split: "random" });
    else if (draw < 0.75) client.throttle(random.size(20000));
    else if (draw < 0.78) client.reset();
    else await t.clock.advance(random.int(0, 100));
    if (random.chance(0.5)) await t.settle();
  }
  await t.close();
  return t.log().join("\n");
}

/** Returns a response of the engine alone, loaded from where the page may fetch it. */
async function answerOf(wasm: string): Promise<string> {
  const engine = await loadEngine({ wasm: new URL(wasm, location.href), maxWebSockets: 10 });
  let text = "";
  const driver = new EngineDriver(engine, {
    write(_, bytes) {
      text += new TextDecoder().decode(bytes);
      return true;
    },
    shut: () => undefined,
  });
  driver.accept()?.feed(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  driver.turn();
  return text.slice(0, text.indexOf("\r\n"));
}

if (typeof document === "object") {
  const checks = await runSuite(memoryPlatform("Chromium, memory", handler));
  const results: PageResults = {
    ...{ checks, engine: await answerOf("/dist/engine.wasm"), log: await scripted(5) },
  };
  Object.assign(globalThis, { results });
}
