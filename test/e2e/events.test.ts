// Server-sent events over real connections: curl, undici's EventSource, Chromium's, and through nginx. The handler is
// in the worker, on this thread, and in a pool.

import { spawn } from "node:child_process";
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { type Options, type Server, serve } from "ringcast";
import { EventSource, fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { toolPath } from "../../.scripts/tools.mjs";
import { withBrowser } from "../lib/browser";
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

/** A proxy of one port, whose connections can be cut. */
class Cutter {
  port = 0;
  target = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => {
    const upstream = connect(this.target, "127.0.0.1");
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(one);
      one.on("data", (data) => other.write(data));
      one.on("end", () => other.end());
      one.on("error", () => other.resetAndDestroy());
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  });

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as AddressInfo).port;
  }

  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  close(): void {
    this.#server.close();
    this.reset();
  }
}

/** Opens an EventSource in a page that notes each event. */
const SCRIPT = `
  globalThis.got = [];
  globalThis.source = new EventSource("/all");
  source.onopen = () => got.push("open");
  source.onmessage = ({ data, lastEventId }) => got.push(data.split("\\n")[0] + (lastEventId && "@"));
  source.onerror = () => got.push("error " + source.readyState);
  source.addEventListener("ringcast-close", ({ data }) => got.push("close " + JSON.parse(data).code));
`;

events(
  "Chromium's EventSource connects, returns after a reset and a restart, and stays away after 204",
  async () => {
    const cutter = new Cutter();
    await cutter.listen();
    const options = { handler: MODULE, port: 0, events: true } as const;
    let server = await serve(options);
    cutter.target = server.address.port as number;
    try {
      await withBrowser(async (browser) => {
        const page = await browser.open(`http://127.0.0.1:${cutter.port}/`, /ERR_|404|favicon/);
        await page.evaluate(SCRIPT);
        const got = (): Promise<string[]> => page.evaluate("globalThis.got") as Promise<string[]>;
        const ends = (...wanted: string[]): Promise<void> =>
          until(
            `the page gets ${wanted}`,
            async () => (await got()).slice(-wanted.length).join() === wanted.join(),
          );
        await ends("open", "events /all");
        server.broadcast("one");
        await ends("one@");
        cutter.reset();
        await ends("one@", "error 0", "open", "events /all@");
        await server.shutdown();
        await ends("close 1001", "error 0");
        server = await serve(options);
        cutter.target = server.address.port as number;
        await ends("open", "events /all@");
        server.broadcast("two");
        await ends("two@");
        await page.evaluate(
          'globalThis.source.close(); globalThis.source = new EventSource("/gone")',
        );
        await page.waitForFunction("globalThis.source.readyState === 2");
        await until("none is left", async () => (await server.stats()).eventStreams === 0);
      });
    } finally {
      cutter.close();
      await within(server.close(), "close");
    }
  },
);

events("a full server makes Chromium's EventSource try again until there is room", () =>
  withServer({ maxWebSockets: 1 }, async (server, url) => {
    const first = new Curl(`${url}/all`);
    await first.has("welcome");
    await withBrowser(async (browser) => {
      const page = await browser.open(`${url}/`, /favicon|404/);
      await page.evaluate(SCRIPT);
      await page.waitForFunction('globalThis.got.includes("error 0")');
      await first.end();
      await page.waitForFunction('globalThis.got.includes("events /all")');
      const { closed } = await server.stats();
      assert.ok((closed.NoRoom ?? 0) >= 1);
    });
  }),
);

events.run();
