// Mounts: files of a folder and of a module, redirects and handlers below paths, in front of the handler, in each of
// its placements.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { brotliCompressSync, gunzipSync, gzipSync } from "node:zlib";
import { type MountOptions, type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { portOf } from "../lib/port";
import { zipOf } from "../lib/zip";
import { fileUrl, handlerOf, sleep, until, within } from "./peer";

const mounts = suite("mounts");

const folder = mkdtempSync(path.join(tmpdir(), "ringcast-mounts-"));
const site = path.join(folder, "site");
/** Time of the files, so that they are older than a second. */
const WHEN = new Date("2026-01-02T03:04:05Z");

function write(name: string, content: string | Uint8Array, when = WHEN): void {
  const file = path.join(site, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  utimesSync(file, when, when);
}

const LARGE = Buffer.from(Array.from({ length: 300000 }, (_, i) => i % 251));
const SCRIPT = "export const x = 1;\n".repeat(100);

write("index.html", "<!doctype html><p>home");
write("a.txt", "the text of a");
write("empty.txt", "");
write("large.bin", LARGE);
write("sub/index.html", "<p>sub");
write("bare/x.txt", "x");
write("app.js", SCRIPT);
write("app.js.br", brotliCompressSync(SCRIPT));
write("app.js.gz", gzipSync(SCRIPT));
write("old.css", "a{}");
write("old.css.gz", gzipSync("b{}"), new Date(WHEN.getTime() - 5000));
write("assets/logo.abc123.svg", "<svg/>");
write("notes.md", "# notes");
write("with space & ü.txt", "a name");
write(".env", "SECRET=1");
write(".well-known/security.txt", "Contact: a");
write("private/a.txt", "for ann");
writeFileSync(path.join(folder, "outside.txt"), "outside");
symlinkSync(path.join(folder, "outside.txt"), path.join(site, "link-out.txt"));
symlinkSync("a.txt", path.join(site, "link-in.txt"));
symlinkSync(".env", path.join(site, "link-hidden.txt"));
symlinkSync("loop", path.join(site, "loop"));
execFileSync("mkfifo", [path.join(site, "fifo")]);

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

let port = 0;

function ask(
  target: string,
  headers: http.OutgoingHttpHeaders = {},
  method = "GET",
  body?: string,
): Promise<Answer> {
  const answered = new Promise<Answer>((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path: target, method, headers, agent: false };
    const request = http.request(options, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode = 0 } = response;
        resolve({ status: statusCode, headers: response.headers, body: Buffer.concat(pieces) });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
  return within(answered, `${method} ${target}`);
}

/** Sends octets as they are. @returns the status */
function askRaw(target: string): Promise<number> {
  const answered = new Promise<number>((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("error", reject);
    socket.once("data", (bytes) => {
      socket.destroy();
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(bytes.toString("latin1"))?.[1]));
    });
    socket.write(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, "latin1"));
  });
  return within(answered, target);
}

const PLACEMENTS: Readonly<Record<string, () => Promise<Options>>> = {
  worker: async () => ({ handler: fileUrl("handlers/mounts.mjs") }),
  application: async () => ({ handler: await handlerOf("mounts", "application") }),
  pool: async () => ({ handler: fileUrl("handlers/mounts.mjs"), pool: { threads: 1 } }),
};

const errors: string[] = [];

async function serving(
  list: readonly MountOptions[],
  body: (server: Server) => Promise<void>,
  options: Options = {},
): Promise<void> {
  errors.length = 0;
  const onError = (error: Error, where: string): void => {
    errors.push(`${where}: ${error.message}`);
  };
  const server = await within(serve({ port: 0, mounts: list, onError, ...options }), "serve");
  port = portOf(server);
  try {
    await body(server);
  } finally {
    await within(server.close(), "close");
  }
}

const ROOT: MountOptions = { path: "/", files: site };

mounts("a file has its type, length and validators", () =>
  serving([ROOT], async () => {
    const { status, headers, body } = await ask("/a.txt");
    assert.is(status, 200);
    assert.is(body.toString(), "the text of a");
    assert.is(headers["content-type"], "text/plain; charset=utf-8");
    assert.is(headers["content-length"], "13");
    assert.is(headers["last-modified"], WHEN.toUTCString());
    assert.is(headers["cache-control"], "public, max-age=0");
    assert.is(headers["accept-ranges"], "bytes");
    assert.match(headers.etag ?? "", /^"[!#-~]+"$/);
    assert.is(headers.vary, undefined);
    const head = await ask("/a.txt", {}, "HEAD");
    assert.is(head.status, 200);
    assert.is(head.headers["content-length"], "13");
    assert.is(head.headers.etag, headers.etag);
    assert.is(head.body.length, 0);
    for (const [target, type, text] of [
      ["/", "text/html; charset=utf-8", "<!doctype html><p>home"],
      ["/sub/", "text/html; charset=utf-8", "<p>sub"],
      ["/empty.txt", "text/plain; charset=utf-8", ""],
      ["/with%20space%20&%20%C3%BC.txt", "text/plain; charset=utf-8", "a name"],
      ["/link-in.txt", "text/plain; charset=utf-8", "the text of a"],
      ["/.well-known/security.txt", "text/plain; charset=utf-8", "Contact: a"],
      ["/assets/logo.abc123.svg?v=1", "image/svg+xml; charset=utf-8", "<svg/>"],
    ] as const) {
      const one = await ask(target);
      assert.is(one.status, 200, target);
      assert.is(one.headers["content-type"], type, target);
      assert.is(one.body.toString(), text, target);
    }
  }),
);

mounts("a large file is sent in pieces, or a range of it", () =>
  serving([ROOT], async () => {
    const whole = await ask("/large.bin");
    assert.is(whole.status, 200);
    assert.is(whole.headers["content-length"], "300000");
    assert.is(whole.headers["content-type"], "application/octet-stream");
    assert.ok(whole.body.equals(LARGE));
    for (const [range, start, end] of [
      ["bytes=0-", 0, 300000],
      ["bytes=100000-299998", 100000, 299999],
      ["bytes=-70000", 230000, 300000],
      ["bytes=65535-65536", 65535, 65537],
    ] as const) {
      const { status, headers, body } = await ask("/large.bin", { range });
      assert.is(status, 206);
      assert.is(headers["content-range"], `bytes ${start}-${end - 1}/300000`);
      assert.is(headers["content-length"], String(end - start));
      assert.ok(body.equals(LARGE.subarray(start, end)), range);
    }
    const small = await ask("/a.txt", { range: "bytes=4-7" });
    assert.equal([small.status, small.body.toString()], [206, "text"]);
    for (const target of ["/large.bin", "/a.txt"]) {
      const none = await ask(target, { range: "bytes=300000-" });
      assert.is(none.status, 416);
      const size = target === "/a.txt" ? 13 : 300000;
      assert.is(none.headers["content-range"], `bytes */${size}`);
      const head = await ask(target, { range: "bytes=0-1" }, "HEAD");
      assert.equal([head.status, head.headers["content-length"]], [200, String(size)]);
      const { etag = "" } = head.headers;
      assert.is((await ask(target, { "if-none-match": etag })).status, 304);
      assert.is((await ask(target, { "if-modified-since": WHEN.toUTCString() })).status, 304);
      assert.is((await ask(target, { "if-match": '"x"' })).status, 412);
      assert.is((await ask(target, { range: "bytes=0-1", "if-range": '"x"' })).status, 200);
      assert.is((await ask(target, { range: "bytes=0-1", "if-range": etag })).status, 206);
    }
    assert.equal(errors, []);
  }),
);

mounts("a client gets the coding that it prefers", () =>
  serving([ROOT], async () => {
    const of = (coding: string): Promise<Answer> => ask("/app.js", { "accept-encoding": coding });
    const tags = new Set<string | undefined>();
    for (const [accepted, coding] of [
      ["gzip, deflate, br", "br"],
      ["gzip", "gzip"],
      ["br;q=0.5, gzip;q=0.8", "gzip"],
      ["br;q=0, gzip", "gzip"],
      ["*", "br"],
      ["identity, *;q=0", undefined],
      ["br;q=0, gzip;q=0", undefined],
      ["deflate", undefined],
      ["", undefined],
    ] as const) {
      const { status, headers, body } = await of(accepted);
      assert.is(status, 200);
      assert.is(headers["content-encoding"], coding, accepted);
      assert.is(headers.vary, "Accept-Encoding");
      assert.is(headers["content-type"], "text/javascript; charset=utf-8");
      if (coding === "gzip") assert.is(gunzipSync(body).toString(), SCRIPT);
      if (coding === undefined) assert.is(body.toString(), SCRIPT);
      tags.add(headers.etag);
    }
    assert.is(tags.size, 3, "each coding has an entity tag of its own");
    const stale = await ask("/old.css", { "accept-encoding": "gzip" });
    assert.is(stale.headers["content-encoding"], undefined, "it is older than the plain file");
    assert.is(stale.body.toString(), "a{}");
    assert.is(stale.headers.vary, undefined);
  }),
);

mounts("names that are hidden, outside, special or unclear are not found", () =>
  serving([ROOT], async () => {
    for (const target of [
      "/.env",
      "/%2eenv",
      "/link-out.txt",
      "/link-hidden.txt",
      "/loop",
      "/loop/x",
      "/fifo",
      "/bare/",
      "/missing",
      "/a.txt/",
      "/a.txt/b",
      "/sub/../a.txt",
      "/./a.txt",
      "//a.txt",
      "/sub//index.html",
      "/%2e%2e/outside.txt",
      "/..%2foutside.txt",
      "/sub%2findex.html",
      "/a.txt%00",
      "/a.txt%00.html",
      "/%ff",
      "/%",
      `/${"x".repeat(300)}`,
      `/${"x/".repeat(2000)}`,
    ])
      assert.is((await ask(target)).status, 404, target.slice(0, 40));
    for (const target of ["/a.txt\\", "/..\\outside.txt", "\\a.txt".replace("\\", "/\\")])
      assert.is(await askRaw(target), 404, target);
    const folderless = await ask("/sub?a=b");
    assert.is(folderless.status, 301);
    assert.is(folderless.headers.location, "/sub/?a=b");
    assert.is((await ask("/bare")).status, 404);
    const posted = await ask("/a.txt", {}, "POST", "x");
    assert.is(posted.status, 405);
    assert.is(posted.headers.allow, "GET, HEAD");
    assert.equal(errors, []);
  }),
);

for (const [name, placed] of Object.entries(PLACEMENTS)) {
  mounts(`${name}: the handler is asked for the rest`, async () => {
    const list: MountOptions[] = [
      ROOT,
      {
        ...{ path: "/private", files: path.join(site, "private"), internal: true },
        headers: { "X-User": "someone", "X-Mount": "private", Vary: "X-A" },
      },
      { path: "/old", redirect: "https://new.example/docs", status: 308 },
      { path: "/moved/", redirect: "/a.txt", headers: { "X-Why": "moved" } },
      { path: "/form", handler: fileUrl("handlers/mounted.mjs"), headers: { "X-By": "form" } },
      { path: "/closed", files: site, addresses: ["10.0.0.0/8"] },
    ];
    await serving(
      list,
      async () => {
        const text = async (...args: Parameters<typeof ask>): Promise<string> => {
          const { status, body } = await ask(...args);
          return `${status} ${body.toString()}`;
        };
        assert.is(await text("/a.txt"), "200 the text of a");
        assert.is(await text("/missing"), "200 handler GET /missing");
        assert.is(await text("/a.txt", {}, "POST", "x"), "200 handler POST /a.txt");
        assert.is(await text("/private/a.txt"), "200 handler GET /private/a.txt");
        assert.is(await text("/privately"), "200 handler GET /privately");
        for (const unclear of ["//private/a.txt", "/x/../private/a.txt", "/%2e/private/a.txt"])
          assert.match(await text(unclear), /^404/, unclear);
        const passed = await ask("/login", { range: "bytes=4-6" });
        assert.equal([passed.status, passed.body.toString()], [206, "ann"]);
        // Fields of the handler replace those of the mount, but for the ones that are the file's. `Vary` is a list.
        assert.is(passed.headers["x-user"], "ann");
        assert.is(passed.headers["x-mount"], "private");
        assert.is(passed.headers["cache-control"], "private");
        assert.is(passed.headers.vary, "Cookie, X-A");
        assert.match(passed.headers.etag ?? "", /^"[^",]+"$/);
        assert.is.not(passed.headers.etag, '"mine"');
        assert.is(passed.headers["content-range"], "bytes 4-6/7");
        assert.match(await text("/login?to=/private/none"), /^404/);
        assert.is(await text("/login?to=/large.bin", {}, "HEAD"), "200 ");
        assert.equal(errors, []);
        assert.match(await text("/login?to=/form/x"), /^500/);
        assert.match(await text("/login?to=/private/%252e%252e/a.txt"), /^500/);
        assert.match(await text(`/login?to=${encodeURIComponent("/private/../a.txt")}`), /^500/);
        assert.match(await text("/login?to=x"), /^500/);
        await until("the reports", () => errors.length === 4);
        assert.match(errors[0] ?? "", /pass: no mount of files has the path "\/form\/x"/);
        errors.length = 0;
        const old = await ask("/old/a%20b/c?x=1&y=%22");
        assert.is(old.status, 308);
        assert.is(old.headers.location, "https://new.example/docs/a%20b/c?x=1&y=%22");
        assert.is((await ask("/old")).headers.location, "https://new.example/docs");
        const moved = await ask("/moved");
        assert.equal([moved.status, moved.headers.location], [302, "/a.txt"]);
        assert.is(moved.headers["x-why"], "moved");
        const form = await ask("/form/x?y", {}, "POST", "a=b");
        assert.is(form.body.toString(), "mounted POST /form/x a=b");
        assert.is(form.headers["x-by"], "form");
        assert.match(await text("/closed/a.txt"), /^403/);
        for (const [target, by] of [
          ["/form/ws", "mounted"],
          ["/ws", "handler"],
        ]) {
          const socket = new WebSocket(`ws://127.0.0.1:${port}${target}`);
          const heard = new Promise((resolve) => {
            socket.on("message", (data) => resolve(String(data)));
          });
          socket.on("open", () => socket.send("hi"));
          assert.is(await within(heard, "a message"), `${by} hi`);
          socket.close();
        }
      },
      await (placed as () => Promise<Options>)(),
    );
  });
}

mounts("navigations to unknown paths get the page of an application", () =>
  serving(
    [{ ...ROOT, spa: "index.html", immutable: "/assets", maxAge: 60, types: { md: "text/x" } }],
    async () => {
      const page = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };
      const home = "<!doctype html><p>home";
      assert.is((await ask("/users/7", page)).body.toString(), home);
      assert.is((await ask("/bare/", page)).body.toString(), home);
      assert.is((await ask("/users/7.png", page)).status, 404);
      assert.is((await ask("/users/7", { accept: "application/json" })).status, 404);
      assert.is((await ask("/users/7")).status, 404);
      assert.is((await ask("/users/7", page, "HEAD")).status, 404);
      assert.is((await ask("/notes.md")).headers["content-type"], "text/x");
      assert.is((await ask("/notes.md")).headers["cache-control"], "public, max-age=60");
      const logo = await ask("/assets/logo.abc123.svg");
      assert.is(logo.headers["cache-control"], "public, max-age=31536000, immutable");
    },
  ),
);

/** Waits until files are looked at again. */
async function anew(): Promise<void> {
  // Nothing shows that the second of an entry is over.
  await sleep(1100);
}

mounts("a file that is replaced is served again after a second, and a folder, too", async () => {
  const current = path.join(folder, "current");
  for (const version of ["1", "2"]) {
    mkdirSync(path.join(folder, `release-${version}`));
    writeFileSync(path.join(folder, `release-${version}`, "v.txt"), `version ${version}`);
  }
  symlinkSync("release-1", current);
  await serving([{ path: "/", files: current }], async () => {
    const read = async (): Promise<string> => (await ask("/v.txt")).body.toString();
    assert.is(await read(), "version 1");
    const next = path.join(folder, "release-1", "next");
    writeFileSync(next, "version 1.1");
    renameSync(next, path.join(folder, "release-1", "v.txt"));
    await anew();
    assert.is(await read(), "version 1.1");
    symlinkSync("release-2", `${current}-next`);
    renameSync(`${current}-next`, current);
    rmSync(path.join(folder, "release-1"), { recursive: true });
    await anew();
    assert.is(await read(), "version 2");
    rmSync(path.join(folder, "release-2", "v.txt"));
    await anew();
    assert.is((await ask("/v.txt")).status, 404);
    linkSync(path.join(site, "a.txt"), path.join(folder, "release-2", "v.txt"));
    assert.is(await read(), "the text of a", "what is not there is not kept");
  });
});

mounts(
  "a file that changes while it is sent is never a mix, and downloads share a descriptor",
  () =>
    serving([ROOT], async () => {
      const size = 20000000;
      const of = (octet: number): Buffer => Buffer.alloc(size, octet);
      /** Downloads a file, which is changed after the first bytes. */
      const download = (target: string, change: () => void): Promise<Buffer | "broken"> =>
        new Promise((resolve) => {
          const options = { host: "127.0.0.1", port, path: target, agent: false };
          const request = http.get(options, (response) => {
            const pieces: Buffer[] = [];
            response.once("data", () => {
              response.pause();
              change();
              response.resume();
            });
            response.on("data", (piece: Buffer) => pieces.push(piece));
            response.on("error", () => resolve("broken"));
            response.on("end", () => resolve(Buffer.concat(pieces)));
          });
          request.on("error", () => resolve("broken"));
        });
      write("changing.bin", of(1));
      const renamed = await download("/changing.bin", () => {
        writeFileSync(path.join(site, "changing.new"), of(2));
        renameSync(path.join(site, "changing.new"), path.join(site, "changing.bin"));
      });
      assert.ok(renamed !== "broken" && renamed.equals(of(1)), "one version");
      assert.ok((await ask("/changing.bin")).body.equals(of(2)));
      assert.equal(errors, []);
      const inPlace = await download("/changing.bin", () => {
        writeFileSync(path.join(site, "changing.bin"), of(3));
      });
      assert.is(inPlace, "broken");
      const shorter = await download("/changing.bin", () => {
        truncateSync(path.join(site, "changing.bin"), 100);
      });
      assert.is(shorter, "broken");
      await until("two reports", () => errors.length === 2);
      // While it is written again it is shorter for a moment.
      assert.match(
        errors[0] ?? "",
        /^request: the file has (?:changed while it was sent$|become shorter)/,
      );
      assert.match(errors[1] ?? "", /^request: the file has become shorter/);
      write("large.bin", LARGE);
      const descriptors = (): number => readdirSync("/proc/self/fd").length;
      const before = descriptors();
      write("huge.bin", of(4));
      const sockets = Array.from({ length: 40 }, () => {
        const socket = net.connect(port, "127.0.0.1");
        socket.write("GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        return socket;
      });
      await Promise.all(
        sockets.map((socket) => within(once(socket, "readable"), "the first bytes")),
      );
      // Two ends of each connection, and one file.
      await until("one descriptor is left", () => descriptors() - before <= 2 * 40 + 3);
      for (const socket of sockets) socket.destroy();
      await until("all are closed", () => descriptors() <= before);
    }),
);

mounts("a module is a file system", () =>
  serving([{ path: "/db", source: fileUrl("handlers/filesystem.mjs") }], async () => {
    for (let i = 0; i < 3; i++) assert.is((await ask("/db/a.txt")).body.toString(), "the first");
    assert.is((await ask("/db/sub/")).body.toString(), "<p>sub");
    assert.is((await ask("/db/sub")).headers.location, "/db/sub/");
    assert.is((await ask("/db/none")).status, 404);
    const opened = new Map(JSON.parse((await ask("/db/opened")).body.toString()));
    assert.is(opened.get("/a.txt"), 1, "it is kept for a second");
    assert.equal(errors, []);
    for (const [target, status, message] of [
      ["/db/broken.txt", 500, "mounts[0]: read: it did not return the 5 bytes"],
      ["/db/wrong.txt", 500, "mounts[0]: open: size is not a number of bytes"],
      ["/db/thrown.txt", 500, "the disk is gone"],
    ] as const) {
      assert.is((await ask(target)).status, status, target);
      await until("the report", () => errors.length > 0);
      assert.is(errors.pop(), `request: ${message}`);
    }
    const busy = await ask("/db/busy.txt");
    assert.equal([busy.status, busy.headers["retry-after"]], [503, "1"]);
    assert.equal(errors, []);
  }),
);

mounts("the files of an archive are served, inflated or as they are in it", async () => {
  const text = Buffer.from("a line of the book\n".repeat(20000));
  const noise = Buffer.from(
    Array.from({ length: 200000 }, (_, i) => (i * i * 31 + (i >> 3)) & 255),
  );
  const file = path.join(folder, "book.zip");
  const small = Buffer.from("<p>small");
  writeFileSync(
    file,
    zipOf([
      { name: "index.html", data: small },
      { name: "book.txt", data: text },
      { name: "pics/noise.bin", data: noise, stored: true },
      { name: "empty.txt", data: Buffer.alloc(0), stored: true },
      { name: "packed-empty.txt", data: Buffer.alloc(0) },
      { name: "ünï.txt", data: small, stored: true },
      { name: "twice.txt", data: Buffer.from("first") },
      { name: "twice.txt", data: Buffer.from("second") },
      { name: "secret.txt", data: small, flags: 1 },
      { name: "lzma.txt", data: small, method: 14 },
      { name: "../up.txt", data: small },
      { name: "a\\b.txt", data: small },
      { name: "/abs.txt", data: small },
      { name: ".hidden", data: small },
      { name: "wrong-crc.txt", data: text, crc: 1 },
      { name: "wrong-small.txt", data: small, crc: 1, stored: true },
      { name: "longer.txt", data: text, size: 300000 },
      { name: "shorter.txt", data: text, size: text.length + 1 },
      { name: "broken.txt", data: text, packed: Buffer.alloc(500, 255) },
    ]),
  );
  await serving([{ path: "/book", zip: file }], async (server) => {
    const index = await ask("/book/");
    assert.equal([index.status, index.body.toString()], [200, "<p>small"]);
    assert.is(index.headers["content-type"], "text/html; charset=utf-8");
    const plain = await ask("/book/book.txt");
    assert.is(plain.headers["content-length"], String(text.length));
    assert.is(plain.headers["content-encoding"], undefined);
    assert.is(plain.headers.vary, "Accept-Encoding");
    assert.ok(plain.body.equals(text));
    const packed = await ask("/book/book.txt", { "accept-encoding": "gzip" });
    assert.is(packed.headers["content-encoding"], "gzip");
    assert.ok(packed.body.length < 5000 && gunzipSync(packed.body).equals(text));
    assert.is(packed.headers["content-length"], String(packed.body.length));
    const range = await ask("/book/book.txt", { range: "bytes=250000-250018" });
    assert.is(range.body.toString(), text.subarray(250000, 250019).toString());
    const noisy = await ask("/book/pics/noise.bin", { "accept-encoding": "gzip" });
    assert.is(noisy.headers["content-encoding"], undefined);
    assert.ok(noisy.body.equals(noise));
    const part = await ask("/book/pics/noise.bin", { range: "bytes=-70000" });
    assert.ok(part.body.equals(noise.subarray(-70000)));
    assert.is((await ask("/book/pics")).status, 404, "the folder has no index");
    for (const [name, body] of [
      ["empty.txt", ""],
      ["packed-empty.txt", ""],
      ["%C3%BCn%C3%AF.txt", "<p>small"],
      ["twice.txt", "second"],
    ])
      assert.is((await ask(`/book/${name}`)).body.toString(), body, name);
    for (const name of ["secret.txt", "lzma.txt", "up.txt", "b.txt", "abs.txt", ".hidden", "none"])
      assert.is((await ask(`/book/${name}`)).status, 404, name);
    assert.equal(errors, []);
    for (const name of ["wrong-crc.txt", "longer.txt", "shorter.txt", "broken.txt"]) {
      const broken = await ask(`/book/${name}`).then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.code,
      );
      assert.ok(broken === "ECONNRESET" || broken === 500, `${name}: ${broken}`);
      await until("the report", () => errors.length > 0);
      assert.match(errors.pop() ?? "", /request: .*broken|invalid/, name);
    }
    assert.is((await ask("/book/wrong-small.txt")).status, 500);
    errors.length = 0;
    writeFileSync(`${file}.new`, zipOf([{ name: "index.html", data: Buffer.from("new") }]));
    renameSync(`${file}.new`, file);
    await server.reload();
    assert.is((await ask("/book/")).body.toString(), "new");
    writeFileSync(`${file}.new`, "not an archive");
    renameSync(`${file}.new`, file);
    const fault = await server.reload().catch((thrown: unknown) => thrown as Error);
    assert.match((fault as Error).message, /mounts\[0\]\.zip: .*book\.zip/);
    assert.is((await ask("/book/")).body.toString(), "new", "the archive of before is still open");
  });
});

mounts("wrong mounts are refused at the start", async () => {
  const wrong = async (list: unknown): Promise<string> => {
    try {
      await (await serve({ port: 0, mounts: list as MountOptions[] })).close();
    } catch (thrown) {
      return `${(thrown as Error).name}: ${(thrown as Error).message}`;
    }
    return "it was accepted";
  };
  for (const [list, message] of [
    [{}, "TypeError: mounts: an object is not a list of mounts"],
    [[1], "TypeError: mounts[0]: 1 is not an object of options"],
    [
      [{ path: "/" }],
      "TypeError: mounts[0]: one of files, zip, source, proxy, redirect, handler must say",
    ],
    [
      [{ path: "/", files: "x", redirect: "/" }],
      "TypeError: mounts[0]: files and redirect exclude",
    ],
    [[{ path: "x", files: "." }], 'TypeError: mounts[0].path: "x" is not a path such as'],
    [[{ path: "/a//b", files: "." }], "TypeError: mounts[0].path"],
    [[{ path: "/a/../b", files: "." }], "TypeError: mounts[0].path"],
    [[{ path: "/a%20b", files: "." }], 'TypeError: mounts[0].path: "/a%20b" has an escape'],
    [[{ path: "/a?b", files: "." }], "TypeError: mounts[0].path"],
    [
      [{ path: "/", file: "." }],
      "TypeError: mounts[0].file: there is no such option; did you mean",
    ],
    [[{ path: "/", files: "/does/not/exist" }], "Error: mounts[0].files: ENOENT"],
    [[{ path: "/", files: path.join(site, "a.txt") }], "TypeError: mounts[0].files: "],
    [[{ path: "/", zip: path.join(site, "a.txt") }], "Error: mounts[0].zip: "],
    [[{ path: "/", zip: site }], "TypeError: mounts[0].zip: "],
    [[{ path: "/", files: 1 }], "TypeError: mounts[0].files: 1 is not the path of a folder"],
    [
      [ROOT, { path: "/", redirect: "/a" }],
      'TypeError: mounts[1].path: "/" is the path of mounts[0]',
    ],
    [[{ ...ROOT, index: "../x" }], "TypeError: mounts[0].index"],
    [[{ ...ROOT, spa: "../x" }], "TypeError: mounts[0].spa"],
    [[{ ...ROOT, maxAge: -1 }], "RangeError: mounts[0].maxAge: -1"],
    [[{ ...ROOT, maxAge: "1h" }], "TypeError: mounts[0].maxAge"],
    [[{ ...ROOT, types: { md: 1 } }], "TypeError: mounts[0].types.md"],
    [[{ ...ROOT, types: { md: "a\r\nb" } }], "TypeError: mounts[0].types.md"],
    [[{ ...ROOT, headers: { "a b": "c" } }], "TypeError: mounts[0].headers"],
    [[{ ...ROOT, headers: { a: "c\r\nd" } }], "TypeError: mounts[0].headers"],
    [[{ ...ROOT, headers: { ETag: "c" } }], "TypeError: mounts[0].headers: ETag is written by"],
    [[{ ...ROOT, addresses: ["x"] }], "TypeError: mounts[0].addresses"],
    [[{ ...ROOT, internal: 1 }], "TypeError: mounts[0].internal"],
    [[{ ...ROOT, status: 301 }], "TypeError: mounts[0].status: is no option of a mount with files"],
    [[{ path: "/", redirect: "//evil" }], "TypeError: mounts[0].redirect"],
    [[{ path: "/", redirect: "https:evil" }], "TypeError: mounts[0].redirect"],
    [[{ path: "/", redirect: "javascript:x" }], "TypeError: mounts[0].redirect"],
    [[{ path: "/", redirect: "/a", status: 200 }], "RangeError: mounts[0].status: 200"],
    [[{ path: "/", redirect: "/a", internal: true }], "TypeError: mounts[0].internal"],
    [[{ path: "/", handler: "x" }], 'TypeError: mounts[0].handler: "x" is not the URL of a module'],
    [[{ path: "/", handler: fileUrl("none.mjs") }], "Error: mounts[0].handler: file:"],
    [[{ path: "/", source: fileUrl("handlers/mounts.mjs") }], "TypeError: mounts[0].source: file:"],
  ] as const) {
    const found = await wrong(list);
    assert.ok(found.startsWith(message), `${JSON.stringify(list)}: ${found}`);
  }
});

mounts.after(() => {
  rmSync(folder, { recursive: true });
});

mounts.run();
