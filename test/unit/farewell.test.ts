// A shutdown as the handler observes it.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Runner } from "../../host/testing/run";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { HANDSHAKE } from "../lib/handshake";
import { testEngine } from "../lib/wasm";

const farewell = suite("farewell");

for (const drainMs of [0, 100]) {
  farewell(
    `a WebSocket that has just opened is notified after its open (drainMs ${drainMs})`,
    async () => {
      const clock = new VirtualClock();
      const runner = new Runner(clock);
      const net = new MemoryNet(clock);
      const calls: string[] = [];
      const pump = new Pump({ engine: testEngine(), clock });
      pump.setHandler({
        request(_, res) {
          res.upgrade();
          // In the turn of the upgrade: `open` has not been called.
          pump.farewell.begin(drainMs);
        },
        open: () => void calls.push("open"),
        shutdown: () => void calls.push("shutdown"),
        close: (_, { cause }) => void calls.push(cause),
      });
      net.open(pump.engine.windowView(), pump.accept);
      net.connect(65536, "192.0.2.1")?.send(Buffer.from(HANDSHAKE));
      await runner.advance(10000);
      assert.equal(calls, ["open", "shutdown", "CloseTimeout"]);
    },
  );
}

farewell.run();
