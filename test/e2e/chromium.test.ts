// `ringcast/engine` and `ringcast/testing` in headless Chromium, from the built package: the server suite in memory,
// and a run of a seed that is the same, message by message, as on Node.

import { readFile } from "node:fs/promises";
import path from "node:path";
import { type BuildOptions, build } from "esbuild";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { type PageResults, scripted } from "../page/memory";
import { withWebServer } from "./web";

const chromium = suite("chromium");
const DIST = path.resolve("dist");
const PAGE =
  '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';

/** Bundles the page's program; the package stays outside of it. */
async function program(): Promise<string> {
  const options = {
    ...{ entryPoints: ["test/page/memory.ts"], bundle: true, format: "esm", platform: "browser" },
    plugins: [
      {
        name: "package",
        setup({ onResolve }) {
          onResolve({ filter: /^ringcast\/\w+$/ }, ({ path: name }) => ({
            path: `/dist/${name.slice("ringcast/".length)}.js`,
            external: true,
          }));
        },
      },
    ],
  } satisfies BuildOptions;
  const { outputFiles } = await build({ ...options, write: false });
  return outputFiles[0]?.text ?? "";
}

/** Runs a web server of the page and of dist/. @param csp its Content-Security-Policy */
async function serving(csp: string, body: (origin: string) => Promise<void>): Promise<void> {
  const script = await program();
  await withWebServer(async (req, res) => {
    const { pathname } = new URL(req.url ?? "/", "http://a");
    const send = (type: string, data: string | Uint8Array): void => {
      res.writeHead(200, { "Content-Type": type, "Content-Security-Policy": csp }).end(data);
    };
    if (pathname === "/") send("text/html", PAGE);
    else if (pathname === "/page.js") send("text/javascript", script);
    else {
      const type = pathname.endsWith(".wasm") ? "application/wasm" : "text/javascript";
      send(type, await readFile(path.join(DIST, path.basename(pathname))));
    }
  }, body);
}

chromium("the suite passes, the engine loads from a URL, a seed's run is that of Node", () =>
  serving("default-src 'self' 'wasm-unsafe-eval'; img-src data:", (origin) =>
    withBrowser(async (browser) => {
      const page = await browser.open(`${origin}/`);
      await page.waitForFunction(() => "results" in globalThis);
      const { checks, engine, log } = (await page.evaluate("results")) as PageResults;
      const failed = checks.filter(({ passed }) => !passed);
      assert.equal(failed, []);
      assert.ok(checks.length > 50, `${checks.length} checks`);
      assert.is(engine, "HTTP/1.1 404 Not Found");
      assert.ok(log.length > 100000, `${log.length} characters`);
      assert.ok(log.includes("closed 1006"), "some are evicted");
      assert.is(log, await scripted(5));
    }),
  ),
);

chromium.run();
