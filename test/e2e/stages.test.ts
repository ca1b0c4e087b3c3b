// Stages as bodies of responses, in all places.

import * as assert from "uvu/assert";
import { type Ground, type TestAnswer, fieldOf, groundSuites, textOf } from "./ground";

function requestOf(target: string, method = "GET"): string {
  return `${method} ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;
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
});
