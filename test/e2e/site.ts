// The site of test/example/site in a folder of its own, started by the command, and curl to look at it.
//
// Invariant: the server, its backend and the folder are gone when `withSite` returns, whichever way the test ends.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { toolPath } from "../../.scripts/tools.mjs";
import { zipOf } from "../lib/zip";
import { Command } from "./command";
import { FOLDER, edited, freePort, runningNode } from "./neighbour";

/** Hosts of the test's certificates, in the places of the example's. RSA, then EC. */
export const WWW = "rsa.test";
export const DOCS = "one.test";
export const PASSWORD = "open, sesame";
const KEY = "a key that stays the same across restarts";

const certificate = (name: string): string => readFileSync(`test/e2e/tls/${name}.pem`, "utf8");

/** Certificates that clients trust, by the hosts. */
export const CERTIFICATES: Readonly<Record<string, string>> = {
  [WWW]: "rsa",
  [DOCS]: "one",
};

const BOOK = "A chapter. ".repeat(500);
/** The pages of the archive. */
const ENTRIES = [
  {
    name: "index.html",
    data: Buffer.from("<!doctype html><title>Documents</title><h1>Documents</h1>"),
  },
  { name: "book/chapter.txt", data: Buffer.from(BOOK) },
  { name: "stored.bin", data: Buffer.from("0123456789"), stored: true },
  { name: "../outside.txt", data: Buffer.from("outside") },
];

export interface Reply {
  readonly status: number;
  /** Fields by their names in lower case; several of a name are joined by line breaks. */
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
}

export class Site {
  readonly folder: string;
  /** Ports of HTTP and HTTPS. */
  readonly port: number;
  readonly securePort: number;
  /** The Unix socket for a proxy. */
  readonly socket: string;
  #command: Command | undefined;

  constructor(folder: string, [port, securePort, shop]: readonly [number, number, number]) {
    this.folder = folder;
    this.port = port;
    this.securePort = securePort;
    this.socket = path.join(folder, "site.sock");
    cpSync(path.join(FOLDER, "site"), folder, { recursive: true });
    const text = readFileSync(path.join(folder, "ringcast.json"), "utf8");
    const config = edited(text, [
      ['"port": 8080', `"port": ${port}`],
      ['"port": 8443', `"port": ${securePort}`],
      ["127.0.0.1:3000", `127.0.0.1:${shop}`],
      ["../../../dist", path.resolve("dist")],
      ["https://docs.example/", `https://${DOCS}:${securePort}/`],
      ["docs.example", DOCS],
      ["www.example", WWW],
    ]);
    this.write("ringcast.json", config);
    mkdirSync(path.join(folder, "keys"));
    for (const [name, key, cert] of [
      ["site", "key", "cert"],
      ["www", "rsa", "rsa"],
      ["docs", "one", "one"],
    ] as const) {
      this.write(`keys/${name}.key`, certificate(key));
      this.write(`keys/${name}.crt`, certificate(cert));
    }
    this.write("docs.zip", zipOf(ENTRIES));
  }

  get command(): Command {
    if (!this.#command) throw new Error("the site does not run");
    return this.#command;
  }

  get config(): string {
    return path.join(this.folder, "ringcast.json");
  }

  /** Lines of the access log. */
  get log(): string[] {
    return readFileSync(path.join(this.folder, "access.log"), "utf8").trimEnd().split("\n");
  }

  write(name: string, content: string | Uint8Array): void {
    writeFileSync(path.join(this.folder, name), content);
  }

  async start(): Promise<void> {
    this.#command = new Command([this.config], { PASSWORD, KEY });
    await this.command.prints(/live on unix:.*\n/);
  }

  /** Ends the server in order. @returns its code, and its output of errors */
  async end(): Promise<{ readonly code: number | null; readonly err: string }> {
    this.command.signal("SIGTERM");
    return this.command.ended();
  }

  kill(): void {
    this.#command?.kill();
  }

  /** Returns a URL of the site. */
  url(host: string, target = "/"): string {
    return `https://${host}:${this.securePort}${target}`;
  }

  /** Asks with curl, which trusts only the certificate of the URL's host, and takes paths as they are. */
  async curl(url: string, ...args: readonly string[]): Promise<Reply> {
    const { hostname } = new URL(url);
    const ca = CERTIFICATES[hostname] ?? "cert";
    const all = [
      ...["-sS", "--path-as-is", "-D", path.join(this.folder, "head"), "--max-time", "20"],
      ...["--cacert", `test/e2e/tls/${ca}.pem`, "--connect-to", "::127.0.0.1:"],
      ...args,
      url,
    ];
    const body = await new Promise<Buffer>((resolve, reject) => {
      execFile(toolPath("curl"), all, { encoding: "buffer" }, (error, out, problem) => {
        if (error) reject(new Error(`curl ${args.join(" ")} ${url}: ${problem}`));
        else resolve(out);
      });
    });
    // Of several heads, such as one with 100, the last one.
    const heads = readFileSync(path.join(this.folder, "head"), "latin1")
      .trimEnd()
      .split(/\r\n\r\n/);
    const [line = "", ...lines] = (heads.at(-1) ?? "").split("\r\n");
    const fields: Record<string, string> = {};
    for (const one of lines) {
      const [, name = "", value = ""] = /^([^:]*):\s*(.*)$/.exec(one) ?? [];
      const known = fields[name.toLowerCase()];
      fields[name.toLowerCase()] = known === undefined ? value : `${known}\n${value}`;
    }
    // With -I curl shows the head in the place of the body.
    const shown = args.includes("-I") ? "" : body.toString();
    return { status: Number(line.split(" ")[1]), fields, body: shown };
  }
}

/** Runs the site, and the shop that it passes requests to, for the duration of a test. */
export async function withSite(
  body: (site: Site, endShop: () => Promise<number | string>) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-site-"));
  try {
    const ports = [await freePort(), await freePort(), await freePort()] as const;
    const site = new Site(folder, ports);
    await runningNode("site/backend.mjs", { PORT: ports[2] }, async (shop) => {
      try {
        await site.start();
        await body(site, () => shop.end());
      } finally {
        site.kill();
      }
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
