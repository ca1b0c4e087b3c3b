// The example of `ringcast/browser`: a front end whose tests run in the browser. All of them pass there, and the
// list of them can be read by light and by dark.

import { mkdirSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { httpUrl, serving } from "./peer";

const example = suite("example");
mkdirSync(".cache/example", { recursive: true });

/** Returns the luminance of a colour (WCAG 2.2), "rgb(…)" as a browser computes it. */
function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = (colour.match(/[\d.]+/g) ?? []).map((text) => {
    const value = Number(text) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

example("its tests pass in Chromium, and their list is legible", () =>
  serving("pages", {}, (_server, port) =>
    withBrowser(async (browser) => {
      const page = await browser.open(httpUrl(port, "/files/test/example/chat/tests.html"));
      await page.waitForFunction(() => "testResults" in globalThis);
      const problems = await page.locator("#results li.failed").allTextContents();
      assert.equal(problems, []);
      assert.is(await page.locator("#results li.passed").count(), 8);
      assert.is(await page.locator("#summary").textContent(), "8 of 8 tests passed");
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        const colours = await page.evaluate(() => {
          const ground = getComputedStyle(document.body).backgroundColor;
          const parts = ["h1", "#summary", "#results span", "#results small"];
          return parts.map((part) => {
            const element = document.querySelector(part) as Element;
            return [part, getComputedStyle(element).color, ground] as const;
          });
        });
        for (const [part, colour, ground] of colours)
          assert.ok(contrast(colour, ground) >= 4.5, `${part} by ${colorScheme}: ${colour}`);
        await page.screenshot({ path: `.cache/example/${colorScheme}.png` });
      }
    }),
  ),
);

example("its page works without a backend", () =>
  serving("pages", {}, (_server, port) =>
    withBrowser(async (browser) => {
      const page = await browser.open(httpUrl(port, "/files/test/example/chat/index.html"));
      const input = page.getByLabel("Say something");
      await page.getByText("connected").waitFor();
      for (const text of ["hello", "is anybody there?"]) {
        await input.fill(text);
        await input.press("Enter");
        await page.getByText(`you: ${text}`).waitFor();
      }
      const price = page.locator('[data-id="price-TIN"]');
      const before = await price.textContent();
      await page.waitForFunction(
        (text) => document.querySelector('[data-id="price-TIN"]')?.textContent !== text,
        before,
      );
      await page.screenshot({ path: ".cache/example/page.png" });
    }),
  ),
);

example.run();
