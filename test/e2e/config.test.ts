// A folder and a configuration file on the command line: their responses, `--check`, and SIGHUP.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect as connectTls } from "node:tls";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { blocksOfPages, filesOf } from "../lib/readme";
import { zipOf } from "../lib/zip";
import { Command, ran } from "./command";
import { sleep, until } from "./peer";

const config = suite("config");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-config-"));
config.after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const full = path.join(folder, name);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

const pem = (name: string): string => readFileSync(`test/e2e/tls/${name}.pem`, "utf8");
file("public/index.html", "<h1>hello</h1>");
file("public/sub/a.txt", "a");
file("public/sub/index.html", "sub");
const HANDLER = `export default (server) => ({
  request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "text/plain", "VERSION")),
  open: (ws) => void ws.send("VERSION"),
});`;

/** Writes a configuration, and a handler that answers with a version. */
function write(name: string, options: object, version = "one"): string {
  file(`${name}.mjs`, HANDLER.replaceAll("VERSION", version));
  return file(`${name}.json`, JSON.stringify(options, undefined, 2));
}

const get = async (port: number, target = "/"): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}${target}`)).text();

config("a folder is served, with its index and without a handler", async () => {
  const command = new Command([path.join(folder, "public"), "--port", "0"]);
  const port = await command.port();
  assert.is(await get(port), "<h1>hello</h1>");
  assert.is(await get(port, "/sub/a.txt"), "a");
  const statuses = await Promise.all(
    [
      ["/none", "GET"],
      ["/", "POST"],
      ["/sub", "GET"],
    ].map(async ([target, method]) => {
      const url = `http://127.0.0.1:${port}${target}`;
      return (await fetch(url, { method: method as string, redirect: "manual" })).status;
    }),
  );
  assert.equal(statuses, [404, 405, 301]);
  command.signal("SIGTERM");
  assert.is((await command.ended()).code, 0);
});

config(
  "a file that ends with .json or .jsonc is a configuration, which flags override",
  async () => {
    const written = write("flags", { port: 1, handler: "flags.mjs", serverHeader: "file" });
    const jsonc = file("flags.jsonc", `// a comment\n${readFileSync(written, "utf8")}`);
    for (const one of [written, jsonc]) {
      const command = new Command([one, "--port", "0", "--server-header", "flag"]);
      const port = await command.port();
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      assert.equal([await answer.text(), answer.headers.get("server")], ["one", "flag"]);
      command.signal("SIGTERM");
      assert.is((await command.ended()).code, 0);
    }
  },
);

config("PORT is used unless the file says where to listen", async () => {
  const without = write("port", { handler: "port.mjs" });
  const first = new Command([without], { PORT: "0" });
  assert.ok((await first.port()) !== 8080);
  first.kill();
  const own = write("own", { handler: "own.mjs", path: "own.sock" });
  const second = new Command([own], { PORT: "0" });
  await second.prints(/live on unix:.*own\.sock\n/);
  second.kill();
});

config("--check exits with 0, or with 1 and one line that names the place", async () => {
  const right = write("right", { handler: "right.mjs", mounts: [{ path: "/f", files: "public" }] });
  const good = await ran([right, "--check"]);
  assert.equal([good.code, good.err], [0, ""]);
  assert.match(good.out, /right\.json: no fault found\n/);
  const wrong = await ran([write("wrong", { handler: "none.mjs" }), "--check"]);
  assert.equal([wrong.code, wrong.out], [1, ""]);
  assert.match(
    wrong.err,
    /^ringcast: \S*wrong\.json:2:3: handler: there is no file ".*none\.mjs"\n$/,
  );
  assert.is((await ran(["--check"])).code, 2);
  assert.is((await ran([path.join(folder, "public"), "--check"])).code, 0);
});

config("the example of the manual is right", async () => {
  const example = filesOf(blocksOfPages()).get("site.jsonc");
  assert.ok(example);
  const dir = path.join(folder, "example");
  mkdirSync(path.join(dir, "public"), { recursive: true });
  writeFileSync(
    path.join(dir, "docs.zip"),
    zipOf([{ name: "index.html", data: Buffer.from("docs") }]),
  );
  writeFileSync(path.join(dir, "404.html"), "none");
  writeFileSync(path.join(dir, "handler.mjs"), HANDLER);
  for (const name of ["key", "cert"]) writeFileSync(path.join(dir, `${name}.pem`), pem(name));
  const log = example.replace("/var/log/site.log", "site.log");
  writeFileSync(path.join(dir, "site.jsonc"), log);
  const { code, err } = await ran([path.join(dir, "site.jsonc"), "--check"]);
  assert.equal([code, err], [0, ""]);
});

config("a fault at the start names the place in the file, too", async () => {
  const throwing = file("throws.mjs", 'throw new Error("not today");');
  const written = file(
    "throws.json",
    JSON.stringify({ port: 0, handler: path.basename(throwing) }),
  );
  const { code, err } = await ran([written]);
  assert.is(code, 1);
  assert.match(err, /^ringcast: \S*throws\.json:1:11: handler: .*not today/);
});

config("SIGHUP changes live options and modules, and keeps WebSockets", async () => {
  const options = {
    port: 0,
    handler: "live.mjs",
    maxBodyLength: 10,
    accessLog: { file: "live.log" },
  };
  const written = write("live", options);
  const command = new Command([written]);
  const port = await command.port();
  const ws = new WebSocket(`ws://127.0.0.1:${port}`);
  const messages: string[] = [];
  ws.on("message", (data) => messages.push(String(data)));
  await until("a message", () => messages.length === 1);
  const post = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "x".repeat(20) })).status;
  assert.is(await post(), 413);
  const log = path.join(folder, "live.log");
  await until("a log", () => readFileSync(log, "utf8").includes("413"));
  rmSync(log);
  write("live", { ...options, maxBodyLength: 100 }, "two");
  command.signal("SIGHUP");
  await command.prints(/live\.json: reloaded\n/);
  assert.is(await get(port), "two");
  assert.is(await post(), 200);
  assert.ok(existsSync(log), "the access log was opened again");
  assert.equal([ws.readyState, messages], [WebSocket.OPEN, ["one"]]);
  ws.terminate();
  command.signal("SIGTERM");
  assert.is((await command.ended()).code, 0);
});

config("a reload with a fault changes nothing, and is one error", async () => {
  const options = { port: 0, handler: "all.mjs", maxBodyLength: 10 };
  const written = write("all", options);
  const command = new Command([written]);
  const port = await command.port();
  const wrong: [object, string, RegExp][] = [
    [{ ...options, maxBodyLength: -1 }, HANDLER, /all\.json:4:3: maxBodyLength: -1 is not a whole/],
    [{ ...options, maxBodyLength: 100, ring: "32MiB" }, HANDLER, /:5:3: ring: cannot change/],
    [{ ...options, maxBodyLength: 100 }, 'throw new Error("late");', /:3:3: handler: .*late/],
    [
      { ...options, maxBodyLength: 100, handler: "gone.mjs" },
      HANDLER,
      /:3:3: handler: there is no/,
    ],
  ];
  for (const [changed, handler, expected] of wrong) {
    command.err = "";
    write("all", changed);
    file("all.mjs", handler.replaceAll("VERSION", "two"));
    command.signal("SIGHUP");
    await command.prints(/everything stays as it was\n/);
    assert.match(command.err, expected);
    assert.is(command.err.split("\n").length, 3, command.err);
    assert.is(await get(port), "one");
    const answer = await fetch(`http://127.0.0.1:${port}/`, {
      method: "POST",
      body: "x".repeat(20),
    });
    assert.is(answer.status, 413);
  }
  file("all.json", "{");
  command.err = "";
  command.signal("SIGHUP");
  await command.prints(/everything stays as it was\n/);
  assert.match(command.err, /all\.json:1:2: close brace expected/);
  write("all", { ...options, maxBodyLength: 100 }, "three");
  command.signal("SIGHUP");
  await command.prints(/reloaded\n/);
  assert.is(await get(port), "three");
  command.signal("SIGTERM");
  assert.is((await command.ended()).code, 0);
});

/** Returns the fingerprint of the certificate that a server shows. */
function shown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

config("SIGHUP takes over a renewed certificate under the same path", async () => {
  file("key.pem", pem("key"));
  file("cert.pem", pem("cert"));
  const tls = { key: "key.pem", cert: "cert.pem" };
  const command = new Command([write("tls", { port: 0, tls, handler: "tls.mjs" })]);
  const port = await command.port();
  const before = await shown(port);
  file("cert.pem", pem("stranger"));
  command.signal("SIGHUP");
  await command.prints(/tls\.key: is not the private key of the certificate/);
  assert.is(await shown(port), before);
  // Both parts are in one file.
  file("key.pem", pem("renewed"));
  file("cert.pem", pem("renewed"));
  command.signal("SIGHUP");
  await command.prints(/reloaded\n/);
  assert.is.not(await shown(port), before);
  command.signal("SIGTERM");
  assert.is((await command.ended()).code, 0);
});

/** Seconds of the reloads under load; a full run takes a minute. */
const SECONDS = process.env.RINGCAST_MATRIX === "full" ? 60 : 4;

config(`SIGHUP every second fails no request in ${SECONDS} s of load`, async () => {
  const options = {
    ...{ port: 0, handler: "load.mjs", idleTimeout: 30, accessLog: { file: "load.log" } },
    mounts: [{ path: "/files", files: "public" }],
  };
  const command = new Command([write("load", options)]);
  const port = await command.port();
  let isOver = false;
  let requests = 0;
  const failures: string[] = [];
  const sockets = Array.from({ length: 10 }, () => new WebSocket(`ws://127.0.0.1:${port}`));
  for (const ws of sockets) ws.on("close", () => isOver || failures.push("a WebSocket closed"));
  const client = async (target: string, expected: RegExp): Promise<void> => {
    while (!isOver) {
      const text = await get(port, target).catch((error: Error) => `${error} ${error.cause}`);
      if (expected.test(text)) requests++;
      else failures.push(text);
    }
  };
  const clients = [
    ...Array.from({ length: 4 }, () => client("/", /^v\d+$|^one$/)),
    ...Array.from({ length: 4 }, () => client("/files/sub/a.txt", /^a$/)),
  ];
  for (let i = 1; i <= SECONDS; i++) {
    // The load continues between two reloads.
    await sleep(1000);
    write("load", { ...options, idleTimeout: 30 + i }, `v${i}`);
    command.out = "";
    command.signal("SIGHUP");
    await command.prints(/reloaded\n/);
    assert.is(await get(port), `v${i}`);
  }
  isOver = true;
  await Promise.all(clients);
  for (const ws of sockets) ws.terminate();
  assert.equal(failures.slice(0, 5), []);
  assert.ok(requests > SECONDS * 100, `${requests} requests`);
  console.log(`${requests} requests, ${SECONDS} reloads`);
  command.signal("SIGTERM");
  assert.is((await command.ended()).code, 0);
});

if (existsSync("/usr/bin/script"))
  config("a terminal that is closed ends the server in order", async () => {
    const written = write("terminal", {
      port: 0,
      handler: "terminal.mjs",
      accessLog: { file: "t.log" },
    });
    const line = `exec ${process.execPath} dist/cli.js ${written}`;
    const terminal = spawn("/usr/bin/script", ["-qec", line, "/dev/null"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let out = "";
    terminal.stdout.on("data", (bytes) => {
      out += bytes;
    });
    await until("a port", () => /live on \S*:\d+/.test(out));
    const port = Number(/live on \S*?:(\d+)/.exec(out.replaceAll("localhost", ""))?.[1]);
    assert.is(await get(port), "one");
    terminal.kill("SIGKILL");
    await until("the end of the server", async () =>
      get(port).then(
        () => false,
        () => true,
      ),
    );
    const log = path.join(folder, "t.log");
    // Its last lines are written at the end in order.
    const last = (): boolean => /"GET \/ HTTP\/1\.1" 200/.test(readFileSync(log, "utf8"));
    await until("the last line", last);
  });

config.run();
