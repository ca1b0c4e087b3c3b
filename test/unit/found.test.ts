// Faults that the simulator has found, as short runs of its own: each must stay clean.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isFailure, perform } from "../simulator/simulator";
import { scriptOf } from "../simulator/author";
import { type Settings, type Step, TOPICS } from "../simulator/steps";
import { World } from "../simulator/world";

const found = suite("found");

/** Settings of exact mode: the handler in the worker, compression of every message. */
function settings(): Settings {
  const drawn = scriptOf(1, "exact", 0).settings;
  const params = { ...drawn.params, DeflateRingBytes: 65536, DeflateThreshold: 0, Pieces: 0 };
  return { ...drawn, place: "inline", delay: 0, copied: false, flushInterval: 0, params };
}

const WHOLE = { at: [], turns: false } as const;

/** A client with an open WebSocket. @param offer of compression, in wrong.ts */
function open(client: number, offer: number, prompt: boolean): Step[] {
  const manners = { buffer: 1024, prompt, polite: true, pause: 0 } as const;
  return [
    { kind: "connect", client, ...manners },
    { kind: "upgrade", client, tag: client, offer, how: "", cut: WHOLE, pause: 0 },
  ];
}

found("a message from the application is compressed whoever else is connected", async () => {
  const SMALL_WINDOW = 4;
  const send = { call: "send", client: 0, tag: 100, size: 900, text: true } as const;
  const step: Step = { kind: "calls", via: "inbox", calls: [send], pause: 0 };
  for (const others of [[], open(1, 2, true)]) {
    const steps = [...open(0, SMALL_WINDOW, true), ...others, step];
    const result = await perform({ settings: settings(), steps });
    assert.not(isFailure(result), JSON.stringify(result));
  }
});

const ENDS: Readonly<Record<string, Step>> = {
  "the application closes it": {
    kind: "calls",
    via: "inbox",
    calls: [{ call: "close", client: 0 }],
    pause: 0,
  },
  "its client breaks the protocol": { kind: "fault", client: 0, which: 0, cut: WHOLE, pause: 0 },
};

for (const [name, end] of Object.entries(ENDS)) {
  found(
    `a WebSocket is not open when ${name}, though its client has not read the Close`,
    async () => {
      const world = new World(settings());
      await world.start();
      for (const step of open(0, 0, false)) await world.step(step);
      const full = { call: "send", client: 0, tag: 100, size: 5000, text: true } as const;
      await world.step({ kind: "calls", via: "handler", calls: [full], pause: 0 });
      const ws = world.sockets.get(0);
      assert.ok(ws?.open);
      assert.is(world.audience().size, 1);
      await world.step(end);
      assert.not(ws?.open);
      assert.is(world.audience().size, 0);
      assert.not(ws?.send("more"));
      assert.not(ws?.subscribe(TOPICS[0] as string));
      await world.end();
    },
  );
}

found.run();
