// Messages that are sent as fast as a client reads them: `ws.ready` and `ws.stream`, in all places.

import * as assert from "uvu/assert";
import { BINARY, TEXT, clientFrame, handshake } from "./peer";
import { type ServerFrame, serverFrame } from "../lib/server-frame";
import { type Ground, type GroundClient, type TestAnswer, groundSuites } from "./ground";

const OPTIONS = { maxBacklog: 65536 };

/** A WebSocket, past its welcome. */
class Chat {
  readonly #ground: Ground;
  readonly client: GroundClient;
  #at: number;

  private constructor(ground: Ground, client: GroundClient, at: number) {
    this.#ground = ground;
    this.client = client;
    this.#at = at;
  }

  static async open(ground: Ground, path = "/"): Promise<Chat> {
    const client = await ground.client();
    client.write(handshake(path));
    const [answer] = (await ground.answers(client, 1)) as [TestAnswer];
    assert.is(answer.status, 101);
    const chat = new Chat(ground, client, answer.size);
    assert.is(await chat.text(), "welcome");
    return chat;
  }

  say(...commands: readonly string[]): this {
    for (const command of commands) this.client.write(clientFrame(TEXT, command));
    return this;
  }

  async next(): Promise<ServerFrame> {
    let frame: ServerFrame | number = 0;
    await this.#ground.until("a frame", () => {
      if (typeof frame === "number" && this.client.received.length >= this.#at + frame)
        frame = serverFrame(this.client.received, this.#at);
      return typeof frame !== "number";
    });
    const found = frame as unknown as ServerFrame;
    this.#at += found.size;
    return found;
  }

  async text(): Promise<string> {
    const { opcode, payload } = await this.next();
    assert.is(opcode, TEXT);
    return Buffer.from(payload).toString();
  }
}

/** Waits for notes of the handler. @returns all up to the last of `names` */
async function notes(ground: Ground, ...names: readonly string[]): Promise<unknown[][]> {
  const chat = await Chat.open(ground);
  const all: unknown[][] = [];
  const missing = new Set(names);
  await ground.until(names.join(), async () => {
    const news = JSON.parse(await chat.say("log").text()) as unknown[][];
    for (const note of news) missing.delete(note[0] as string);
    all.push(...news);
    return missing.size === 0;
  });
  chat.client.reset();
  return all;
}

groundSuites("writable", "writable", (test) => {
  for (const path of ["/", "/fetch"]) {
    test(
      `ready waits until a full queue has room again: ${path}`,
      async (ground) => {
        const chat = await Chat.open(ground, path);
        chat.client.pause();
        chat.say("ready");
        const full = (await notes(ground, "full")).find(([name]) => name === "full");
        const sent = full?.[1] as number;
        assert.ok(sent > 3, `${sent} messages`);
        assert.equal(await notes(ground), []);
        chat.client.resume();
        for (let i = 0; i < sent; i++) assert.is((await chat.next()).payload.length, 10_000);
        assert.is(await chat.text(), `ready ${sent}`);
        const rest = await notes(ground, "ready", "drain");
        assert.equal(rest.sort(), [["drain"], ["ready", true, true]]);
        assert.equal(ground.errors, []);
      },
      OPTIONS,
    );
  }

  test(
    "ready resolves when the client has gone, and needs no one to wait for it",
    async (ground) => {
      const [chat, forgetful] = [await Chat.open(ground), await Chat.open(ground)];
      for (const one of [chat, forgetful]) one.client.pause();
      chat.say("ready");
      forgetful.say("forget");
      await notes(ground, "full", "forgotten");
      for (const one of [chat, forgetful]) one.client.reset();
      const rest = await notes(ground, "ready");
      assert.equal(
        rest.filter(([name]) => name === "ready"),
        [["ready", false, false]],
      );
      assert.equal(ground.errors, []);
    },
    OPTIONS,
  );

  test(
    "a stream asks for a message when there is room for it",
    async (ground) => {
      const chat = await Chat.open(ground);
      chat.client.pause();
      chat.say("many", "produced");
      // Nothing must happen.
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(await notes(ground), []);
      chat.client.resume();
      for (let i = 0; i < 500; i++) assert.is(Number(await chat.text()), i);
      assert.equal(await notes(ground, "many", "produced"), [
        ...[
          ["ended", false],
          ["many", true],
          ["produced", 500],
        ],
      ]);
      assert.equal(ground.errors, []);
    },
    { ...OPTIONS, ordered: true },
  );

  test(
    "a stream to a client that does not read stops, and ends when the client goes",
    async (ground) => {
      const chat = await Chat.open(ground);
      chat.client.pause();
      chat.say("many");
      const produced = async (): Promise<number> => {
        chat.say("produced");
        return (await notes(ground, "produced")).at(-1)?.[1] as number;
      };
      let last = -1;
      await ground.until("a stop", async () => {
        const before = last;
        last = await produced();
        return last === before && last > 0;
      });
      assert.ok(last < 500, `${last} of 500`);
      chat.client.reset();
      assert.equal(await notes(ground, "ended", "many"), [
        ["ended", true],
        ["many", false],
      ]);
      assert.equal(ground.errors, []);
    },
    { ...OPTIONS, ordered: false },
  );

  test("a stream sends text and bytes, and values of promises", async (ground) => {
    const chat = await Chat.open(ground);
    chat.say("kinds");
    const frames: [number, string][] = [];
    for (let i = 0; i < 5; i++) {
      const { opcode, payload } = await chat.next();
      frames.push([opcode, Buffer.from(payload).toString("latin1")]);
    }
    assert.equal(frames, [
      [TEXT, "text"],
      [BINARY, "\x02\x03"],
      [BINARY, "\x01\x02\x03\x04"],
      [TEXT, "later"],
      [TEXT, ""],
    ]);
    assert.equal(await notes(ground, "kinds"), [["kinds", true]]);
  });

  test("two streams and other messages share a client, each in its order", async (ground) => {
    const chat = await Chat.open(ground);
    chat.say("two");
    assert.is(await chat.text(), "at once");
    const due = { a: 0, b: 0 };
    for (let i = 0; i < 100; i++) {
      const text = await chat.text();
      const name = text[0] as "a" | "b";
      assert.is(text, `${name}${due[name]++}`);
      if (i === 50) assert.ok(due.a > 0 && due.b > 0, "they take turns");
    }
    assert.equal((await notes(ground, "a", "b")).sort(), [
      ["a", true],
      ["b", true],
    ]);
  });

  test("a stream ends at once when its client goes, or is closed", async (ground) => {
    for (const way of ["reset", "closed", "late"] as const) {
      const chat = await Chat.open(ground);
      const name = way === "reset" ? "stuck" : way;
      chat.say(name);
      if (way !== "late") assert.is(await chat.text(), "first");
      if (way === "reset") chat.client.reset();
      assert.equal(await notes(ground, name), [["return"], [name, false]], way);
      if (way !== "reset") assert.is((await chat.next()).opcode, 8);
    }
    assert.equal(ground.errors, []);
  });

  for (const [name, where] of [
    ["unawaited", "stream"],
    ["returned", "message"],
    ["belated", "stream"],
  ] as const) {
    test(`a source that fails is the handler's error, once: ${name}`, async (ground) => {
      const chat = await Chat.open(ground);
      chat.say(name);
      assert.is(await chat.text(), "before");
      const { opcode, payload } = await chat.next();
      assert.equal([opcode, payload[0], payload[1]], [8, 1011 >> 8, 1011 & 255]);
      await notes(ground);
      // No second report must come.
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(ground.errors, [{ where, message: "the source fails" }]);
      assert.is((await ground.server.stats()).handlerErrors, 1);
    });
  }

  test(
    "a message that no queue can hold is a RangeError",
    async (ground) => {
      const chat = await Chat.open(ground);
      chat.say("large");
      assert.equal(await notes(ground, "large"), [
        ["large", "RangeError: stream: 65537 bytes are more than replyBuffers (65536 bytes)"],
      ]);
      chat.say("kinds");
      assert.is(await chat.text(), "text");
    },
    { replyBuffers: 65536 },
  );

  test("an error of a stream that the handler catches is its own", async (ground) => {
    const chat = await Chat.open(ground);
    chat.say("caught");
    assert.is(await chat.text(), "before");
    assert.is(await chat.text(), "caught");
    chat.say("wrong");
    assert.is(await chat.text(), "wrong");
    assert.equal(await notes(ground, "wrong", "TypeError"), [
      ["caught", "Error: the source fails"],
      ["return"],
      ["wrong", "TypeError: stream: 5 is not a string, an ArrayBuffer or a view of one"],
      ["TypeError", "stream: not an iterable"],
    ]);
    assert.equal(ground.errors, []);
  });
});
