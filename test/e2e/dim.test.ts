// A page that is dimmed while its connection is lost, in Chromium.

import { mkdirSync, readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { type Handler, type Server, serve } from "ringcast";
import { type Lost, connect } from "ringcast/client";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { withBrowser } from "../lib/browser";
import { portOf } from "../lib/port";
import { until, within } from "./peer";

const dim = suite("dim");

/** The page may neither use styles in its markup nor in elements of its scripts. */
const POLICY = "default-src 'self'; script-src 'self'; style-src 'self'; img-src data:";
const FILES: Readonly<Record<string, readonly [type: string, text: string]>> = {
  "/": [
    "text/html",
    `<!doctype html><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">
     <h1>Prices</h1><p id="part">tin 12.5</p><button>Press</button><script type="module" src="/page.js"></script>`,
  ],
  "/page.css": [
    "text/css",
    "html { background: white } .own [data-connection-lost] { opacity: 0.7 }",
  ],
  "/page.js": [
    "text/javascript",
    'import * as client from "/client.js"; globalThis.client = client;',
  ],
  "/client.js": ["text/javascript", readFileSync("dist/client.js", "utf8")],
};

const handler: Handler = {
  request(req, res) {
    if (req.upgrade) return req.path === "/gone" ? res.send(403) : res.upgrade();
    const file = FILES[req.path];
    if (!file) return res.send(404);
    return res.header("Content-Security-Policy", POLICY).send(200, ...file);
  },
  message: (ws) => ws.close(4001, "enough"),
};

/** Waits until an expression is true. The page's policy forbids the eval of waitForFunction. */
const holds = (page: Page, expression: string): Promise<void> =>
  until(expression, async () => Boolean(await page.evaluate(expression)));

/** Runs a page of a server that can be started again. */
async function opened(
  body: (page: Page, end: () => Promise<void>, again: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const start = (port: number): Promise<Server> => within(serve({ port, handler }), "serve");
  let server = await start(0);
  const port = portOf(server);
  try {
    await withBrowser(async (browser) => {
      const page = await browser.open(`http://127.0.0.1:${port}/`, /WebSocket connection to/);
      await holds(page, "globalThis.client");
      const again = async (): Promise<void> => {
        server = await start(port);
      };
      await body(page, () => server.shutdown(), again);
    });
  } finally {
    await within(server.close(), "close");
  }
}

/** Returns the opacity and the filter of an element, as the browser has computed them. */
function look(page: Page, selector: string): Promise<string> {
  const script = `(({ opacity, filter }) => opacity + " " + filter)(
    getComputedStyle(document.querySelector(${JSON.stringify(selector)})))`;
  return page.evaluate(script) as Promise<string>;
}

const seen = (page: Page, selector: string, expected: string): Promise<void> =>
  until(`${selector} is ${expected}`, async () => (await look(page, selector)) === expected);

const CLEAR = "1 none";
const DIMMED = "0.4 grayscale(1)";
const MARKED = "document.querySelectorAll('[data-connection-lost]').length";

dim("a page is dimmed from the loss of its connection until it is back", () =>
  opened(async (page, end, again) => {
    await page.evaluate(`globalThis.one = client.connect("/live", { dim: true, delay: 50 })`);
    await holds(page, "one.isOpen");
    assert.equal([await look(page, "html"), await page.evaluate(MARKED)], [CLEAR, 0]);
    await end();
    await seen(page, "html", DIMMED);
    mkdirSync(".cache/dim", { recursive: true });
    await page.screenshot({ path: ".cache/dim/lost.png" });
    await page.getByRole("button").click();
    await again();
    await holds(page, "one.isOpen");
    assert.equal([await look(page, "html"), await page.evaluate(MARKED)], [CLEAR, 0]);
    await page.screenshot({ path: ".cache/dim/back.png" });
  }),
);

dim("an element is dimmed while one of its connections is lost, as the page's rules say", () =>
  opened(async (page, end, again) => {
    await page.evaluate(`
      const dim = document.querySelector("#part");
      globalThis.both = [1, 2].map(() => client.connect("/live", { dim, delay: 50 }));
      globalThis.gone = client.connect("/gone", { dim, delay: 50 });`);
    await holds(page, "both.every(({ isOpen }) => isOpen)");
    await seen(page, "#part", DIMMED);
    assert.is(await look(page, "html"), CLEAR);
    // The third was never open.
    await page.evaluate("gone.close()");
    assert.is(await look(page, "#part"), CLEAR);
    await page.evaluate(`document.body.className = "own"`);
    await end();
    await seen(page, "#part", "0.7 grayscale(1)");
    await page.evaluate("both[0].close()");
    assert.is(await page.evaluate(MARKED), 1);
    await again();
    await holds(page, "both[1].isOpen");
    assert.equal([await look(page, "#part"), await page.evaluate(MARKED)], [CLEAR, 0]);
    // A connection that the server has ended for good is lost until the page closes it.
    await page.evaluate(`both[1].send("end")`);
    await seen(page, "#part", "0.7 grayscale(1)");
    await page.evaluate("both[1].close()");
    assert.is(await page.evaluate(MARKED), 0);
  }),
);

dim("anything but an element or a boolean is refused", () =>
  opened(async (page) => {
    const refusal = (value: string): Promise<unknown> =>
      page.evaluate(`(() => {
        try { client.connect("/live", { dim: ${value} }); return "accepted"; }
        catch (error) { return error.name + ": " + error.message; }
      })()`);
    assert.is(await refusal("5"), "TypeError: dim: 5 is not an element or a boolean");
    assert.is(await refusal(`"#part"`), "TypeError: dim: #part is not an element or a boolean");
    assert.is(await refusal("null"), "TypeError: dim: null is not an element or a boolean");
  }),
);

dim("a program that is no page connects as without it", async () => {
  const server = await within(serve({ port: 0, handler }), "serve");
  const losses: Lost[] = [];
  const options = { WebSocket, dim: true, delay: 1, onLost: (lost: Lost) => losses.push(lost) };
  const connection = connect(`ws://127.0.0.1:${portOf(server)}/live`, options);
  try {
    await until("it is open", () => connection.isOpen);
    await server.close();
    await until("it is lost", () => losses.length > 1);
  } finally {
    connection.close();
    await server.close();
  }
});

dim.run();
