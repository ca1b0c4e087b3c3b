// `ringcast/browser` in headless Chromium: its API in a page that a real server serves, plainly and cross-origin
// isolated, and its WebSocket beside the page's own.

import { build } from "esbuild";
import type { Page } from "playwright-core";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { TESTS } from "../page/api";
import { SCENARIOS } from "../page/compare";
import type { PageTests } from "../page/main";
import { httpUrl, serving, within } from "./peer";

declare global {
  // Of the page.
  var page: PageTests;
}

/** Messages of Chromium itself about connections that are to fail, and responses that are refusals. */
const EXPECTED =
  /WebSocket connection to .* (failed|closed before)|already in CLOSING|Failed to load|ringcast: origin:/;

/** A page for the time of a suite. */
class Visit {
  #page: Page | undefined;
  #leave: () => void = () => undefined;
  #over: Promise<void> | undefined;

  async begin(target: string): Promise<void> {
    await build({
      entryPoints: { main: "test/page/main.ts", "suite-handler": "test/suite/suite-handler.ts" },
      outdir: ".cache/page",
      bundle: true,
      format: "esm",
      platform: "browser",
      target: "es2022",
      external: ["ringcast/browser"],
      logLevel: "warning",
    });
    const left = new Promise<void>((resolve) => {
      this.#leave = resolve;
    });
    await new Promise<void>((resolve, reject) => {
      this.#over = serving("pages", { origins: ["*"] }, (_server, port) =>
        withBrowser(async (browser) => {
          const page = await browser.open(httpUrl(port, target), EXPECTED);
          await page.waitForFunction(() => "page" in globalThis);
          this.#page = page;
          resolve();
          await left;
        }),
      );
      this.#over.catch(reject);
    });
  }

  get page(): Page {
    if (!this.#page) throw new Error("there is no page");
    return this.#page;
  }

  async end(): Promise<void> {
    this.#leave();
    await this.#over;
  }
}

for (const mode of ["plain", "isolated"]) {
  const tests = suite(`browser, ${mode}`);
  const visit = new Visit();
  tests.before(() => visit.begin(`/files/test/page/index.html?${mode}`));
  for (const name of Object.keys(TESTS)) {
    tests(name, async () => {
      const run = visit.page.evaluate((which) => globalThis.page.test(which), name);
      assert.is(await within(run, name), "");
    });
  }
  if (mode === "plain") {
    for (const name of Object.keys(SCENARIOS)) {
      tests(`as Chromium's own: ${name}`, async () => {
        const run = visit.page.evaluate((which) => globalThis.page.compare(which), name);
        const { native, ours } = await within(run, name);
        assert.ok(native.length > 0);
        assert.equal(ours, native);
      });
    }
  }
  tests("the server suite", async () => {
    const results = await within(
      visit.page.evaluate(() => globalThis.page.suite()),
      "the server suite",
      100000,
    );
    const failed = results.filter(({ passed }) => !passed);
    console.log(`${results.length} checks`);
    assert.ok(results.length > 100);
    assert.equal(failed, []);
  });
  tests("no page reported an error", () => visit.end());
  tests.run();
}
