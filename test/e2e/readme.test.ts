// The examples of the README and of the pages that it links, as they are written there: each file is run, each part is
// type-checked against the published types.
//
// Invariant: ports and times are all that is changed of an example; a file that no test here has taken is a failure.

import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import path from "node:path";
import * as nodeTls from "node:tls";
import { type Server, serve } from "ringcast";
import ts from "typescript";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { toolPath } from "../../.scripts/tools.mjs";
import { withBrowser } from "../lib/browser";
import { HANDSHAKE } from "../lib/handshake";
import { blocksOfPages, commandsOf, filesOf, wayOf } from "../lib/readme";
import { planTable } from "../lib/tables";
import { httpUrl, serving, until, within } from "./peer";
import { portOf } from "../lib/port";

const readme = suite("README");
const root = process.cwd();
const blocks = blocksOfPages();
const files = filesOf(blocks);
/** Run by other tests, which read them from the README. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "site.jsonc": "test/e2e/config.test.ts",
  "vite.config.js": "test/runtimes/package.test.ts",
};
const taken = new Set<string>();

/** Creates a folder with files of the README, changed where they have to be. */
function folderOf(
  name: string,
  names: readonly string[],
  change = (text: string): string => text,
): string {
  const dir = path.join(root, ".cache/readme", name);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  for (const file of names) {
    const text = files.get(file);
    if (text === undefined) throw new Error(`no page has ${file}`);
    taken.add(file);
    writeFileSync(path.join(dir, file), change(text.replace(/port: \d+/, "port: 0")));
  }
  return dir;
}

/** A program of the README's while it runs. */
class Program {
  output = "";
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(dir: string, args: readonly string[], env = {}, fds: readonly number[] = []) {
    const stdio: StdioOptions = ["ignore", "pipe", "pipe", ...fds];
    this.#child = spawn(process.execPath, args, {
      cwd: dir,
      env: { ...process.env, ...env },
      stdio,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (bytes) => {
        this.output += bytes;
      });
    }
    this.ended = new Promise((resolve) => this.#child.once("close", (code) => resolve(code)));
  }

  /** The port that it says. */
  async port(): Promise<number> {
    let port = 0;
    const ended = this.ended.then((code) => {
      throw new Error(`the example ended with ${code}: ${this.output}`);
    });
    const said = until("the example says where it listens", () => {
      port = Number(/\/\/localhost:(\d+)/.exec(this.output)?.[1] ?? 0);
      return port > 0;
    });
    await Promise.race([said, ended]);
    ended.catch(() => undefined);
    return port;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(): Promise<void> {
    this.kill("SIGKILL");
    await this.ended;
  }
}

/** Runs an example, whose first file says where it listens. */
async function running(
  name: string,
  names: readonly string[],
  body: (port: number, program: Program) => Promise<void>,
): Promise<void> {
  const program = new Program(folderOf(name, names), [names[0] as string]);
  try {
    await body(await program.port(), program);
    assert.is(program.output.split("\n").length, 2, program.output);
  } finally {
    await program.end();
  }
}

/** Returns a WebSocket's first messages; `send` is sent when it opens. */
async function listen(url: string, count: number, send?: string): Promise<string[]> {
  const socket = new WebSocket(url);
  const messages: string[] = [];
  const all = new Promise<void>((resolve, reject) => {
    socket.on("open", () => {
      if (send !== undefined) socket.send(send);
    });
    socket.on("message", (data) => {
      messages.push(String(data));
      if (messages.length === count) resolve();
    });
    socket.on("error", reject);
  });
  await within(all, `${count} messages of ${url}`);
  socket.terminate();
  return messages;
}

const text = async (port: number, target = "/", init?: RequestInit): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}${target}`, init)).text();

/** Returns the output of a program that ends by itself. @param before modules that are imported first */
async function printed(dir: string, file: string, before = ""): Promise<string> {
  const program = new Program(dir, [...(before ? ["--import", before] : []), file]);
  const code = await within(program.ended, file);
  assert.is(code, 0, program.output);
  return program.output;
}

// ---- the examples, in their order ------------------------------------------------------------------------

readme("the first one shows the time on a page, ten times a second, in every tab", () =>
  running("first", ["app.mjs", "page.html"], (port) =>
    withBrowser(async (browser) => {
      const tabs = [];
      for (let i = 0; i < 2; i++) tabs.push(await browser.open(`http://localhost:${port}/`));
      for (const tab of tabs) {
        const seen = new Set<string>();
        const heading = tab.locator("h1");
        await until("the time goes on", async () => {
          seen.add((await heading.textContent()) ?? "");
          return seen.size > 4;
        });
        seen.delete("connecting");
        for (const time of seen) assert.match(time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      }
    }),
  ),
);

readme("a handler on the application's thread is a chat", () =>
  running("chat", ["chat.mjs"], async (port) => {
    const messages = await listen(`ws://127.0.0.1:${port}/?ada`, 2, "hello");
    assert.equal(messages, ["0 lines so far", "ada: hello"]);
    assert.is(await text(port), "ada: hello");
  }),
);

readme("a recipe sets headers and cookies, answers JSON, and serves files", async () => {
  const dir = folderOf("recipes", ["recipes.mjs"]);
  mkdirSync(path.join(dir, "public"));
  writeFileSync(path.join(dir, "public/index.html"), "<title>recipes</title>");
  writeFileSync(path.join(dir, "public/a.css"), "p {}");
  writeFileSync(path.join(dir, "secret"), "secret");
  const program = new Program(dir, ["recipes.mjs"]);
  try {
    const url = `http://127.0.0.1:${await program.port()}`;
    const login = (body: string): Promise<Response> =>
      fetch(`${url}/login`, { method: "POST", body });
    const answer = await login('{"name":"Ada & Bob"}');
    assert.equal([answer.status, await answer.json()], [201, { hello: "Ada & Bob" }]);
    const [cookie = ""] = answer.headers.getSetCookie();
    assert.is(cookie, "name=Ada%20%26%20Bob; HttpOnly; SameSite=Lax; Path=/");
    assert.is((await login("{")).status, 400);
    const headers = { Cookie: `theme=dark; ${cookie.split(";")[0]}` };
    const me = await fetch(`${url}/me`, { headers });
    assert.equal(
      [me.headers.get("cache-control"), await me.json()],
      ["no-store", { name: "Ada & Bob" }],
    );
    assert.equal(await (await fetch(`${url}/me`)).json(), { name: null });
    const page = await fetch(url);
    assert.is(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.is(await page.text(), "<title>recipes</title>");
    assert.is((await fetch(`${url}/a.css`)).headers.get("content-type"), "text/css; charset=utf-8");
    for (const target of ["/b.css", "/%2e%2e/secret", "/..%2fsecret"])
      assert.is((await fetch(url + target)).status, 404, target);
  } finally {
    await program.end();
  }
});

readme("a server with a timer ends in order at SIGTERM, and so does its process", () =>
  running("stop", ["stop.mjs", "handler.mjs"], async (port, program) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    const ticked = new Promise((resolve) => socket.once("message", resolve));
    await within(ticked, "a tick");
    program.kill("SIGTERM");
    assert.is(await within(closed, "a Close"), 1001);
    assert.is(await within(program.ended, "its end"), 0, program.output);
  }),
);

readme("Next.js starts a server beside it once, and its routes publish", async () => {
  const dir = folderOf("next", ["instrumentation.js"]);
  const { register } = await import(path.join(dir, "instrumentation.js"));
  const shared = globalThis as { stream?: Server | undefined };
  const env = process.env as { NEXT_RUNTIME?: string | undefined };
  try {
    env.NEXT_RUNTIME = "edge";
    await register();
    assert.is(shared.stream, undefined);
    env.NEXT_RUNTIME = "nodejs";
    await register();
    const server = shared.stream as Server;
    await register();
    assert.is(shared.stream, server);
    const origin = "http://localhost:3000";
    const socket = new WebSocket(`ws://127.0.0.1:${server.address.port}/`, { origin });
    const message = new Promise((resolve) =>
      socket.once("message", (data) => resolve(String(data))),
    );
    await within(new Promise((resolve) => socket.once("open", resolve)), "its opening");
    await until("the server counts it", async () => (await server.count()) === 1);
    assert.ok(server.broadcast("said"));
    assert.is(await within(message, "a message"), "said");
    socket.terminate();
  } finally {
    env.NEXT_RUNTIME = undefined;
    await shared.stream?.close();
    shared.stream = undefined;
  }
});

/** Globals that vitest and jest provide. */
const RUNNER = `data:text/javascript,${encodeURIComponent(`
  import assert from 'node:assert/strict';
  globalThis.expect = (actual) => ({ toEqual: (expected) => assert.deepEqual(actual, expected) });
  globalThis.test = async (name, body) => console.log(name, await body() ?? "passes");
`)}`;

readme("a test of vitest or jest has a server in memory", async () => {
  const dir = folderOf("vitest", ["echo.test.js"]);
  assert.is(await printed(dir, "echo.test.js", RUNNER), "echoes passes\n");
});

readme("a pool hashes", () =>
  running("pool", ["hash.mjs", "work.mjs"], async (port) =>
    assert.match(await text(port, "/", { method: "POST", body: "secret" }), /^[0-9a-f]{64}$/),
  ),
);

readme("rooms are topics", () =>
  running("rooms", ["rooms.mjs"], async (port) => {
    const messages = await listen(`ws://127.0.0.1:${port}/?lobby`, 2, "to nobody else");
    assert.is(messages[0], "welcome to lobby");
    assert.match(messages[1] as string, /^it is \d{4}-/);
  }),
);

readme("events reach a page's EventSource", () =>
  running("news", ["news.mjs"], async (port) => {
    await withBrowser(async (browser) => {
      const page = await browser.open(`http://127.0.0.1:${port}/`, /favicon/);
      const shows = (what: string): Promise<unknown> =>
        page.waitForFunction(`document.querySelector("pre").textContent.includes("${what}")`);
      await shows("a snapshot");
      await shows(`${new Date().getUTCFullYear()}-`);
    });
  }),
);

/** Reads an event stream until it has some text, then breaks it off. @param since the last event that the client has */
async function eventsUntil(port: number, text: string, since = ""): Promise<string> {
  const abort = new AbortController();
  const headers = since === "" ? {} : { "Last-Event-ID": since };
  const init = { headers, signal: abort.signal };
  const response = await fetch(`http://127.0.0.1:${port}/events`, init);
  let got = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    got += decoder.decode(bytes, { stream: true });
    if (got.slice(0, got.lastIndexOf("\n\n") + 1).includes(text)) break;
  }
  abort.abort();
  return got;
}

readme("a client that returns has missed nothing", () =>
  running("ticks", ["ticks.mjs"], async (port) => {
    const ticks = /id: (\S+)\ndata: tick (\d+)\n\n/g;
    const first = await eventsUntil(port, "data: tick ");
    assert.match(first, "data: a snapshot\n");
    const [, id, last] = [...first.matchAll(ticks)].at(-1) ?? [];
    const tick = Number(last);
    // Ticks are published while the client is away.
    await until("there are more ticks", async () => {
      const other = await eventsUntil(port, "data: tick ");
      return Number([...other.matchAll(ticks)].at(-1)?.[2]) > tick + 2;
    });
    const second = await eventsUntil(port, `data: tick ${tick + 4}\n`, id);
    const numbers = [...second.matchAll(ticks)].map(([, , number]) => Number(number));
    assert.equal(numbers.slice(0, 4), [tick + 1, tick + 2, tick + 3, tick + 4]);
    assert.not.match(second, "a snapshot");
    assert.not.match(second, "ringcast-gap");
  }),
);

readme("subprotocols have modules", () =>
  running("protocols", ["protocols.mjs", "chat-protocol.mjs"], async (port) => {
    const first = async (protocols: string[], say?: string): Promise<[string, string]> => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/?ada`, protocols);
      socket.once("open", () => say && socket.send(say));
      const message = new Promise((resolve) => socket.once("message", resolve));
      const text = String(await within(message, "a message"));
      socket.terminate();
      return [socket.protocol, text];
    };
    assert.equal(await first(["x", "chat"]).catch(String), ["chat", "hello stranger"]);
    assert.equal(await first([], "again"), ["", "again"]);
    assert.is(await text(port), "Connect with a WebSocket.\n");
  }),
);

readme("another thread publishes", () =>
  running("ticker", ["ticker.mjs", "handler.mjs"], async (port) => {
    const messages = await listen(`ws://127.0.0.1:${port}/`, 3);
    assert.equal(new Set(messages), new Set(["from another thread"]));
    assert.is(await text(port), "Connect with a WebSocket.\n");
  }),
);

/** Runs a server in this process with a handler of the README's. */
async function served(dir: string, file: string, body: (server: Server) => Promise<void>) {
  const handler = new URL(`file://${path.join(dir, file)}`);
  const server = await serve({ port: 0, handler });
  try {
    await body(server);
  } finally {
    await server.close();
  }
}

readme("an upload is counted as it comes", () =>
  served(folderOf("upload", ["upload.mjs"]), "upload.mjs", async (server) => {
    const port = portOf(server);
    const body = new Uint8Array(3_000_000);
    assert.is(await text(port, "/upload", { method: "POST", body }), "3000000\n");
    assert.is((await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body })).status, 413);
  }),
);

readme("the plan is the table's", async () => {
  const output = await printed(folderOf("plan", ["plan.mjs"]), "plan.mjs");
  const [total = "", descriptors = ""] = (output.trim().split("\n").at(-1) ?? "").split(" ");
  const table = planTable();
  assert.ok(
    table.includes(`**${(Number(total) / 1048576).toFixed(2)} MiB**`),
    `${total}\n${table}`,
  );
  assert.ok(table.includes(`${Number(descriptors).toLocaleString("en")} descriptors`));
});

/** Arguments of the README's commands that begin so, with another port in them. */
function argumentsOf(start: string, port: number): string[] {
  const commands = blocks.filter((block) => wayOf(block) === "commands").flatMap(commandsOf);
  const found = commands.filter((command) => command.startsWith(`npx ringcast${start}`));
  assert.is(found.length, 1, start);
  const [, , ...words] = (found[0] as string).replace("8080", String(port)).split(/ +/);
  return [path.join(root, "dist/cli.js"), ...words];
}

readme("the command line serves, plans, loads and shows live figures", async () => {
  const dir = folderOf("cli", ["handler.mjs"]);
  const server = new Program(dir, argumentsOf(" handler.mjs --port", 0));
  try {
    const port = await server.port();
    for (const name of ["key.pem", "cert.pem"])
      cpSync(path.join(root, "test/e2e/tls", name), path.join(dir, name));
    const some = argumentsOf(" handler.mjs --listen", 0).map((one) => one.replace(/:\d+$/, ":0"));
    const several = new Program(dir, some);
    await until("both", () => /http:\S+\n.*https:\S+\n/.test(several.output));
    await several.end();
    const does = async (start: string, change = (one: string): string => one): Promise<string> => {
      const program = new Program(dir, argumentsOf(start, port).map(change));
      assert.is(await within(program.ended, start), 0, program.output);
      return program.output;
    };
    assert.match(await does(" plan"), /Horizon[\s\S]* s /);
    const few: Readonly<Record<string, string>> = { "1000": "5", "10": "1", "30": "1" };
    assert.match(await does(" load", (one) => few[one] ?? one), /5 of 5, 1 slow/);
    // Without --watch: once.
    assert.match(
      await does(" stats", (one) => (one === "--watch" ? "--interval=1s" : one)),
      /websockets/i,
    );
    server.kill("SIGTERM");
    assert.is(await within(server.ended, "its end"), 0, server.output);
  } finally {
    await server.end();
  }
});

readme("a web-standard handler is Hono's", () =>
  running("hono", ["hono.mjs"], async (port) => {
    assert.equal(JSON.parse(await text(port, "/hello/ada")), { hello: "ada" });
    assert.equal(await listen(`ws://127.0.0.1:${port}/chat?name=ada`, 1, "hi"), ["ada: hi"]);
  }),
);

/** Returns a free port, for programs that cannot report the one they took. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => void server.close(resolve));
  return port;
}

readme(
  "with nginx in front, pages connect through it, and clients have their own addresses",
  async () => {
    const program = toolPath("nginx");
    const front = await freePort();
    const server = await serve({
      port: 0,
      trustProxy: ["loopback"],
      handler: {
        request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "", req.remoteAddress)),
        open: (ws) => ws.send(ws.remoteAddress),
      },
    });
    const dir = folderOf("nginx", ["nginx.conf"], (conf) =>
      conf
        .replace("127.0.0.1:8080", `127.0.0.1:${server.address.port}`)
        .replace("listen 80", `listen 127.0.0.1:${front}`),
    );
    const own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (one) => `${one}_temp_path ${dir}/${one};`,
    );
    writeFileSync(
      path.join(dir, "main.conf"),
      `daemon off; master_process off; pid ${dir}/pid; error_log stderr;
    events {} http { access_log off; ${own.join(" ")} include ${dir}/nginx.conf; }`,
    );
    const nginx = spawn(program, ["-p", dir, "-c", "main.conf"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    nginx.stderr.on("data", (bytes) => {
      said += bytes;
    });
    const failed = new Promise<never>((_, reject) => {
      nginx.once("error", reject);
      nginx.once("exit", (code) => reject(new Error(`nginx ended with ${code}: ${said}`)));
    });
    failed.catch(() => undefined);
    try {
      const from = { headers: { "X-Forwarded-For": "10.1.2.3, 203.0.113.7" } };
      const answered = until(
        "nginx answers",
        async () => (await text(front, "/", from).catch(() => "")) === "203.0.113.7",
      );
      await Promise.race([answered, failed]);
      const socket = new WebSocket(`ws://127.0.0.1:${front}/`, {
        ...from,
        origin: `http://127.0.0.1:${front}`,
      });
      const address = new Promise((resolve, reject) => {
        socket.on("message", (data) => resolve(String(data)));
        socket.on("error", reject);
      });
      assert.is(await within(address, "a message through nginx"), "203.0.113.7");
      socket.terminate();
    } finally {
      nginx.removeAllListeners("exit");
      nginx.kill("SIGKILL");
      await server.close();
    }
  },
);

/** Returns the name of the certificate that a server shows to a client that asks for a host. */
function shown(port: number, servername: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = nodeTls.connect(
      { port, host: "127.0.0.1", servername, rejectUnauthorized: false },
      () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? "");
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

readme("TLS has a certificate for each host, and takes new ones", async () => {
  const dir = folderOf("secure", ["secure.mjs", "handler.mjs"]);
  const put = (file: string, name: string): void =>
    cpSync(`test/e2e/tls/${file}.pem`, path.join(dir, name));
  for (const [file, name] of [
    ["key", "default.key"],
    ["cert", "default.crt"],
  ] as const)
    put(file, name);
  for (const [file, name] of [
    ["one", "a"],
    ["two", "b"],
  ] as const) {
    put(file, `${name}.key`);
    put(file, `${name}.crt`);
  }
  const program = new Program(dir, ["secure.mjs"]);
  try {
    const port = await program.port();
    const names = ["elsewhere.example", "a.example", "x.b.example"];
    const before = await Promise.all(names.map((name) => shown(port, name)));
    assert.is(new Set(before).size, 3);
    put("renewed", "a.key");
    put("renewed", "a.crt");
    program.kill("SIGHUP");
    await until("the new certificate is shown", async () => {
      const now = await shown(port, "a.example");
      return now !== before[1] && !before.includes(now);
    });
  } finally {
    await program.end();
  }
});

readme(
  "a restart sends its clients away one after the other, on a socket that it was given",
  async () => {
    const dir = folderOf("restart", ["restart.mjs", "handler.mjs"], (one) =>
      one.replace("drainMs: 20000", "drainMs: 500"),
    );
    const listener = createServer();
    await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
    const { port } = listener.address() as AddressInfo;
    const { fd } = (listener as unknown as { _handle: { fd: number } })._handle;
    const given = new Program(dir, ["restart.mjs"], { LISTEN_FDS: "1" }, [fd]);
    await new Promise((resolve) => void listener.close(resolve));
    const alone = new Program(dir, ["restart.mjs"]);
    try {
      assert.is(await given.port(), port);
      for (const [program, signal, code] of [
        [given, "SIGTERM", 1012],
        [alone, "SIGINT", 1001],
      ] as const) {
        const sockets = [1, 2, 3].map(
          async () => new WebSocket(`ws://127.0.0.1:${await program.port()}`),
        );
        const closed = (await Promise.all(sockets)).map(async (socket) => {
          const end = new Promise<number>((resolve) => socket.once("close", resolve));
          await new Promise((resolve) => socket.once("open", resolve));
          return { end };
        });
        const ends = await Promise.all(closed);
        program.kill(signal);
        for (const { end } of ends) assert.is(await within(end, "a Close"), code);
        assert.is(await within(program.ended, "its end"), 0, program.output);
      }
    } finally {
      await given.end();
      await alone.end();
    }
  },
);

readme("a server in memory is tested", async () => {
  assert.is(await printed(folderOf("testing", ["testing.mjs"]), "testing.mjs"), "all is well\n");
});

readme("a page tests its front end", () => {
  // The page as it is, but for the place of the package; and with a look at what the test leaves behind.
  const dir = folderOf("browser", ["handler.mjs", "chat.test.js", "tests.html"], (text) =>
    text.replace("./node_modules/ringcast/dist/", "/files/dist/"),
  );
  const html = readFileSync(path.join(dir, "tests.html"), "utf8");
  const plain = '<script type="module" src="./chat.test.js"></script>';
  assert.ok(html.includes(plain) && html.includes('"/files/dist/browser.js"'));
  writeFileSync(
    path.join(dir, "tests.html"),
    html.replace(
      plain,
      `<script>Object.assign(globalThis, { before: [fetch, WebSocket] });</script>${plain}<script type="module">
        globalThis.restored = before[0] === fetch && before[1] === WebSocket;
      </script>`,
    ),
  );
  return serving("pages", {}, (_server, port) =>
    withBrowser(async (browser) => {
      const page = await browser.open(httpUrl(port, "/files/.cache/readme/browser/tests.html"));
      await page.waitForFunction(() => "restored" in globalThis);
      assert.ok(await page.evaluate(() => (globalThis as { restored?: boolean }).restored));
    }),
  );
});

/** Nothing but what every runtime has. */
const BARE = `data:text/javascript,${encodeURIComponent(
  "delete globalThis.Buffer; delete globalThis.setImmediate; delete globalThis.require;",
)}`;

readme("the engine alone serves requests and echoes", async () => {
  const dir = folderOf("engine", ["engine.mjs"]);
  const script = `
    import { serve } from "./engine.mjs";
    const pipe = () => {
      const [up, down] = [new TransformStream(), new TransformStream()];
      return [{ readable: up.readable, writable: down.writable }, up.writable.getWriter(), down.readable];
    };
    const text = async (readable, enough) => {
      let all = "";
      for await (const bytes of readable) {
        all += Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
        if (enough(all)) break;
      }
      return all;
    };
    const octets = (string) => Uint8Array.from(string, (character) => character.charCodeAt(0));
    const [end, writer, readable] = pipe();
    serve(end).catch(() => {});
    await writer.write(octets("GET /a HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n"));
    console.log((await text(readable, () => false)).split("\\r\\n\\r\\n")[1].trim());
    await writer.close();
    const [end2, writer2, readable2] = pipe();
    serve(end2).catch(() => {});
    await writer2.write(octets(${JSON.stringify(HANDSHAKE)} + "\\x81\\x85\\0\\0\\0\\0hello"));
    console.log((await text(readable2, (all) => all.endsWith("hello"))).slice(-5));
    await writer2.write(octets("\\x88\\x82\\0\\0\\0\\0\\x03\\xe8"));
    await writer2.close();
    setTimeout(() => process.exit(0), 200);
  `.replaceAll("\\\\", "\\");
  writeFileSync(path.join(dir, "main.mjs"), script);
  const lines = (await printed(dir, "main.mjs", BARE)).split("\n");
  assert.equal(lines.slice(0, 2), ["hello /a", "0 Ok"]);
});

// ---- types -----------------------------------------------------------------------------------------------

/** Names that parts of examples take from around them. */
const AROUND = `
declare const { serve }: typeof import("ringcast");
declare const server: import("ringcast").Server;
declare const handler: import("ringcast").Handler;
declare const tls: import("ringcast").TlsOptions;
declare const message: string;
declare const n: number;
declare const pino: typeof import("pino").default;
declare const rows: Uint8Array[];
declare function latest(): Promise<{ price: number }>;
declare function query(name: string | Uint8Array): Promise<string[]>;
declare function test(name: string, body: () => Promise<void>): void;
declare function expect(actual: unknown): { toEqual(expected: unknown): void };
declare function authenticate(cookie: string | undefined): Promise<{ name: string } | undefined>;
`;

/** Returns an example as TypeScript: the user's own, such as \`ws.data\`, is anything. */
function typed(source: string): string {
  const isHandler = /^export default (\{|\()/m.test(source) && !source.includes("vite");
  const own = source
    .replace(/(from "ringcast";[\s\S]*)await serve\(/, "$1await serve<any>(")
    .replace("new EngineDriver(", "new EngineDriver<any>(")
    .replaceAll("new Promise(", "new Promise<any>(")
    .replace("new Hono()", 'new Hono<{ Bindings: import("ringcast/fetch").FetchInfo<any> }>()');
  const satisfied = own.replace(/;\s*$/, ' satisfies import("ringcast").HandlerModule<any>;\n');
  return `${isHandler ? satisfied : own}\nexport {};\n`;
}

/** Returns the paths of the types of the package's entry points. */
function typePaths(): Record<string, string[]> {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  return Object.fromEntries(
    Object.entries<{ types?: string }>(exports).flatMap(([name, { types }]) =>
      types ? [[name.replace(/^\./, "ringcast"), [path.join(root, types)]]] : [],
    ),
  );
}

/** Returns the type errors of files, for programs that have these libraries. */
function complaints(names: readonly string[], lib: readonly string[]): string[] {
  const program = ts.createProgram(names, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts", ...lib],
    types: ["node"],
    skipLibCheck: true,
    noEmit: true,
    paths: typePaths(),
  });
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start).line : 0;
    const where = file ? `${path.basename(file.fileName)}, +${line + 1}` : "";
    return `${where}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
}

readme("examples and parts of them have the types that are published", () => {
  const dir = path.join(root, ".cache/readme/types");
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const around = path.join(dir, "around.d.ts");
  writeFileSync(around, AROUND);
  const onServers = [around];
  const inPages: string[] = [];
  for (const { language, page, line, text } of blocks) {
    if (!["js", "ts"].includes(language)) continue;
    const name = path.join(dir, `${page.replaceAll("/", "-")}-line-${line}.ts`);
    writeFileSync(name, typed(text));
    (text.includes('"ringcast/browser"') ? inPages : onServers).push(name);
  }
  assert.ok(onServers.length > 15 && inPages.length > 0);
  assert.equal(complaints(onServers, []), []);
  assert.equal(complaints(inPages, ["lib.dom.d.ts"]), []);
});

readme("no example is left out", () => {
  for (const block of blocks) wayOf(block);
  const left = [...files.keys()].filter((name) => !taken.has(name) && !(name in ELSEWHERE));
  assert.equal(left, []);
  for (const [name, test] of Object.entries(ELSEWHERE))
    assert.ok(readFileSync(test, "utf8").includes(name), `${test} has no ${name}`);
});

readme.run();
