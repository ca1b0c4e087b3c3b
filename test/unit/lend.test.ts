// A handler that is an async function and answers before its first await has settled when the microtasks have run, so
// its request is not copied. One that continues afterwards reads a copy, never the bytes of another request.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler, Request, Response } from "../../host/handler";
import { Runner } from "../../host/testing/run";
import { VirtualClock } from "../../worker/net/memory";
import type { Link } from "../../worker/net/transport";
import type { EngineLoop } from "../../worker/engine/loop";
import { Pump } from "../../worker/pump/pump";
import { RequestImpl } from "../../worker/request/request";
import type { Peer } from "../../worker/socket/peer";
import { octets } from "../lib/drive";
import { testEngine } from "../lib/wasm";

const lend = suite("lend");

/** Copies of requests since the test began. */
let copies = 0;
const { copy } = RequestImpl.prototype;
lend.before(() => {
  RequestImpl.prototype.copy = function (this: RequestImpl) {
    copies++;
    return copy.call(this);
  };
});
lend.after(() => {
  RequestImpl.prototype.copy = copy;
});

class Scene {
  readonly runner: Runner;
  readonly pump: Pump;

  constructor(request: NonNullable<Handler["request"]>) {
    const clock = new VirtualClock();
    this.runner = new Runner(clock);
    this.pump = new Pump({ engine: testEngine({}), clock });
    this.pump.setHandler({ request });
    copies = 0;
  }

  accept(readsApart: boolean): Peer {
    const silent = { end() {}, pause() {}, resume() {}, reset() {}, destroy() {} };
    const link: Link = { remoteAddress: "192.0.2.1", write: () => true, ...silent, readsApart };
    return this.pump.accept(link) as Peer;
  }

  feed(peer: Peer, text: string): void {
    const bytes = octets(text);
    this.pump.engine.u8.set(bytes, this.pump.engine.window);
    this.pump.read(peer, bytes.length);
  }

  async read(peer: Peer, text: string): Promise<void> {
    this.feed(peer, text);
    await this.runner.settle();
  }
}

const requestOf = (name: string): string =>
  `GET /${name} HTTP/1.1\r\nHost: a\r\nX-Name: ${name}\r\n\r\n`;

for (const readsApart of [true, false]) {
  const copied = readsApart ? 0 : 1;
  const link = readsApart ? "handles" : "other links";
  lend(`${link}: a handler that answers before it awaits has ${copied} copies`, async () => {
    const scene = new Scene(async (_, res) => {
      res.send(200, "text/plain", "x");
    });
    await scene.read(scene.accept(readsApart), requestOf("one"));
    assert.is(copies, copied);
  });

  lend(`${link}: a handler that continues reads its own request`, async () => {
    const seen: unknown[] = [];
    let goOn = (): void => {};
    const waits = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const scene = new Scene(async (req, res) => {
      res.send(200, "text/plain", "x");
      await waits;
      seen.push(req.header("x-name"), req.path);
    });
    const [first, second] = [scene.accept(readsApart), scene.accept(readsApart)];
    await scene.read(first, requestOf("one"));
    await scene.read(second, requestOf("two"));
    await scene.read(first, requestOf("a-longer-one"));
    goOn();
    await scene.runner.settle();
    assert.equal(seen, ["one", "/one", "two", "/two", "a-longer-one", "/a-longer-one"]);
    assert.is(copies, 3);
  });

  lend(`${link}: pipelined requests are read by their own handlers`, async () => {
    const seen: unknown[] = [];
    const scene = new Scene(async (req, res) => {
      res.send(200, "text/plain", "x");
      await undefined;
      seen.push(req.header("x-name"));
    });
    const names = ["one", "second", "the-third", "4"];
    await scene.read(scene.accept(readsApart), names.map(requestOf).join(""));
    assert.equal(seen, names);
  });
}

/** Ways in which bytes of another connection are parsed before the microtasks run. */
const WAYS: Record<string, (loop: EngineLoop<Peer>, holder: Peer, other: Peer) => void> = {
  "of a connection that was held": (loop, holder) => loop.resume(holder),
  "that were given": (loop, _, other) => loop.take(other, octets(requestOf("given"))),
};

for (const [way, parse] of Object.entries(WAYS)) {
  for (const more of [1, 9000]) {
    lend(`bytes ${way} do not replace a request; ${more} are held`, async () => {
      const seen: [unknown, unknown][] = [];
      let held: Response | undefined;
      const scene = new Scene(async (req: Request, res) => {
        const name = req.header("x-name");
        if (name === "held") {
          held = res;
          await new Promise(() => {});
        }
        res.send(200, "text/plain", "x");
        await undefined;
        seen.push([name, req.header("x-name")]);
      });
      const [holder, reader, other] = [1, 2, 3].map(() => scene.accept(true)) as [Peer, Peer, Peer];
      // Nine thousand are more than the engine keeps of a connection.
      const bytes = requestOf("held") + requestOf("kept").repeat(more);
      scene.pump.loop.take(holder, octets(bytes));
      await scene.runner.settle();
      scene.feed(reader, requestOf("answered"));
      held?.send(200, "text/plain", "x");
      parse(scene.pump.loop, holder, other);
      await scene.runner.settle();
      assert.is(seen.filter(([name]) => name === "answered").length, 1);
      assert.equal(
        seen.filter(([before, after]) => before !== after),
        [],
      );
    });
  }
}

lend.run();
