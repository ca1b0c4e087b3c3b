// Headless Chromium for tests: a browser for the time of one test, whose pages may report no error.
//
// Invariant: whichever way the test ends, the browser is closed and its profile removed. It is driven over a
// pipe, so it ends with this process too.

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Page, chromium } from "playwright-core";
import { toolPath } from "../../.scripts/tools.mjs";

/** Longest for a launch, and for a step on a page, in ms. */
const LIMIT = 60000;

const ARGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

export interface Browser {
  /**
   * Opens a page. An exception in it, or an error on its console, fails the test.
   * @param expected errors on its console that do not
   */
  open(url: string, expected?: RegExp): Promise<Page>;
}

/**
 * Starts a new browser for the duration of `body`.
 * @param additional arguments of the browser
 * @throws Error when there is no Chromium, with the command that installs it; when a page reported an error
 */
export async function withBrowser(
  body: (browser: Browser) => Promise<void>,
  args: readonly string[] = [],
): Promise<void> {
  const executablePath = toolPath("chromium");
  const profile = await mkdtemp(path.join(os.tmpdir(), "ringcast-chromium-"));
  const errors: string[] = [];
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath,
      headless: true,
      args: [...ARGS, ...args],
      timeout: LIMIT,
    });
    try {
      context.setDefaultTimeout(LIMIT);
      await body({
        async open(url, expected) {
          const page = await context.newPage();
          page.on("pageerror", (error) => errors.push(String(error)));
          page.on("crash", () => errors.push(`${url} crashed`));
          page.on("console", (message) => {
            const text = message.text();
            if (!["error", "assert"].includes(message.type()) || expected?.test(text)) return;
            errors.push(`console: ${text}`);
          });
          await page.goto(url);
          return page;
        },
      });
    } finally {
      await context.close();
    }
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
  if (errors.length > 0) throw new Error(`a page reported errors:\n${errors.join("\n")}`);
}
