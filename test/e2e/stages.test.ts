// Stages as bodies of responses, and upgrades without compression, in all places.

import * as assert from "uvu/assert";
import { TEXT, clientFrame, handshake } from "./peer";
import { serverFrames } from "../lib/server-frame";
import { type Ground, type TestAnswer, fieldOf, groundSuites, textOf } from "./ground";

const OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

function requestOf(target: string, method = "GET", fields = ""): string {
  return `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
}

async function ask(ground: Ground, target: string, method = "GET"): Promise<TestAnswer> {
  const [answer] = await ground.ask(requestOf(target, method), [method]);
  return answer as TestAnswer;
}

groundSuites("stages", "stages", (test, name) => {
  // A thread of the pool has no stages.
  if (name !== "pool") {
    for (const path of ["/", "/later"]) {
      test(`a stage is the body of a response: ${path}`, async (ground) => {
        for (const [way, body] of [
          ["text", "staged 7"],
          ["bytes", "\xff\0\xfe"],
          ["empty", ""],
          ["large", "x".repeat(300_000)],
        ] as const) {
          const answer = await ask(ground, `${path}?${way}`);
          assert.is(answer.status, 200, way);
          assert.is(Buffer.from(answer.body).toString("latin1"), body, way);
          assert.is(fieldOf(answer, "content-length"), String(body.length));
          assert.is(fieldOf(answer, "x-staged"), "yes");
          const last = textOf(await ask(ground, "/last"));
          assert.is(last, "true 0 Error: stage: it was published or discarded");
          const bare = await ask(ground, `${path}?${way}`, "HEAD");
          assert.is(fieldOf(bare, "content-length"), String(body.length));
        }
        assert.equal(ground.errors, []);
      });
    }

    test(
      "a stage that is larger than the ring is a RangeError, and another response follows",
      async (ground) => {
        const answer = await ask(ground, "/?overflown");
        assert.is(answer.status, 500);
        assert.is(
          textOf(answer),
          "RangeError: send: the staged message is larger than the ring (1048576 bytes) 0 " +
            "Error: stage: it was published or discarded",
        );
        assert.equal(ground.errors, []);
      },
      { ring: 1048576 },
    );
  }

  test(
    "an upgrade with compress: false agrees to no compression",
    async (ground) => {
      const text = "again and ".repeat(500);
      for (const [target, isPlain] of [
        ["/?plain", true],
        ["/?packed", false],
      ] as const) {
        const client = await ground.client();
        client.write(handshake(target, OFFER));
        const [answer] = (await ground.answers(client, 1)) as [TestAnswer];
        assert.is(answer.status, 101);
        const agreed = fieldOf(answer, "sec-websocket-extensions");
        assert.is(agreed === undefined, isPlain, target);
        client.write(clientFrame(TEXT, text));
        const frames = (): Uint8Array => client.received.subarray(answer.size);
        await ground.until("the echo", () => frames().length > (isPlain ? text.length : 4));
        await ground.until("a broadcast", () => ground.server.broadcast(text));
        const least = isPlain ? 2 * (text.length + 4) : 40;
        await ground.until("the broadcast", () => frames().length >= least);
        for (const frame of serverFrames(frames())) assert.is(frame.packed, !isPlain, target);
        client.reset();
      }
    },
    { perMessageDeflate: true },
  );
});
