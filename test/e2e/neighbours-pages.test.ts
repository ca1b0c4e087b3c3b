// A plain page, and React: bundled as one would, opened in Chromium, and their server restarted beneath them.

import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Page } from "playwright-core";
import { build } from "esbuild";
import { type Handler, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Browser, withBrowser } from "../lib/browser";
import { FOLDER } from "./neighbour";
import { until, within } from "./peer";
import { portOf } from "../lib/port";

const pages = suite("neighbours: pages");

const ROOT =
  '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="page.js"></script>';

/** Returns the bundle of a page's program. */
async function bundle(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(FOLDER, file)],
    ...{ bundle: true, format: "esm", minify: true, write: false },
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
  });
  return outputFiles[0]?.text ?? "";
}

/** Starts a server of the page and of its prices, which are sent again to each new client. */
async function serveAt(port: number, html: string, script: string): Promise<Server> {
  const handler: Handler = {
    request(req, res) {
      if (req.upgrade) return res.upgrade();
      if (req.path === "/page.js") return res.send(200, "text/javascript", script);
      return res.send(200, "text/html", html);
    },
  };
  return within(serve({ port, handler }), "serve");
}

interface Place {
  readonly page: Page;
  /** The server of now. */
  server(): Server;
  /** Takes the server's place when it has ended. */
  restart(): Promise<void>;
}

async function opened(
  browser: Browser,
  file: string,
  html: string,
  body: (place: Place) => Promise<void>,
  search = "",
): Promise<void> {
  const script = await bundle(file);
  let server = await serveAt(0, html, script);
  const port = portOf(server);
  try {
    const url = `http://127.0.0.1:${port}/${search}`;
    const page = await browser.open(url, /WebSocket connection to/);
    await body({
      page,
      server: () => server,
      async restart() {
        server = await serveAt(port, html, script);
      },
    });
    await page.close();
  } finally {
    await within(server.close(), "close");
  }
}

const counted = (server: Server, count: number): Promise<void> =>
  until(`${count} connections`, async () => (await server.count()) === count);

const tell = (server: Server, prices: object): void => {
  assert.ok(server.broadcast(JSON.stringify(prices)));
};

/** Checks a plain page: it shows messages, says when it is lost, and comes back. */
async function checkPage(browser: Browser): Promise<void> {
  const html = await readFile(path.join(FOLDER, "page/index.html"), "utf8");
  await opened(browser, "page/page.js", html, async ({ page, server, restart }) => {
    await page.getByText("live", { exact: true }).waitFor();
    tell(server(), { tin: 12.5, zinc: 7 });
    await page.getByText("zinc 7").waitFor();
    assert.equal(await page.locator("li").allTextContents(), ["tin 12.5", "zinc 7"]);
    await server().shutdown();
    await page.getByText(/^lost, trying again in \d+ s$/).waitFor();
    assert.is(await page.locator("li").count(), 2, "what came last stays");
    await restart();
    await page.getByText("live again").waitFor();
    tell(server(), { tin: 13 });
    await page.getByText("tin 13").waitFor();
  });
}

/** Checks the same in React: one connection for all components, in StrictMode, too, and none when none is shown. */
async function checkReact(browser: Browser): Promise<void> {
  await opened(browser, "react/app.jsx", ROOT, async ({ page, server, restart }) => {
    await page.getByText("live").waitFor();
    await counted(server(), 1);
    tell(server(), { tin: 12.5, zinc: 7 });
    const prices = (): Promise<string[]> => page.locator("output").allTextContents();
    await until("prices", async () => (await prices()).join() === "12.5,7");
    await server().shutdown();
    await page.getByText("connecting …").waitFor();
    assert.equal(await prices(), ["12.5", "7"]);
    await restart();
    await page.getByText("live").waitFor();
    tell(server(), { tin: 13, zinc: 8 });
    await until("prices", async () => (await prices()).join() === "13,8");
    await page.getByText("Hide").click();
    await counted(server(), 0);
    await page.getByText("Show").click();
    await counted(server(), 1);
    await page.getByText("live").waitFor();
    assert.equal(await prices(), ["–", "–"]);
  });
}

interface Seen {
  readonly messages: number;
  readonly commits: number;
  readonly torn: number;
}

/** Returns what a wall of slow tiles saw that was made while messages came. */
async function wall(browser: Browser, search: string): Promise<Seen> {
  let seen: Seen = { messages: 0, commits: 0, torn: 0 };
  const look = async (page: Page): Promise<Seen> => {
    seen = (await page.evaluate("seen")) as Seen;
    return seen;
  };
  const body = async ({ page, server }: Place): Promise<void> => {
    await counted(server(), 1);
    let tin = 0;
    const telling = setInterval(() => tell(server(), { tin: ++tin }), 5);
    try {
      await until("messages", async () => (await look(page)).messages > 3);
      const { messages } = seen;
      await page.evaluate("make()");
      // Each makes React begin again: it comes to an end when they have.
      await until("some more", async () => (await look(page)).messages > messages + 10);
    } finally {
      clearInterval(telling);
    }
    await until("the wall", async () => (await look(page)).commits > 0);
    assert.is(await server().count(), 1, "one connection for all tiles");
  };
  await opened(browser, "react/wall.jsx", ROOT, body, search);
  return seen;
}

/** Checks that React renders no two states of a stream at a time. */
async function checkTearing(browser: Browser): Promise<void> {
  const hooked = await wall(browser, "");
  // Without the hook it tears only when a message comes while React renders, which is not so each time.
  let torn = await wall(browser, "?torn");
  for (let i = 0; i < 9 && torn.torn === 0; i++) torn = await wall(browser, "?torn");
  const counts = JSON.stringify({ hooked, torn });
  assert.is(hooked.torn, 0, counts);
  assert.ok(torn.torn > 0, counts);
}

pages("a plain page, and React, show messages, come back when they are lost, and do not tear", () =>
  withBrowser(async (browser) => {
    // At a time: both wait for their next try.
    await Promise.all([checkPage(browser), checkReact(browser)]);
    await checkTearing(browser);
  }),
);

pages.run();
