// Members of handlers: a misspelt one would never be called, so it is refused wherever a handler is given.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { fetchHandler } from "../../host/fetch";
import { MEMBERS, checkHandler } from "../../host/shared/members";
import { createTestServer } from "../../host/testing";

const members = suite("members");

const KNOWN: readonly string[] = [...MEMBERS, "protocol", "streams"];
const call = (): void => undefined;

/** Returns every name that is one edit away. */
function edits(name: string): string[] {
  const letters = [..."abcdefghijklmnopqrstuvwxyzS_"];
  const found = new Set<string>();
  for (let i = 0; i <= name.length; i++) {
    const [before, rest] = [name.slice(0, i), name.slice(i)];
    for (const letter of letters) {
      found.add(before + letter + rest);
      if (rest !== "") found.add(before + letter + rest.slice(1));
    }
    if (rest !== "") found.add(before + rest.slice(1));
    if (rest.length > 1) found.add(`${before}${rest[1]}${rest[0]}${rest.slice(2)}`);
  }
  return [...found].filter((one) => one !== "" && !KNOWN.includes(one));
}

members("a function that is one edit away from a member is refused with its name", () => {
  let count = 0;
  for (const name of KNOWN) {
    for (const wrong of [...edits(name), name.toUpperCase()]) {
      assert.throws(
        () => checkHandler({ [wrong]: call }),
        (error: Error) =>
          error instanceof TypeError &&
          error.message.startsWith(`handler.${wrong}: there is no such member; did you mean `),
        wrong,
      );
      count++;
    }
  }
  console.log(`${count} misspelt members refused`);
});

members("refuses members of other servers' handlers, and names the alternative", () => {
  for (const [name, advice] of [
    ["onMessage", /use message$/],
    ["onOpen", /use open$/],
    ["onClose", /use close$/],
    ["websocket", /use open, message and close as members of the handler itself$/],
    ["upgrade", /use request, which accepts a handshake with res\.upgrade\(\)$/],
    ["connection", /use open for WebSockets, connect for connections$/],
    ["fetch", /see fetchHandler of "ringcast\/fetch"$/],
  ] as const) {
    for (const value of [call, {}]) assert.throws(() => checkHandler({ [name]: value }), advice);
  }
  checkHandler({ fetch: call, request: call });
  checkHandler({ onMessage: undefined, fetch: undefined });
});

members("other members are the handler's own, and it is called with them", async () => {
  checkHandler({
    messages: [],
    closed: false,
    pings: 0,
    opened: new Map(),
    handle: call,
    log: call,
  });
  class Chat {
    readonly messages: string[] = [];
    #count = 0;
    request(_: unknown, res: { upgrade(): boolean }): boolean {
      return res.upgrade();
    }
    message(_: unknown, data: string | Uint8Array): void {
      this.#count++;
      this.messages.push(String(data));
    }
    get count(): number {
      return this.#count;
    }
  }
  for (const wrap of [
    (chat: Chat) => chat,
    ({ message }: Chat, chat = new Chat()) => Object.assign(chat, { message }),
  ]) {
    const chat = wrap(new Chat());
    const t = createTestServer({ handler: chat });
    const client = t.connect();
    await t.settle();
    client.send("hello");
    await t.settle();
    assert.equal([chat.messages, chat.count], [["hello"], 1]);
    await t.close();
  }
});

members("a class's methods are members, and a misspelt one is refused", () => {
  class Base {
    mesage(): void {}
  }
  class Chat extends Base {}
  assert.throws(() => checkHandler(new Chat()), /^handler\.mesage: .*did you mean message\?$/);
});

members("fetchHandler takes events of a class, and refuses other values", async () => {
  class Events {
    readonly #got: string[] = [];
    message(_: unknown, data: string | Uint8Array): void {
      this.#got.push(String(data));
    }
    get got(): readonly string[] {
      return this.#got;
    }
  }
  const events = new Events();
  const t = createTestServer({ handler: fetchHandler((_, info) => info.upgrade(), events) });
  const client = t.connect();
  await t.settle();
  client.send("hello");
  await t.settle();
  assert.equal(events.got, ["hello"]);
  await t.close();
  const web = (): Response => new Response("");
  for (const [wrong, message] of [
    [{ mesage: call }, /^events\.mesage: .*did you mean message\?$/],
    [{ message: 5 }, /^events\.message: a number is not a function$/],
    [{ request: call }, /^events\.request: the fetch function answers requests$/],
    [5, /^events: a number is not an object of handler functions$/],
  ] as const)
    assert.throws(() => fetchHandler(web, wrong as never), message);
});

members("in memory a misspelt member is refused at the start and by reload", async () => {
  assert.throws(
    () => createTestServer({ handler: { mesage: call } as never }),
    /did you mean mess/,
  );
  const t = createTestServer({ handler: { request: (_, res) => res.send(200) } });
  let message = "";
  await t.server.reload({ opne: call } as never).catch((error: Error) => {
    message = error.message;
  });
  assert.is(message, "handler.opne: there is no such member; did you mean open?");
  assert.is((await t.fetch("/")).status, 200);
  await t.close();
});

members.run();
