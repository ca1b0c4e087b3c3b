// Faults that the simulator has found, as short runs of its own: each must stay clean.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isFailure, perform } from "../simulator/simulator";
import { scriptOf } from "../simulator/author";
import { PLACES, type Settings, type Step, TOPICS } from "../simulator/steps";
import { World } from "../simulator/world";

const found = suite("found");

/** Settings of exact mode: the handler in the worker, compression of every message. */
function settings(): Settings {
  const drawn = scriptOf(1, "exact", 0).settings;
  const params = { ...drawn.params, DeflateRingBytes: 65536, DeflateThreshold: 0, Pieces: 0 };
  return { ...drawn, place: "inline", delay: 0, copied: false, flushInterval: 0, params };
}

const WHOLE = { at: [], turns: false } as const;

/** Returns the steps of a client with an open WebSocket. @param offer of compression, in wrong.ts */
function open(client: number, offer: number, prompt: boolean): Step[] {
  const manners = { buffer: 1024, prompt, polite: true, pause: 0 } as const;
  return [
    { kind: "connect", client, ...manners },
    { kind: "upgrade", client, tag: client, offer, how: "", cut: WHOLE, pause: 0 },
  ];
}

found(
  "a message from the application is compressed whatever other clients are connected",
  async () => {
    const SMALL_WINDOW = 4;
    const send = { call: "send", client: 0, tag: 100, size: 900, text: true } as const;
    const step: Step = { kind: "calls", via: "inbox", calls: [send], pause: 0 };
    for (const others of [[], open(1, 2, true)]) {
      const steps = [...open(0, SMALL_WINDOW, true), ...others, step];
      const result = await perform({ settings: settings(), steps });
      assert.not(isFailure(result), JSON.stringify(result));
    }
  },
);

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

for (const place of PLACES) {
  found(`a request that arrives after a shutdown need not be answered (${place})`, async () => {
    const slow = { buffer: 64, prompt: false, polite: false } as const;
    const ask = { method: "POST", how: "up", framing: "length", minor: 1, close: false } as const;
    const request = (tag: number): Step => {
      const asks = [{ ...ask, tag, size: 5000, expect: false }];
      return { kind: "request", client: 0, asks, cut: WHOLE, pause: 50 };
    };
    // The client has not read its first answer, does not end its side, and lingers until everything is judged.
    const steps: Step[] = [
      { kind: "connect", client: 0, ...slow, pause: 0 },
      { kind: "configure", name: "closeTimeout", value: 5000, pause: 0 },
      request(0),
      { kind: "shutdown", drainMs: 0, pause: 50 },
      request(1),
    ];
    const drawn = scriptOf(1, "stress", 0).settings;
    const params = { ...drawn.params, ReplyPoolBytes: 65536, ReceivePoolBytes: 1048576 };
    const result = await perform({ settings: { ...drawn, place, params }, steps });
    if (isFailure(result)) throw new Error(result.message);
    assert.is(result.requests, 1);
  });
}

found.run();
