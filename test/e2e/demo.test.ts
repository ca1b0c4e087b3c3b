// The page of `npm start` in headless Chromium: it says what Ringcast is, shows live figures, adds clients that read
// and clients that stall, shows how far the stalled ones have come, reports evicted ones, and notices when the server
// has gone and when it is back. Nothing of it is left when it ends, in whatever way.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import type { Options } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import type { Demo } from "../../host/demo/demo";
import type { Sample } from "../../host/demo/message";
import { type Browser, withBrowser } from "../lib/browser";
import { isRunning } from "../lib/process";
import { sleep, until, within } from "./peer";
import { portOf } from "../lib/port";

const demo = suite("demo");

/** Chromium's message when the server has gone. */
const GONE = /WebSocket connection to .* failed/;
const SHOTS = ".cache/demo";
/** Bytes of the page with all that it needs. */
const PAGE_LIMIT = 40000;
/** Longest for an eviction, ms: the system's buffers and a ring have to fill. */
const EVICTION = 60000;

/** Runs the demo as the package has it, in this process, for the duration of `body`. */
async function withDemo(options: Options, body: (demo: Demo) => Promise<void>): Promise<void> {
  const file = pathToFileURL(path.resolve("dist/demo/demo.js")).href;
  const { startDemo } = (await import(file)) as typeof import("../../host/demo/demo");
  const running = await startDemo({ port: 0, ...options });
  try {
    await body(running);
  } finally {
    await running.stop();
  }
}

/** Returns the address at which a program says that it is live. @throws Error when it ends before */
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

/** Runs `npm start` for the duration of `body`. */
async function withProgram(
  body: (address: string, child: ChildProcess, ended: Promise<number | null>) => Promise<void>,
): Promise<void> {
  const child = spawn(process.execPath, [".scripts/start.mjs"], {
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  try {
    await body(await within(addressOf(child), "the address", 60000), child, ended);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}

/** A client of the demo that is no browser: it receives samples and sends commands. */
class Watcher {
  readonly socket: WebSocket;
  sample: Sample | undefined;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`${url.replace("http", "ws")}/live`, { headers });
    this.socket.on("message", (data) => {
      const message = JSON.parse(String(data)) as Sample | { history: unknown };
      if (!("history" in message)) this.sample = message;
    });
    this.socket.on("error", () => undefined);
  }

  command(...command: unknown[]): void {
    this.socket.send(JSON.stringify(command));
  }

  until(what: string, isSo: (sample: Sample) => boolean): Promise<void> {
    return until(what, () => this.sample !== undefined && isSo(this.sample));
  }
}

const textOf = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).textContent()) ?? "";

/** Waits for a page whose connection is open and whose figures have come. */
async function live(browser: Browser, url: string): Promise<Page> {
  const page = await browser.open(url, GONE);
  await page.locator("body.live").waitFor();
  await page.waitForFunction(() =>
    /^[1-9]/.test(document.querySelector("#mps")?.textContent ?? ""),
  );
  return page;
}

/** The drawing on each canvas. */
const drawn = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    Array.from(document.querySelectorAll("canvas")).map((canvas) => canvas.toDataURL()),
  );

/** Notes each step that the stalled clients reach, in order, in `window.steps`. */
const noteSteps = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const steps: string[] = [];
    Object.assign(window, { steps });
    const look = (): void => {
      for (const item of Array.from(document.querySelectorAll("#stages [aria-current=step]"))) {
        const step = item.firstChild?.textContent?.trim() ?? "";
        if (step !== steps.at(-1)) steps.push(step);
      }
    };
    const list = document.querySelector("#stages") as Element;
    new MutationObserver(look).observe(list, { subtree: true, attributes: true });
  });

/** Labels that the page draws on its axes from now on, until there are some of each chart. */
async function axisLabels(page: Page): Promise<string[]> {
  await page.evaluate(() => {
    const labels = new Set<string>();
    Object.assign(window, { labels });
    const { prototype } = CanvasRenderingContext2D;
    const { fillText } = prototype;
    prototype.fillText = function (text, x, y, ...rest) {
      if (this.canvas.dataset.chart !== "cores" && x > 0 && this.textAlign === "left")
        labels.add(text);
      fillText.call(this, text, x, y, ...rest);
    };
  });
  await page.waitForFunction(() => {
    const { labels } = window as unknown as { labels: Set<string> };
    const all = Array.from(labels).join();
    return ["MiB", " ms", "kB/s", " /s"].every((unit) => all.includes(unit));
  });
  return page.evaluate(() => Array.from((window as unknown as { labels: Set<string> }).labels));
}

/** Presses Tab until an element has the focus; sees that it shows. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate((wanted) => {
      const focused = document.activeElement;
      if (!focused?.matches(wanted)) return undefined;
      const { outlineStyle, outlineWidth } = getComputedStyle(focused);
      return `${outlineStyle} ${outlineWidth}`;
    }, selector);
    if (found === undefined) continue;
    assert.is(found, "solid 2px", `the focus on ${selector} is seen`);
    return;
  }
  assert.unreachable(`${selector} is not reached by Tab`);
}

/** Least contrast of text with its background (WCAG 2.1, 1.4.3), and the texts with less than 4.5. */
const contrasts = (page: Page): Promise<{ least: number; low: string[] }> =>
  page.evaluate(() => {
    const context = document.createElement("canvas").getContext("2d") as CanvasRenderingContext2D;
    const channels = (color: string): number[] => {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = color;
      context.fillRect(0, 0, 1, 1);
      return Array.from(context.getImageData(0, 0, 1, 1).data);
    };
    const luminance = (color: number[]): number => {
      const [r = 0, g = 0, b = 0] = color.map((value) => {
        const v = value / 255;
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element: Element | null): number[] => {
      for (let at = element; at; at = at.parentElement) {
        const color = channels(getComputedStyle(at).backgroundColor);
        if (color[3] === 255) return color;
      }
      return [255, 255, 255, 255];
    };
    let least = 21;
    const low: string[] = [];
    for (const element of Array.from(document.querySelectorAll("body *"))) {
      const own = Array.from(element.childNodes).some(
        (node) => node.nodeType === 3 && node.textContent?.trim(),
      );
      if (!own || element.closest("script, style, noscript, :disabled, [hidden]")) continue;
      const ink = luminance(channels(getComputedStyle(element).color));
      const ground = luminance(behind(element));
      const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      least = Math.min(least, ratio);
      if (ratio < 4.5) low.push(`${element.tagName} ${element.textContent?.trim()} ${ratio}`);
    }
    return { least, low };
  });

/** Elements without a name, and elements wider than the window. */
const faults = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const nameOf = (element: Element): string => {
      const by = element.getAttribute("aria-labelledby");
      const named = by ? document.getElementById(by)?.textContent : undefined;
      const labels = (element as HTMLInputElement).labels;
      const label = labels ? Array.from(labels).map((one) => one.textContent) : [];
      const all = [named, element.getAttribute("aria-label"), ...label, element.textContent];
      return all.find((text) => text?.trim()) ?? "";
    };
    const found: string[] = [];
    const asked = "button, input, canvas, section, aside, fieldset, table, ol, ul, a";
    for (const element of Array.from(document.querySelectorAll(asked)))
      if (!nameOf(element)) found.push(`${element.tagName}#${element.id} has no name`);
    for (const wanted of ["header", "main", "footer", "h1"])
      if (document.querySelectorAll(wanted).length !== 1) found.push(`not one ${wanted}`);
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth) found.push(`${scrollWidth} wide in ${clientWidth}`);
    return found;
  });

demo("its page is live, counts its own WebSocket, and notices the end", () =>
  withProgram((address, child, ended) =>
    withBrowser(async (browser) => {
      const page = await live(browser, address);
      // Ten samples a second, which the server counts like any other message.
      await page.waitForFunction(
        () => Number.parseFloat(document.querySelector("#mps")?.textContent ?? "") >= 5,
      );
      assert.is(await textOf(page, "#ws"), "1");
      for (const name of ["cpu", "mem", "fill", "http", "evicted", "loop", "bps"])
        assert.match(await textOf(page, `#${name}`), /^(< )?[\d.]+/, name);
      const before = await drawn(page);
      await page.waitForTimeout(1000);
      const after = await drawn(page);
      for (const [i, picture] of after.entries())
        assert.ok(picture !== before[i], `canvas ${i} moves`);
      const watcher = new Watcher(address);
      await watcher.until("a sample", () => true);
      watcher.command("add", "reading", 5);
      await watcher.until("clients", ({ crowd }) => crowd?.reading === 5);
      assert.ok(child.kill("SIGTERM"));
      assert.is(await within(ended, "its end", 10000), 0);
      await page.locator("#bar").waitFor({ state: "visible" });
    }),
  ),
);

demo("its page says what Ringcast is, in two sentences that are seen at every width", () =>
  withDemo({}, ({ url }) =>
    withBrowser(async (browser) => {
      const page = await live(browser, url);
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 844 });
        const about = page.locator("#about");
        assert.ok(await about.isVisible(), `${width}`);
        const box = await about.boundingBox();
        assert.ok(box && box.y + box.height < 844, "without scrolling");
        const [said = ""] = (await about.innerText()).split("This page");
        assert.match(said, /^Ringcast is an HTTP\/1\.1 and WebSocket server/);
        assert.is(said.match(/\.(\s|$)/g)?.length, 2);
      }
    }),
  ),
);

demo("the axes of its charts have whole numbers only, and the memory is this process's", () =>
  withDemo({}, ({ url }) =>
    withBrowser(async (browser) => {
      const page = await live(browser, url);
      const labels = await axisLabels(page);
      assert.ok(labels.length >= 8, labels.join());
      for (const label of labels) assert.match(label, /^[\d,]+( \S+)?$/);
      const shown = await textOf(page, "#mem");
      const [, figure, unit] = /^([\d.]+) (MiB|GiB)$/.exec(shown) ?? [];
      const bytes = Number(figure) * 1024 ** (unit === "GiB" ? 3 : 2);
      // The demo runs in this process.
      const ratio = bytes / process.memoryUsage.rss();
      assert.ok(ratio > 0.5 && ratio < 2, `${shown}, ${ratio} of what it is`);
    }),
  ),
);

demo("its page sends no requests elsewhere, and is small", () =>
  withDemo({}, ({ url }) =>
    withBrowser(async (browser) => {
      const page = await live(browser, url);
      const asked = await page.evaluate(() =>
        performance.getEntriesByType("resource").map(({ name }) => name),
      );
      assert.equal(
        asked.filter((name) => !name.startsWith(`${url}/`)),
        [],
      );
      const text = await (await fetch(url)).text();
      assert.not.match(text, /\bhttps?:\/\/(?!www\.w3\.org)|@import/);
      console.log(`page: ${text.length} bytes, ${gzipSync(text).length} packed`);
      assert.ok(Buffer.byteLength(text) < PAGE_LIMIT);
      const { headers } = await fetch(url);
      const policy = headers.get("content-security-policy") ?? "";
      assert.match(policy, /default-src 'none'/);
      assert.not.match(policy, /unsafe/);
    }),
  ),
);

demo("by keyboard alone one adds readers and a stalled client, which is evicted alone", () =>
  withDemo({}, ({ url, server }) =>
    withBrowser(async (browser) => {
      const page = await live(browser, url);
      assert.match(await textOf(page, "#rows"), /^None yet/);
      assert.is(await textOf(page, "#kernel"), "none");
      await noteSteps(page);
      await tabTo(page, '[data-command*="reading"]');
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("#ws")?.textContent === "11");
      await tabTo(page, '[data-command*="stalled"]');
      await page.keyboard.press("Space");
      await page.waitForFunction(() => document.querySelector("#ws")?.textContent === "12");
      assert.match(await textOf(page, "#there"), /^10 of 500 readers, 1 of 20 stalled$/);
      await page.waitForFunction(() =>
        /^1 client, [\d.]+ [KM]iB$/.test(document.querySelector("#kernel")?.textContent ?? ""),
      );
      await tabTo(page, "#load");
      await page.keyboard.press("ArrowRight");
      await page.waitForFunction(() =>
        /^1\D*MB/.test(document.querySelector("#rate")?.textContent ?? ""),
      );
      await page.waitForFunction(() =>
        /^1 client, \d+ %$/.test(document.querySelector("#behind")?.textContent ?? ""),
      );
      // It lags while the others do not.
      await page.waitForFunction(() =>
        /[1-9]/.test(document.querySelector(".lag li:last-child b")?.textContent ?? ""),
      );
      await page.locator("#rows td:nth-child(5)").first().waitFor({ timeout: EVICTION });
      const cells = await page.locator("#rows tr").first().locator("td").allTextContents();
      assert.match(
        cells.join(" "),
        /^\d\d:\d\d:\d\d (127\.0\.1\.1|127\.0\.0\.1) too slow [12](\.\d)? MiB [\d.]+ s$/,
      );
      await page.waitForFunction(() => document.querySelector("#evicted")?.textContent === "1");
      assert.match(await textOf(page, "#closed"), /WebSocket client too slow 1/);
      await page.waitForFunction(() => document.querySelector("#gone")?.textContent === "1 client");
      await page.waitForFunction(
        () => (window as unknown as { steps: string[] }).steps.at(-1) === "Evicted",
      );
      const steps = await page.evaluate(() => (window as unknown as { steps: string[] }).steps);
      assert.equal(steps, ["Kernel buffers filling", "Ring filling", "Evicted"]);
      await page.waitForFunction(() =>
        /evicted: 127/.test(document.querySelector("#said")?.textContent ?? ""),
      );
      await page.waitForFunction(() => document.querySelector("#ws")?.textContent === "11");
      const { evicted, webSockets } = await server.stats();
      assert.equal([evicted, webSockets], [1, 11], "nobody else noticed");
      await tabTo(page, '[data-command*="clear"]');
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("#ws")?.textContent === "1");
    }),
  ),
);

demo("it says that the connection is lost, and comes back when the server does", () =>
  withBrowser(async (browser) => {
    let page: Page | undefined;
    let port = 0;
    await withDemo({}, async ({ url, server }) => {
      port = portOf(server);
      page = await live(browser, url);
    });
    if (!page) throw new Error("there is no page");
    await page.locator("body.lost").waitFor();
    assert.is(await textOf(page, "#notice"), "Connection lost");
    assert.match(await textOf(page, "#wait"), /trying again/);
    assert.is(await page.locator("#play:disabled").count(), 1);
    const opacity = await page.evaluate(async () => {
      const main = document.querySelector("main") as HTMLElement;
      await Promise.all(main.getAnimations().map(({ finished }) => finished));
      return Number(getComputedStyle(main).opacity);
    });
    assert.ok(opacity < 0.5, "it is dim");
    await page.waitForTimeout(2000);
    const there = page;
    await withDemo({ port }, async () => {
      await there.locator("body.live").waitFor();
      await there.locator("#bar").waitFor({ state: "hidden" });
      await there.locator("#play:enabled").waitFor();
    });
  }),
);

demo("in both themes, on a desktop and on a phone: text is read, everything has a name", () =>
  withDemo({}, ({ url }) =>
    withBrowser(async (browser) => {
      const page = await live(browser, url);
      await page.locator('[data-command*="stalled"]').click();
      await page.locator("#stages [aria-current]").waitFor();
      mkdirSync(SHOTS, { recursive: true });
      const grounds = new Set<string>();
      for (const [width, height] of [
        [1280, 800],
        [390, 844],
      ] as const) {
        await page.setViewportSize({ width, height });
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          await page.waitForTimeout(500);
          const { least, low } = await contrasts(page);
          assert.equal(low, [], `${width} ${colorScheme}`);
          assert.ok(least >= 4.5 && least < 21);
          assert.equal(await faults(page), [], `${width} ${colorScheme}`);
          grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
          await page.screenshot({ path: `${SHOTS}/${width}-${colorScheme}.png`, fullPage: true });
        }
      }
      assert.is(grounds.size, 2, "the themes differ");
      // The switch overrides what the system says, and is kept.
      await page.emulateMedia({ colorScheme: "light" });
      await page.locator("#theme").click();
      await page.locator("#theme").click();
      assert.is(await page.locator("#theme").getAttribute("aria-label"), "Theme: dark");
      const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      await page.reload();
      await page.locator("body.live").waitFor();
      assert.is(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), dark);
    }),
  ),
);

demo("a page that connects later shows the minute before it connected", () =>
  withDemo({}, async ({ url }) => {
    const first = new Watcher(url);
    await first.until("a sample", ({ server }) => server !== null);
    const history = await new Promise<{ time: number }[]>((resolve, reject) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/live`);
      socket.on("error", reject);
      socket.on("message", (data) => {
        const message = JSON.parse(String(data)) as { history?: { time: number }[] };
        if (message.history) resolve(message.history);
      });
    });
    assert.ok(history.length > 0);
    assert.ok((history[0]?.time ?? 0) <= (first.sample?.time ?? 0));
  }),
);

demo("an unknown command, or one too many, does nothing", () =>
  withDemo({}, async ({ url, server }) => {
    const watcher = new Watcher(url);
    await watcher.until("a sample", ({ crowd }) => crowd !== null);
    for (const command of [
      ...["", "[]", "null", "1", "{}", '["add"]', '["add","reading",0]', '["add","other",1]'],
      ...['["add","reading",1.5]', '["add","stalled","1"]', '["load",1]', '["load","512000"]'],
    ])
      watcher.socket.send(command);
    watcher.command("add", "stalled", 1000000);
    watcher.command("add", "stalled", 20);
    await watcher.until("clients", ({ crowd }) => crowd?.stalled === 20);
    assert.equal([watcher.sample?.crowd?.reading, watcher.sample?.crowd?.load], [0, 512000]);
    watcher.command("load", 0);
    await watcher.until("no load", ({ crowd }) => crowd?.rate === 0);
    await until("all of them", async () => (await server.stats()).webSockets === 21);
    watcher.command("clear");
    await watcher.until("nobody", ({ crowd }) => crowd?.stalled === 0);
    await until("only this one", async () => (await server.stats()).webSockets === 1);
    watcher.socket.send("x".repeat(65));
    await until("a message that is too long", () => watcher.socket.readyState === WebSocket.CLOSED);
  }),
);

/** Sends a command that must do nothing, and a second later says how many clients are there. */
async function afterCommand(
  { url, server }: Demo,
  headers: Record<string, string>,
): Promise<number> {
  const watcher = new Watcher(url, headers);
  await watcher.until("a sample", ({ server }) => server !== null);
  watcher.command("add", "reading", 3);
  // Nothing must happen; clients that were added would be there by now.
  await sleep(1000);
  const { webSockets } = await server.stats();
  watcher.socket.close();
  return webSockets;
}

demo("a page of another name of this machine may not add clients", () =>
  withDemo({}, async (running) => {
    assert.is(await afterCommand(running, { Host: "evil.example" }), 1);
    const other = new Watcher(running.url, { Origin: "http://evil.example" });
    await until("a refusal", () => other.socket.readyState === WebSocket.CLOSED);
    assert.is(other.sample, undefined);
  }),
);

demo("where others can connect, no page may add clients; the page says so", () =>
  withDemo({ hostname: "0.0.0.0" }, (running) =>
    withBrowser(async (browser) => {
      assert.is(await afterCommand(running, {}), 1);
      const page = await live(browser, running.url);
      assert.is(await page.locator("#play:disabled").count(), 1);
      assert.match(
        await textOf(page, "#why"),
        /only when the server listens on this machine alone/,
      );
    }),
  ),
);

/** Ids of the processes that a process has started. */
const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);

for (const signal of ["SIGINT", "SIGKILL"] as const) {
  demo(`its clients end with it, when it ends by ${signal}`, () =>
    withProgram(async (address, child, ended) => {
      const watcher = new Watcher(address);
      await watcher.until("a sample", ({ crowd }) => crowd !== null);
      watcher.command("add", "reading", 3);
      watcher.command("add", "stalled", 3);
      await watcher.until("clients", ({ crowd }) => crowd?.reading === 3 && crowd.stalled === 3);
      const children = childrenOf(child.pid ?? 0);
      assert.is(children.length, 1);
      child.kill(signal);
      const code = await within(ended, "its end", 10000);
      assert.is(code, signal === "SIGINT" ? 0 : null);
      await until("the end of its clients", () => !children.some(isRunning));
    }),
  );
}

demo.run();
