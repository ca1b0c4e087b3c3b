// Modules of subprotocols: which upgrades belong to them, wherever the main handler runs; modules by name; reloads.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { type HandlerModule, type Options, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { GROUNDS, Ground, type GroundClient, type GroundName, fieldOf, textOf } from "./ground";
import { TEXT, clientFrame, fileUrl, handshake, within } from "./peer";
import { closeFrame } from "../lib/frame";
import { portOf } from "../lib/port";
import { serverFrame } from "../lib/server-frame";

const moduleUrl = (name: string, decides = false): URL =>
  new URL(`?name=${name}${decides ? "&decides" : ""}`, fileUrl("handlers/protocol-module.mjs"));

const HANDLERS = {
  plain: moduleUrl("plain"),
  "v1.strict": moduleUrl("strict", true),
  alias: moduleUrl("plain"),
};

/** Opens a ground; in memory the modules are handlers. */
async function ground(name: GroundName, options: Options = {}): Promise<Ground> {
  const all: Record<string, unknown> = { ...HANDLERS };
  if (name === "memory")
    for (const [key, url] of Object.entries(HANDLERS))
      all[key] = ((await import(url.href)) as { default: HandlerModule }).default;
  return Ground.open(name, "protocols", { protocolHandlers: all as never, ...options });
}

/** A client that has asked for a WebSocket. */
class Socket {
  readonly #ground: Ground;
  readonly #client: GroundClient;
  #at = 0;

  constructor(own: Ground, client: GroundClient) {
    this.#ground = own;
    this.#client = client;
  }

  /** Asks for a WebSocket. @returns status, chosen subprotocol and body of the response */
  async ask(target: string, offered: string): Promise<[number, string | undefined, string]> {
    const fields = offered === "" ? "" : `Sec-WebSocket-Protocol: ${offered}\r\n`;
    this.#client.write(handshake(target, fields));
    const [answer] = await this.#ground.answers(this.#client, 1);
    assert.ok(answer);
    this.#at = answer.size;
    return [answer.status, fieldOf(answer, "sec-websocket-protocol"), textOf(answer)];
  }

  say(text: string): void {
    this.#client.write(clientFrame(TEXT, text));
  }

  /** Returns the next message, or the code of a Close. */
  async next(): Promise<string | number> {
    let found: string | number = "";
    await this.#ground.until("a frame", () => {
      const frame = serverFrame(this.#client.received.subarray(this.#at));
      if (typeof frame === "number") return false;
      this.#at += frame.size;
      const payload = Buffer.from(frame.payload);
      found = frame.opcode === 8 ? payload.readUInt16BE() : payload.toString();
      return true;
    });
    return found;
  }

  answerClose(code: number): void {
    this.#client.write(closeFrame(code)).end();
  }

  /** Waits until the module has noted something. */
  async logs(line: string): Promise<void> {
    await this.#ground.until(line, async () => {
      this.say("log");
      return (JSON.parse(String(await this.next())) as string[]).includes(line);
    });
  }

  reset(): void {
    this.#client.reset();
  }
}

/** Opens a WebSocket, and returns its client with the chosen subprotocol and the module's welcome. */
async function open(
  own: Ground,
  offered: string,
  target = "/",
): Promise<readonly [Socket, string | undefined, string | number]> {
  const socket = new Socket(own, await own.client());
  const [status, protocol, body] = await socket.ask(target, offered);
  assert.is(status, 101, body);
  return [socket, protocol, await socket.next()];
}

/** Offers, the subprotocol that is chosen, and who welcomes the client. */
const OFFERS: readonly (readonly [offered: string, protocol: string | undefined, opens: string])[] =
  [
    ["plain", "plain", "plain opens plain undefined"],
    ["x, plain, v1.strict", "plain", "plain opens plain undefined"],
    ["v1.strict, plain", "v1.strict", 'strict opens v1.strict "/"'],
    ["alias", "alias", "plain opens alias undefined"],
    ["alias, plain", "alias", "plain opens alias undefined"],
    // Others are the main handler's, with the choice of the option `protocols`.
    ["x", undefined, "main opens  undefined"],
    ["x, listed", "listed", "main opens listed undefined"],
    ["Plain", undefined, "main opens  undefined"],
    ["", undefined, "main opens  undefined"],
  ];

for (const name of GROUNDS) {
  const protocols = suite(`protocols: ${name}`);

  const test = (title: string, body: (own: Ground) => Promise<void>, options?: Options): void => {
    protocols(title, async () => {
      const own = await ground(name, options);
      try {
        await body(own);
      } finally {
        await own.close();
      }
    });
  };

  test(
    "an upgrade belongs to the module of the first known offer, the others to the main handler",
    async (own) => {
      for (const [offered, protocol, opens] of OFFERS) {
        const [socket, chosen, welcome] = await open(own, offered);
        assert.equal([chosen, welcome], [protocol, opens], offered);
        socket.say("hello");
        assert.is(await socket.next(), `${opens.split(" ")[0]} got hello`);
        socket.reset();
      }
      assert.is(textOf((await own.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))[0] as never), "main");
      // Its choice is its own.
      const [, chosen] = await open(own, "x, y", "/chosen");
      assert.is(chosen, "y");
    },
    { protocols: ["listed"] },
  );

  test(
    "an upgrade without an offer belongs to the default module",
    async (own) => {
      const [socket, chosen, welcome] = await open(own, "");
      assert.equal([chosen, welcome], [undefined, "plain opens  undefined"]);
      socket.reset();
      const [, other, main] = await open(own, "x");
      assert.equal([other, main], [undefined, "main opens  undefined"]);
    },
    { defaultProtocol: "plain" },
  );

  test("a module with `request` decides about its upgrades", async (own) => {
    for (const [target, wanted] of [
      ["/no", [403, undefined, "strict refuses"]],
      ["/throw", [500, undefined, "Internal Server Error\n"]],
    ] as const) {
      const socket = new Socket(own, await own.client());
      assert.equal(await socket.ask(target, "v1.strict"), wanted);
    }
    assert.equal(
      own.errors.map(({ message }) => message),
      ["strict throws"],
    );
    const [, chosen, welcome] = await open(own, "v1.strict", "/other");
    assert.equal([chosen, welcome], [undefined, 'plain opens  "moved"']);
  });

  test("an upgrade is given to a module by its name", async (own) => {
    const [socket, chosen, welcome] = await open(own, "x", "/?handler=plain&data=plain");
    const user = '{"user":"ada","list":[1,null,{"deep":"é\\n"}]}';
    assert.equal([chosen, welcome], [undefined, `plain opens  ${user}`]);
    socket.say("close");
    assert.is(await socket.next(), 4000);
    const [again, , none] = await open(own, "", "/?handler=v1.strict&data=none");
    assert.is(none, "strict opens  undefined");
    again.reset();
    const named = await open(own, "x, y", "/?handler=plain&protocol=y");
    assert.equal(named.slice(1), ["y", "plain opens y undefined"]);
    socket.answerClose(4000);
    await named[0].logs(`close ${user} 4000 Application`);
  });

  test("a wrong name, and data that cannot be sent, throw where `upgrade` is called", async (own) => {
    const ask = async (target: string): Promise<string> => {
      const socket = new Socket(own, await own.client());
      const [status, , body] = await socket.ask(target, "x");
      return status === 422 ? body : `${status}`;
    };
    const names = '"plain", "v1.strict", "alias"';
    assert.is(
      await ask("/?handler=plan"),
      `TypeError: handler: "plan" is not one of protocolHandlers: ${names}`,
    );
    assert.match(await ask("/?handler="), /^TypeError: handler: "" is not one of/);
    const isElsewhere = name === "application";
    for (const data of ["date", "map", "function", "cyclic", "nan"]) {
      const said = await ask(`/?handler=plain&data=${data}`);
      if (isElsewhere) assert.match(said, /^TypeError: data: .* is not data that JSON keeps/, data);
      else if (data !== "function" || name !== "pool") assert.is(said, "101", data);
    }
    const large = await ask("/?handler=plain&data=large");
    const tooLarge = "RangeError: data: 70002 bytes of JSON are more than 65536";
    assert.is(large, isElsewhere ? tooLarge : "101");
    assert.equal(own.errors, []);
  });

  test("an error of a module's handler, and a broadcast by it, are as any other", async (own) => {
    const [failing] = await open(own, "plain");
    const [other] = await open(own, "x");
    failing.say("all");
    assert.is(await failing.next(), "from plain");
    assert.is(await other.next(), "from plain");
    failing.say("fail");
    assert.is(await failing.next(), 1011);
    assert.equal(
      own.errors.map(({ where, message }) => [where, message]),
      [["message", "plain fails"]],
    );
  });

  test(
    "a module is notified of the end of an upgrade that found no room",
    async (own) => {
      const [first] = await open(own, "plain");
      const socket = new Socket(own, await own.client());
      const [status] = await socket.ask("/?handler=plain&data=plain", "x");
      assert.is(status, 503);
      await first.logs('close {"user":"ada","list":[1,null,{"deep":"é\\n"}]} 1006 NoRoom');
      assert.equal(own.errors, []);
    },
    { maxWebSockets: 1 },
  );

  protocols.run();
}

// ---- without a main handler, and reloads ---------------------------------------------------------------

const protocols = suite("protocols");

protocols(
  "need no main handler, obey the rule of origins, and are loaded again together",
  async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "ringcast-protocols-"));
    const file = path.join(folder, "chat.mjs");
    const write = (text: string): void =>
      writeFileSync(file, `export default { open: (ws) => void ws.send("${text}") };\n`);
    write("one");
    const server = await serve({ port: 0, protocolHandlers: { chat: pathToFileURL(file) } });
    try {
      const url = `ws://127.0.0.1:${portOf(server)}/`;
      const welcome = async (offered: string[], origin?: string): Promise<string> => {
        const { WebSocket } = await import("ws");
        const ws = new WebSocket(url, offered, origin ? { origin } : {});
        const heard = new Promise<string>((resolve) => {
          ws.once("message", (data) => resolve(String(data)));
          ws.once("error", ({ message }) => resolve(message));
        });
        return within(heard, "a welcome").finally(() => ws.terminate());
      };
      assert.is(await welcome(["chat"]), "one");
      assert.is(await welcome(["x"]), "Unexpected server response: 404");
      assert.is(await welcome(["chat"], "https://evil.example"), "Unexpected server response: 403");
      write("two");
      await server.reload();
      assert.is(await welcome(["chat"]), "two");
      writeFileSync(file, "export default {");
      const failed = await server.reload().then(String, ({ message }: Error) => message);
      assert.match(failed, /^protocolHandlers\["chat"\]: file:\S+: SyntaxError: /);
      assert.is(await welcome(["chat"]), "two");
    } finally {
      await server.close();
      rmSync(folder, { recursive: true });
    }
  },
);

protocols("a module that cannot be loaded is one error at the start", async () => {
  const missing = new URL("file:///none/chat.mjs");
  const error = await serve({ port: 0, protocolHandlers: { chat: missing } }).catch(
    (thrown: unknown) => thrown as Error,
  );
  assert.instance(error, Error);
  assert.match(
    (error as Error).message,
    /^protocolHandlers\["chat"\]: file:\/\/\/none\/chat\.mjs: /,
  );
});

protocols.run();
