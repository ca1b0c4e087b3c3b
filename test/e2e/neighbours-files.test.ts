// The files of a mount beside nginx, Debian's, on the same folder: 500 generated requests, method by condition by range
// by coding by path. Status, fields and body are equal, or differ for a reason of the table.

import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { toolPath } from "../../.scripts/tools.mjs";
import { portOf } from "../lib/port";
import { freePort, running } from "./neighbour";
import { until, within } from "./peer";

const files = suite("neighbours: files");

const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-files-"));
const site = path.join(folder, "site");
const WHEN = new Date("2026-01-02T03:04:05Z");
const LATER = "Sat, 03 Jan 2026 03:04:05 GMT";
const EARLIER = "Thu, 01 Jan 2026 03:04:05 GMT";

function write(name: string, content: string | Uint8Array): void {
  const file = path.join(site, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  utimesSync(file, WHEN, WHEN);
}

const SCRIPT = "let x = 1;\n".repeat(200);
write("index.html", "<p>home");
write("a.txt", "0123456789".repeat(10));
write("app.js", SCRIPT);
write("app.js.gz", gzipSync(SCRIPT));
write("large.bin", Buffer.alloc(200000, 7));
write("empty.css", "");
write("sub/index.html", "<p>sub");
write("sub/.hidden", "x");
write("bare/x.svg", "<svg/>");

const PATHS = [
  ...[
    "/",
    "/a.txt",
    "/app.js",
    "/app.js.gz",
    "/large.bin",
    "/empty.css",
    "/sub/",
    "/sub",
    "/bare/",
  ],
  ...[
    "/none",
    "/a.txt/",
    "/a.txt?x=1",
    "/%61.txt",
    "//a.txt",
    "/sub/../a.txt",
    "/sub%2findex.html",
  ],
  ...["/sub/.hidden", "/bare/x.svg", "/%", "/a.txt%00"],
];
const METHODS = ["GET", "GET", "GET", "HEAD", "POST"];
const CONDITIONS: Readonly<Record<string, string>>[] = [
  {},
  {},
  { "if-modified-since": WHEN.toUTCString() },
  { "if-modified-since": LATER },
  { "if-modified-since": EARLIER },
  { "if-unmodified-since": EARLIER },
  { "if-unmodified-since": LATER },
  { "if-none-match": "*" },
  { "if-none-match": "ETAG" },
  { "if-none-match": "W/ETAG" },
  { "if-none-match": '"x"', "if-modified-since": LATER },
  { "if-match": '"x"' },
  { "if-match": "ETAG" },
];
const RANGES: Readonly<Record<string, string>>[] = [
  {},
  {},
  { range: "bytes=0-4" },
  { range: "bytes=5-" },
  { range: "bytes=-5" },
  { range: "bytes=0-" },
  { range: "bytes=900000-" },
  { range: "bytes=5-2" },
  { range: "bytes=0-1,4-5" },
  { range: "bytes=x" },
  { range: "lines=0-1" },
  { range: "bytes=0-4", "if-range": "ETAG" },
  { range: "bytes=0-4", "if-range": '"x"' },
  { range: "bytes=0-4", "if-range": WHEN.toUTCString() },
  { range: "bytes=0-4", "if-range": LATER },
];
const CODINGS: Readonly<Record<string, string>>[] = [
  {},
  { "accept-encoding": "gzip" },
  { "accept-encoding": "gzip;q=0" },
  { "accept-encoding": "br, deflate" },
];

interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
}

const COMPARED = ["content-type", "content-length", "content-range", "content-encoding"] as const;

function ask(port: number, { method, target, headers }: Asked, etag: string): Promise<Answer> {
  const sent = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, value.replace("ETAG", etag)]),
  );
  const answered = new Promise<Answer>((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path: target, method, headers: sent, agent: false };
    const request = http.request(options, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const fields: Record<string, string> = {};
        for (const name of [...COMPARED, "last-modified", "location", "allow", "vary", "etag"]) {
          const value = response.headers[name];
          if (value !== undefined) fields[name] = String(value);
        }
        const body = Buffer.concat(pieces).toString("latin1");
        resolve({ status: response.statusCode ?? 0, fields, body });
      });
    });
    request.on("error", (error) =>
      reject(new Error(`${port} ${method} ${target}: ${error.message}`)),
    );
    request.end();
  });
  return within(answered, `${method} ${target}`);
}

/** A reason for which the two differ. */
interface Reason {
  readonly why: string;
  holds(asked: Asked, ours: Answer, theirs: Answer): boolean;
}

const isError = ({ status }: Answer): boolean => status >= 400;

/** The reasons, with the sections of RFC 9110. */
const REASONS: readonly Reason[] = [
  {
    why: "a path with two readings is 404; nginx resolves dots, joins slashes, and decodes slashes (4.2.3)",
    holds: ({ target }, ours) =>
      /^\/\/|\/\.\.\/|%2f|%00|%$/i.test(target) && (ours.status === 404 || ours.status === 405),
  },
  {
    why: "names that begin with a dot are not served",
    holds: ({ target }, ours) => target.includes("/.hidden") && isError(ours),
  },
  {
    why: "a folder without an index is not found; nginx says 403 (15.5.4)",
    holds: ({ target }, ours, theirs) =>
      target === "/bare/" && [404, 405].includes(ours.status) && isError(theirs),
  },
  {
    why: "a method that is not allowed is 405 with Allow, whether or not there is a file (15.5.6)",
    holds: ({ method }, ours) => method === "POST" && ours.status === 405 && "allow" in ours.fields,
  },
  {
    why: "Range is ignored for HEAD (14.2)",
    holds: ({ method, headers }, ours, theirs) =>
      method === "HEAD" &&
      "range" in headers &&
      ours.status === 200 &&
      [206, 416].includes(theirs.status),
  },
  {
    why: "several ranges, and a malformed one, are answered with the whole (14.2)",
    holds: ({ headers }, ours, theirs) =>
      /,|5-2|=x|^lines/.test(headers.range ?? "") &&
      ours.status === 200 &&
      [206, 416].includes(theirs.status),
  },
  {
    why: "If-Modified-Since holds for later dates, too; nginx compares for equality (13.1.3)",
    holds: ({ headers }, ours, theirs) =>
      headers["if-modified-since"] === LATER && ours.status === 304 && theirs.status !== 304,
  },
  {
    why: "If-Modified-Since is ignored beside If-None-Match (13.1.3)",
    holds: ({ headers }) => "if-none-match" in headers && "if-modified-since" in headers,
  },
  {
    why: "bodies of errors are each server's own",
    holds: (_, ours, theirs) => isError(ours) && ours.status === theirs.status,
  },
  {
    why: "the body of a redirect is each server's own, and its URL may be a path (10.2.2)",
    holds: (_, ours, theirs) => ours.status === 301 && theirs.status === 301,
  },
  {
    why: "text types have a charset (8.3.2)",
    holds: (_, ours, theirs) =>
      ours.status === theirs.status &&
      ours.fields["content-type"] !== theirs.fields["content-type"] &&
      (ours.fields["content-type"] ?? "").endsWith("; charset=utf-8"),
  },
  {
    why: "archives of one file have their type; nginx's list lacks it (8.3)",
    holds: ({ target }, ours, theirs) =>
      target.endsWith(".gz") &&
      ours.status === theirs.status &&
      ours.fields["content-type"] === "application/gzip",
  },
  {
    why: "a coded file has ranges, too (14.2)",
    holds: (_, ours, theirs) =>
      theirs.fields["content-encoding"] === "gzip" &&
      theirs.status === 200 &&
      [206, 416].includes(ours.status),
  },
];

/** Returns the parts in which two answers differ. */
function differences(ours: Answer, theirs: Answer): string[] {
  const found: string[] = [];
  if (ours.status !== theirs.status) found.push(`status ${ours.status}, ${theirs.status}`);
  for (const name of COMPARED)
    if (ours.fields[name] !== theirs.fields[name])
      found.push(`${name} ${ours.fields[name]}, ${theirs.fields[name]}`);
  if (ours.body !== theirs.body) found.push("body");
  return found;
}

function generate(count: number): Asked[] {
  let seed = 20261201;
  const pick = <T>(list: readonly T[]): T => {
    seed = (seed * 48271) % 2147483647;
    return list[seed % list.length] as T;
  };
  return Array.from({ length: count }, () => ({
    method: pick(METHODS),
    target: pick(PATHS),
    headers: { ...pick(CONDITIONS), ...pick(RANGES), ...pick(CODINGS) },
  }));
}

files("500 requests are answered as by nginx, but for the reasons of the table", async () => {
  const server = await serve({ port: 0, mounts: [{ path: "/", files: site }] });
  const port = await freePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const config = [
    ...["daemon off;", "master_process off;", `pid ${folder}/nginx.pid;`, "error_log stderr info;"],
    ...["events { worker_connections 64; }", "http {", "include /etc/nginx/mime.types;"],
    ...[`access_log off;`, ...temporary.map((name) => `${name}_temp_path ${folder}/${name};`)],
    ...[`server { listen 127.0.0.1:${port}; root ${site}; gzip_static on; etag on; }`, "}"],
  ];
  writeFileSync(path.join(folder, "nginx.conf"), config.join("\n"));
  const command = [toolPath("nginx"), "-p", folder, "-c", path.join(folder, "nginx.conf")];
  try {
    await running(command, {}, /nginx\/\d+/, async () => {
      await until("nginx accepts", () =>
        fetch(`http://127.0.0.1:${port}/`).then(
          () => true,
          () => false,
        ),
      );
      const tags = new Map<string, readonly [string, string]>();
      const tagsOf = async (target: string): Promise<readonly [string, string]> => {
        const plain = { method: "HEAD", target, headers: {} };
        const both = await Promise.all([ask(portOf(server), plain, ""), ask(port, plain, "")]);
        const [ours = "", theirs = ""] = both.map(({ fields }) => fields.etag);
        return [ours, theirs];
      };
      const used = new Map<string, number>();
      const wrong: string[] = [];
      for (const asked of generate(500)) {
        if (!tags.has(asked.target)) tags.set(asked.target, await tagsOf(asked.target));
        const [ownTag, otherTag] = tags.get(asked.target) as readonly [string, string];
        const [ours, theirs] = await Promise.all([
          ask(portOf(server), asked, ownTag),
          ask(port, asked, otherTag),
        ]);
        const found = differences(ours, theirs);
        if (found.length === 0) continue;
        const reason = REASONS.find((one) => one.holds(asked, ours, theirs));
        if (reason) used.set(reason.why, (used.get(reason.why) ?? 0) + 1);
        else wrong.push(`${JSON.stringify(asked)}: ${found.join("; ")}`);
      }
      assert.equal(wrong, []);
      for (const { why } of REASONS) {
        const count = used.get(why) ?? 0;
        console.log(`# ${count} ${why}`);
        assert.ok(count > 0, `${why}: no request needs this reason`);
      }
    });
  } finally {
    await server.close();
  }
});

files.after(() => {
  rmSync(folder, { recursive: true });
});

files.run();
