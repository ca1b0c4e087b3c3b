// Server-sent events over real connections: curl, undici's EventSource, and through nginx. The handler is in the
// worker, on this thread, and in a pool.

import { spawn } from "node:child_process";
import { type Options, type Server, serve } from "ringcast";
import { EventSource, fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { toolPath } from "../../.scripts/tools.mjs";
import { behind } from "./nginx";
import { fileUrl, handlerOf, until, within } from "./peer";

const events = suite("events");

const MODULE = fileUrl("handlers/events.mjs");

async function withServer(
  options: Options,
  body: (server: Server, url: string) => Promise<void>,
): Promise<void> {
  const common = { port: 0, events: true, onError: () => undefined };
  const server = await serve({ handler: MODULE, ...common, ...options });
  try {
    await body(server, `http://localhost:${server.address.port}`);
  } finally {
    await within(server.close(), "close");
  }
}

/** Runs `curl -N`. */
class Curl {
  output = "";
  readonly #child;
  readonly ended: Promise<number>;

  constructor(...args: string[]) {
    this.#child = spawn(toolPath("curl"), ["-sN", ...args], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#child.stdout.on("data", (data) => {
      this.output += String(data);
    });
    this.ended = new Promise((resolve) => this.#child.on("close", (code) => resolve(code ?? -1)));
  }

  has(text: string): Promise<void> {
    return until(`curl gets ${text}`, () => this.output.includes(text));
  }

  async end(): Promise<void> {
    this.#child.kill();
    await within(this.ended, "curl's end");
  }
}

const PLACES: readonly (readonly [name: string, options: () => Promise<Options>])[] = [
  ["in the worker", async () => ({ handler: MODULE })],
  [
    "on the application's thread",
    async () => ({ handler: await handlerOf("events", "application") }),
  ],
  ["in a pool", async () => ({ handler: MODULE, pool: { threads: 2 } })],
];

for (const [name, options] of PLACES) {
  events(`curl -N gets messages, topics and the end; the handler is ${name}`, async () =>
    withServer(await options(), async (server, url) => {
      const [all, some] = [new Curl("-i", `${url}/all`), new Curl("--http1.0", `${url}/some?news`)];
      await all.has("data: events /all\ndata: welcome\n\n");
      await some.has("data: events /some\ndata: welcome\n\n");
      assert.match(all.output, /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/event-stream\r\n/);
      assert.match(all.output, /\r\n\r\nretry: \d{4}\n\ndata: /);
      assert.ok(server.publish("news", "to some") && server.broadcast("line\r\nline"));
      const position = await server.position();
      await all.has(`id: ${position}\ndata: line\ndata: line\n\n`);
      await some.has("data: to some\n\n");
      assert.not.match(all.output, /to some/);
      const stats = await server.stats();
      assert.equal([stats.eventStreams, stats.webSockets], [2, 2]);
      await some.end();
      await until("one is left", async () => (await server.stats()).eventStreams === 1);
      await server.shutdown();
      assert.is(await within(all.ended, "the end"), 0);
      assert.match(
        all.output,
        /event: ringcast-close\ndata: \{"code":1001,"reason":"[^"]*"\}\n\n$/,
      );
    }),
  );
}

for (const [name, options] of PLACES) {
  events(`the head to HEAD is that of GET; the handler is ${name}`, async () =>
    withServer(await options(), async (server, url) => {
      const [head, get] = [new Curl("-I", `${url}/all`), new Curl("-i", `${url}/all`)];
      assert.is(await within(head.ended, "the end of HEAD"), 0);
      await get.has("welcome");
      const fieldsOf = (output: string): string[] =>
        (output.split("\r\n\r\n")[0] as string)
          .split("\r\n")
          .filter((line) => !/^Date:/.test(line));
      assert.equal(fieldsOf(head.output), fieldsOf(get.output));
      await get.end();
      await until("none is left", async () => (await server.stats()).eventStreams === 0);
    }),
  );
}

events("a message of a MiB arrives whole, as text and as bytes", () =>
  withServer({ ring: "4MiB" }, async (server, url) => {
    const curl = new Curl(`${url}/all`);
    await curl.has("welcome");
    const text = `${"0123456789".repeat(10)}\n`.repeat(10000);
    const bytes = Buffer.alloc(1048576, "ringcast");
    assert.ok(server.broadcast(text));
    assert.ok(server.broadcast(bytes));
    await curl.has(bytes.toString("base64"));
    await curl.has(`${text.replaceAll("\n", "\ndata: ")}\n\n`);
    await curl.end();
  }),
);

events("undici's EventSource gets events with their positions", () =>
  withServer({}, async (server, url) => {
    const source = new EventSource(`${url}/all`);
    const got: string[] = [];
    source.onmessage = ({ data, lastEventId }) => got.push(`${lastEventId} ${data}`);
    await until("it is open", () => got.length === 1);
    server.broadcast("hello");
    const position = await server.position();
    await until("it gets it", () => got.length === 2);
    assert.is(got[1], `${position} hello`);
    source.close();
    await until("it leaves", async () => (await server.stats()).eventStreams === 0);
  }),
);

events("a handler that throws is 200 and a time to an EventSource, 500 to others", () =>
  withServer({}, async (server, url) => {
    const answer = await fetch(`${url}/throws`, { headers: { Accept: "text/event-stream" } });
    assert.is(answer.status, 200);
    assert.match(await answer.text(), /^retry: \d{4}\n\n$/);
    assert.is((await fetch(`${url}/throws`)).status, 500);
    const { closed, handlerErrors } = await server.stats();
    assert.equal([closed.HandlerError, handlerErrors], [2, 2]);
  }),
);

events("through nginx, with the configuration of test/example, nothing is held back", () =>
  behind("http", { handler: MODULE, events: true }, async ({ port, server }) => {
    const curl = new Curl("-i", `http://127.0.0.1:${port}/all`);
    await curl.has("welcome");
    for (let i = 0; i < 10; i++) {
      server.broadcast(`message ${i}`);
      await curl.has(`data: message ${i}\n\n`);
    }
    await curl.end();
    await until("it leaves", async () => (await server.stats()).eventStreams === 0);
  }),
);

events("through nginx as it comes, which speaks HTTP/1.0 and would buffer", () =>
  behind(
    "http",
    {
      handler: MODULE,
      events: true,
      edits: [
        ["proxy_http_version 1.1;", "proxy_http_version 1.0;"],
        ["proxy_set_header Upgrade $http_upgrade;", ""],
        ["proxy_set_header Connection $ringcast_connection;", ""],
        ["proxy_buffering off;", ""],
      ],
    },
    async ({ port, server }) => {
      const curl = new Curl("-i", `http://127.0.0.1:${port}/all`);
      await curl.has("welcome");
      server.broadcast("at once");
      await curl.has("data: at once\n\n");
      await curl.end();
    },
  ),
);

events.run();
