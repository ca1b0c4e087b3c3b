// What `npm start` shows: its page in headless Chromium shows live figures, and notices when the server has gone.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../browser";
import { within } from "./peer";

const demo = suite("demo");

/** What Chromium itself writes when the server has gone. */
const GONE = /WebSocket connection to .* failed/;

/** Where a program says that it is live. @throws Error when it ends before */
function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    const take = (bytes: Buffer): void => {
      output += bytes;
      const [address] = /http:\/\/localhost:\d+/.exec(output) ?? [];
      if (address) resolve(address);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("close", () => reject(new Error(`it ended: ${output}`)));
  });
}

demo("its page is live, counts its own WebSocket, and notices the end", async () => {
  const child = spawn(process.execPath, [".scripts/start.mjs"], {
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  try {
    const address = await within(addressOf(child), "the address", 60000);
    await withBrowser(async (browser) => {
      const page = await browser.open(address, GONE);
      await page.locator("body.live").waitFor();
      const text = (selector: string): Promise<string | null> =>
        page.locator(selector).textContent();
      // Ten samples a second, which the server counts like any other message.
      await page.waitForFunction(
        () => Number.parseFloat(document.querySelector("#mps")?.textContent ?? "") >= 5,
      );
      assert.match((await text("#ws")) ?? "", /^1\s*WebSocket$/);
      for (const name of ["cpu", "mem", "ring", "http", "evicted"])
        assert.match((await text(`#${name}`)) ?? "", /^[\d.]+/, name);
      mkdirSync(".cache/demo", { recursive: true });
      await page.screenshot({ path: ".cache/demo/page.png" });
      assert.ok(child.kill("SIGTERM"));
      assert.is(await within(ended, "its end", 10000), 0);
      await page.locator("#bar").waitFor({ state: "visible" });
    });
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
});

demo.run();
