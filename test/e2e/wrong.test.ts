// Mistakes of a handler concern their request: 500 or a reset, and `onError`. The server lives, in all places.

import * as assert from "uvu/assert";
import { Ground, type TestAnswer, fieldOf, groundSuites, textOf } from "./ground";

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
}

async function ask(ground: Ground, path: string): Promise<TestAnswer> {
  const [answer] = await ground.ask(get(path));
  return answer as TestAnswer;
}

async function notesOf(ground: Ground): Promise<unknown[]> {
  return JSON.parse(textOf(await ask(ground, "/notes"))) as unknown[];
}

/** Others are served. */
async function checkAlive(ground: Ground): Promise<void> {
  assert.is(textOf(await ask(ground, "/hello")), "hello");
}

/** Waits for as many reports. @returns their messages */
async function reports(ground: Ground, count: number): Promise<string[]> {
  await ground.until(`${count} reports`, () => ground.errors.length >= count);
  await checkAlive(ground);
  assert.is(ground.errors.length, count, JSON.stringify(ground.errors));
  for (const { where } of ground.errors) assert.is(where, "request");
  return ground.errors.map(({ message }) => message);
}

/** Opens a client whose response has begun, which then resets its connection. */
async function leave(ground: Ground, path: string): Promise<void> {
  const client = await ground.client();
  client.write(get(path));
  await ground.until("begun", () => Buffer.from(client.received).includes("begun"));
  client.reset();
}

groundSuites("wrong", "wrong", (test, name) => {
  const isPool = name === "pool";

  test("res.end without begin is a whole answer of 200", async (ground) => {
    for (const [path, type, length, body] of [
      ["/end-text", "text/plain; charset=utf-8", "6", "hi €"],
      ["/end-bytes", "application/octet-stream", "3", "\x01\x02\x03"],
      ["/end-nothing", undefined, "0", ""],
      ["/end-typed", "text/html", "3", "<p>"],
    ] as const) {
      const answer = await ask(ground, path);
      assert.is(answer.status, 200);
      assert.is(fieldOf(answer, "content-type"), type, path);
      assert.is(fieldOf(answer, "content-length"), length);
      assert.is(textOf(answer), body);
    }
    assert.equal(ground.errors, []);
    assert.is((await ask(ground, "/end-number")).status, 500);
    assert.is(textOf(await ask(ground, "/end-twice")), "once");
    assert.equal(await reports(ground, 2), [
      "body: 5 is not a string, an ArrayBuffer or a view of one",
      "the request has been answered already",
    ]);
  });

  for (const [path, message] of [
    ["/unreturned", isPool ? "the handler settled without an answer" : "unreturned"],
    ["/returned", "returned"],
    ["/bad-piece", "write: 5 is not a string, an ArrayBuffer or a view of one"],
    ["/no-step", "Iterator result undefined is not an object"],
    ["/sync-throw", "next failed"],
    ["/after-throw", "thrown behind it"],
  ] as const) {
    test(`an answer that fails after its head is reset, and reported once: ${path}`, async (ground) => {
      const client = await ground.client();
      client.write(get(path));
      await ground.over(client);
      assert.not(Buffer.from(client.received).includes("\r\n0\r\n\r\n"), "it is not whole");
      const [reported] = await reports(ground, 1);
      // The runtime checks what a list's iterator returns.
      if (path !== "/no-step") assert.is(reported, message);
    });
  }

  for (const [path, message] of [
    ["/bad-status", /^status: 99 is not a whole number from 200 to 599$/],
    ["/no-iterable", /^body: not an iterable$/],
    ["/large-stream", /^headers: more than/],
    ["/large-send", /^headers: more than/],
  ] as const) {
    test(`a call that fails before the head is 500, and reported once: ${path}`, async (ground) => {
      assert.is((await ask(ground, path)).status, 500);
      assert.match((await reports(ground, 1))[0] ?? "", message);
      if (path === "/large-stream" && !isPool)
        await ground.until("left", async () => (await notesOf(ground)).includes("left"));
    });
  }

  test("a promise of the server that is not awaited ends nothing", async (ground) => {
    const answers = await ground.ask(
      `POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`,
    );
    assert.is(textOf(answers[0] as TestAnswer), "collected");
    await checkAlive(ground);
    assert.equal(ground.errors, []);
  });

  if (name === "memory" || name === "worker") {
    test("a client that breaks its body off rejects later promises of the handler", async (ground) => {
      const client = await ground.client();
      client.write("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbody");
      await ground.until("begun", async () => (await notesOf(ground)).includes("uploading"));
      client.reset();
      await ground.until("a report", async () => (await notesOf(ground)).includes("BodyError"));
      await checkAlive(ground);
      assert.equal(ground.errors, []);
    });
  }

  for (const [path, messages] of [
    ["/quiet", []],
    ["/return-hangs", []],
    ["/return-throws", ["return threw"]],
    ["/return-rejects", ["return rejected"]],
  ] as const) {
    test(`a source is left as soon as its client has: ${path}`, async (ground) => {
      for (let i = 1; i <= 3; i++) {
        await leave(ground, path);
        if (isPool) continue;
        const notes: unknown[] = [];
        await ground.until("settled", async () => {
          notes.push(...(await notesOf(ground)));
          return notes.includes("settled");
        });
        assert.equal(notes, ["left", "settled"]);
      }
      await checkAlive(ground);
      // A pool's thread ends with its client.
      if (isPool) return;
      const due = [0, 1, 2].flatMap(() => messages);
      assert.equal(await reports(ground, due.length), due);
    });
  }

  if (!isPool) {
    test("listeners of res.signal that throw are reported, and all are called", async (ground) => {
      await leave(ground, "/listeners");
      const notes: unknown[] = [];
      await ground.until("aborted", async () => {
        notes.push(...(await notesOf(ground)));
        return notes.includes("last");
      });
      const messages = await reports(ground, 4);
      assert.equal(messages.sort(), ["async", "function", "object", "onabort"]);
    });
  }

  if (name === "memory" || name === "application") {
    test("a static body of another server is refused, whatever its number", async (ground) => {
      const other = await Ground.open(name, "wrong");
      try {
        assert.is(textOf(await ask(other, "/own")), "own");
        assert.is((await ask(other, "/foreign")).status, 500);
        await other.until("report", () => other.errors.length === 1);
        assert.is(other.errors[0]?.message, "body: not made by this server's body()");
        await checkAlive(ground);
      } finally {
        await other.close();
      }
    });
  }
});
