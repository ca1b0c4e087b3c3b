// A chat of `ws` moved over to Ringcast: the same clients get the same from both.

import { fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Guest, freePort, runningNode, statusOf } from "./neighbour";
import { WsWire, until } from "./peer";

for (const name of ["before", "after"]) {
  const chat = suite(`neighbours: from ws, ${name}`);

  /** The chat, for the time of a test. */
  const chatting = (
    title: string,
    body: (url: string, end: () => Promise<number | string>) => Promise<void>,
    env: Readonly<Record<string, number>> = {},
  ): void => {
    chat(title, async () => {
      const PORT = await freePort();
      await runningNode(`from-ws/${name}.js`, { PORT, ...env }, (program) =>
        body(`ws://127.0.0.1:${PORT}`, () => program.end()),
      );
    });
  };

  chatting("rooms, names, joining and leaving clients, the end", async (url, end) => {
    const ada = await Guest.open(`${url}/a?name=ada`);
    await ada.heard(1);
    const bob = await Guest.open(`${url}/a?name=bob`);
    await bob.heard(1);
    const cyd = await Guest.open(`${url}/b?name=cyd`);
    await cyd.heard(1);
    await ada.heard(2);
    for (const text of ["hello", "€", ""]) ada.socket.send(text);
    ada.socket.send(Buffer.alloc(300));
    await bob.heard(5);
    bob.socket.send("/quit");
    assert.equal(await bob.ended(), { code: 4000, reason: "bye" });
    await ada.heard(3);
    const web = url.replace("ws", "http");
    assert.is(await (await fetch(`${web}/`)).text(), "2 here\n");
    assert.is((await fetch(`${web}/nowhere`)).status, 404);
    assert.is(await end(), 0);
    assert.equal([(await ada.ended()).code, (await cyd.ended()).code], [1001, 1001]);
    assert.equal(ada.messages.slice(0, 3), ["welcome ada", "bob came", "bob left (4000)"]);
    assert.equal(bob.messages, ["welcome bob", "ada: hello", "ada: €", "ada: ", "300 bytes"]);
    assert.equal(cyd.messages, ["welcome cyd"]);
  });

  chatting("refusals, and a message that is too long", async (url) => {
    const port = new URL(url).port;
    const origin = `http://localhost:${port}`;
    assert.is(await statusOf(`${url}/a?name=ada`, { origin }), 101);
    assert.is(await statusOf(`${url}/a?name=ada`, { origin: "http://evil.example" }), 403);
    assert.is(await statusOf(`${url}/a`), 400);
    const ada = await Guest.open(`${url}/a?name=ada`);
    await ada.heard(1);
    ada.socket.send("x".repeat(1024));
    ada.socket.send("x".repeat(1025));
    assert.is((await ada.ended()).code, 1009);
  });

  chatting(
    "a client that answers no pings is closed, the others stay",
    async (url) => {
      const ada = await Guest.open(`${url}/a?name=ada`);
      await ada.heard(1);
      const mute = await WsWire.open(Number(new URL(url).port), "/a?name=mute");
      await until("mute came", () => ada.messages.includes("mute came"));
      await until("mute left", () => ada.messages.at(-1) === "mute left (1006)");
      assert.is(ada.closed, undefined);
      mute.destroy();
    },
    { HEARTBEAT: 500 },
  );

  chat.run();
}
