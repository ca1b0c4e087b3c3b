// The clients that people use, with compression on: `ws`, undici and a browser. Messages of every size go out
// and come back, as echo and as broadcast, with the same hash; so do bodies.

import { createHash } from "node:crypto";
import type { Page } from "playwright-core";
import type { Server } from "ringcast";
import { WebSocket as UndiciWebSocket, fetch as undiciFetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket as Ws } from "ws";
import { withBrowser } from "../lib/browser";
import { httpUrl, serving, within, wsUrl } from "./peer";

const clients = suite("clients");
const KiB = 1024;
const MiB = 1048576;

const SIZES = [0, 1, 125, 126, 65535, 65536, MiB, 16 * MiB];
const SHAPES = ["repeated text", "random text", "repeated bytes", "random bytes"] as const;
type Shape = (typeof SHAPES)[number];

/** Returns the message of a shape and a size. A page runs it too, so it refers to nothing outside. */
function made(shape: Shape, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const isText = shape.endsWith("text");
  if (shape.startsWith("random")) {
    let x = 1 + size;
    for (let i = 0; i < size; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) | 0;
      bytes[i] = isText ? 32 + (x >>> 26) : x >>> 24;
    }
  } else {
    const period = isText ? 23 : 251;
    for (let i = 0; i < size; i++) bytes[i] = (isText ? 97 : 0) + (i % period);
  }
  return bytes;
}

const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A received message. */
interface Arrived {
  readonly isText: boolean;
  readonly hash: string;
  /** Short texts as they are. */
  readonly text: string;
}

interface Client {
  /** The extensions agreed upon. */
  readonly extensions: string;
  send(shape: Shape, size: number): Promise<void>;
  next(): Promise<Arrived>;
}

/** A queue of what arrived. */
class Arrivals {
  readonly #all: Arrived[] = [];
  #wake: () => void = () => undefined;

  push(data: string | Uint8Array): void {
    const bytes = Buffer.from(data as Uint8Array);
    const isText = typeof data === "string";
    this.#all.push({ isText, hash: hashOf(bytes), text: isText ? data.slice(0, 100) : "" });
    this.#wake();
  }

  async next(): Promise<Arrived> {
    while (this.#all.length === 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(woken, "message");
    }
    return this.#all.shift() as Arrived;
  }
}

/** Sends every message, and lets the server broadcast it. */
async function exchange(server: Server, client: Client): Promise<void> {
  assert.match(client.extensions, /^permessage-deflate/);
  for (const shape of SHAPES) {
    for (const size of SIZES) {
      const what = `${size} of ${shape}`;
      const bytes = made(shape, size);
      const hash = hashOf(bytes);
      const isText = shape.endsWith("text");
      await client.send(shape, size);
      assert.is((await client.next()).text, hash, `${what}: at the server`);
      const echo = await client.next();
      assert.equal([echo.isText, echo.hash], [isText, hash], `${what}: echo`);
      while (!server.broadcast(bytes, { binary: !isText })) await server.ready();
      const published = await client.next();
      assert.equal([published.isText, published.hash], [isText, hash], `${what}: broadcast`);
    }
  }
  const stats = await server.stats();
  assert.is(stats.evicted, 0);
  assert.is(stats.handlerErrors, 0);
}

const OPTIONS = { perMessageDeflate: true, ring: 64 * MiB, slowGrace: 10000 };

clients("ws: messages of every size, compressed, are intact both ways", () =>
  serving("clients", OPTIONS, async (server, port) => {
    const socket = new Ws(wsUrl(port), { perMessageDeflate: { threshold: 0 } });
    const arrivals = new Arrivals();
    socket.on("message", (data: Buffer, isBinary) =>
      arrivals.push(isBinary ? data : data.toString()),
    );
    await within(new Promise((resolve) => socket.once("open", resolve)), "open");
    await exchange(server, {
      extensions: socket.extensions,
      async send(shape, size) {
        socket.send(made(shape, size), { binary: !shape.endsWith("text") });
      },
      next: () => arrivals.next(),
    });
    socket.terminate();
  }),
);

clients("undici: messages of every size, compressed, are intact both ways", () =>
  serving("clients", OPTIONS, async (server, port) => {
    const socket = new UndiciWebSocket(wsUrl(port));
    socket.binaryType = "arraybuffer";
    const arrivals = new Arrivals();
    socket.addEventListener("message", ({ data }) => {
      arrivals.push(typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer));
    });
    await within(new Promise((resolve) => socket.addEventListener("open", resolve)), "open");
    await exchange(server, {
      extensions: socket.extensions,
      async send(shape, size) {
        const bytes = made(shape, size);
        socket.send(shape.endsWith("text") ? Buffer.from(bytes).toString() : bytes);
      },
      next: () => arrivals.next(),
    });
    socket.close();
  }),
);

// ---- HTTP ---------------------------------------------------------------------------------------

const BODIES = [0, 1, KiB, 65535, 65536, 65537, MiB];

clients("undici: fetch with HEAD, GET and POST up to 1 MiB", () =>
  serving("clients", OPTIONS, async (_server, port) => {
    for (const size of BODIES) {
      const url = httpUrl(port, `/size?${size}`);
      const head = await undiciFetch(url, { method: "HEAD" });
      assert.equal([head.status, head.headers.get("content-length")], [200, `${size}`]);
      assert.is((await head.arrayBuffer()).byteLength, 0);
      const got = Buffer.from(await (await undiciFetch(url)).arrayBuffer());
      assert.ok(got.equals(Buffer.alloc(size, 7)), `GET of ${size}`);
      const body = made("random bytes", size);
      const posted = await undiciFetch(httpUrl(port, "/echo"), { method: "POST", body });
      assert.is(
        hashOf(new Uint8Array(await posted.arrayBuffer())),
        hashOf(body),
        `POST of ${size}`,
      );
    }
  }),
);

// ---- a browser ------------------------------------------------------------------------------------

/** Arguments of a page that acts as a client. */
interface InPage {
  open(): Promise<string>;
  send(shape: Shape, size: number): void;
  next(): Promise<Arrived>;
  fetchAll(size: number): Promise<string[]>;
}

/** Runs in the page: makes it a client of its own origin. */
function install(make: typeof made): InPage {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/`);
  socket.binaryType = "arraybuffer";
  const arrived: Promise<Arrived>[] = [];
  const hex = async (data: BufferSource): Promise<string> => {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    return Array.from(digest, (octet) => octet.toString(16).padStart(2, "0")).join("");
  };
  let wake = (): void => undefined;
  socket.onmessage = ({ data }) => {
    const isText = typeof data === "string";
    const text = isText ? data.slice(0, 100) : "";
    const hashed = hex(isText ? new TextEncoder().encode(data) : data);
    arrived.push(hashed.then((hash) => ({ isText, hash, text })));
    wake();
  };
  return {
    open: () =>
      new Promise((resolve) => {
        if (socket.readyState === 1) resolve(socket.extensions);
        else socket.onopen = () => resolve(socket.extensions);
      }),
    send(shape, size) {
      const bytes = make(shape, size);
      socket.send(shape.endsWith("text") ? new TextDecoder().decode(bytes) : bytes);
    },
    async next() {
      while (arrived.length === 0) {
        await new Promise<void>((resolve) => {
          wake = () => {
            resolve();
            return undefined;
          };
        });
      }
      return arrived.shift() as Promise<Arrived>;
    },
    async fetchAll(size) {
      const head = await fetch(`/size?${size}`, { method: "HEAD" });
      const got = await fetch(`/size?${size}`);
      const body = make("random bytes", size);
      const posted = await fetch("/echo", { method: "POST", body });
      return [
        `${head.status} ${head.headers.get("content-length")}`,
        await hex(await got.arrayBuffer()),
        await hex(await posted.arrayBuffer()),
      ];
    },
  };
}

/** Makes a page a client; its functions are called through `evaluate`. */
async function clientOf(page: Page): Promise<void> {
  await page.addScriptTag({ content: `globalThis.client = (${install})(${made});` });
}

declare global {
  // Of the page.
  var client: InPage;
}

clients("Chromium: messages of every size, compressed, are intact both ways", () =>
  serving("clients", OPTIONS, (server, port) =>
    withBrowser(async (browser) => {
      const page = await browser.open(httpUrl(port, "/"));
      await clientOf(page);
      await exchange(server, {
        extensions: await page.evaluate(() => client.open()),
        send: (shape, size) =>
          page.evaluate(([what, n]) => client.send(what as Shape, n as number), [shape, size]),
        next: () =>
          within(
            page.evaluate(() => client.next()),
            "message",
          ),
      });
    }),
  ),
);

clients("Chromium: fetch with HEAD, GET and POST up to 1 MiB", () =>
  serving("clients", OPTIONS, (_server, port) =>
    withBrowser(async (browser) => {
      const page = await browser.open(httpUrl(port, "/"));
      await clientOf(page);
      for (const size of BODIES) {
        const [head, got, posted] = await page.evaluate((n) => client.fetchAll(n), size);
        assert.is(head, `200 ${size}`);
        assert.is(got, hashOf(Buffer.alloc(size, 7)), `GET of ${size}`);
        assert.is(posted, hashOf(made("random bytes", size)), `POST of ${size}`);
      }
    }),
  ),
);

clients("Chromium: an error in a page fails the test that opened it", () =>
  serving("clients", OPTIONS, async (_server, port) => {
    const failure = await withBrowser(async (browser) => {
      const page = await browser.open(httpUrl(port, "/"));
      await page.evaluate(() => {
        setTimeout(() => {
          throw new Error("thrown in the page");
        });
        // The page is there until its error has been reported.
        return new Promise((resolve) => setTimeout(resolve, 50));
      });
    }).then(
      () => "",
      (error: Error) => error.message,
    );
    assert.match(failure, /thrown in the page/);
  }),
);

clients.run();
