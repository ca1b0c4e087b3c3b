// The native EventSource of Chromium and of Firefox, over real connections.

import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { withFirefox } from "../lib/firefox";
import { Cutter } from "./cutter";
import { fileUrl, until, within } from "./peer";

const browsers = suite("events in browsers");

const MODULE = fileUrl("handlers/events.mjs");

interface Tab {
  open(url: string): Promise<void>;
  evaluate(expression: string): Promise<unknown>;
}

const BROWSERS: readonly (readonly [
  name: string,
  run: (body: (tab: Tab) => Promise<void>) => Promise<void>,
])[] = [
  [
    "Chromium",
    (body) =>
      withBrowser(async (browser) => {
        let page: Awaited<ReturnType<typeof browser.open>> | undefined;
        await body({
          async open(url) {
            page = await browser.open(url, /ERR_|404|favicon/);
          },
          evaluate: (expression) =>
            page?.evaluate(expression) ?? Promise.reject(new Error("no page")),
        });
      }),
  ],
  ["Firefox", withFirefox],
];

/** Opens an EventSource that notes each event. @param name of the list of notes */
const opening = (path: string, name = "got"): string => `(() => {
  const got = (globalThis.${name} = []);
  const source = (globalThis.${name}Source = new EventSource("${path}"));
  source.onopen = () => got.push("open");
  source.onmessage = ({ data, lastEventId }) => got.push(data.split("\\n")[0] + (lastEventId && "@"));
  source.onerror = () => got.push("error " + source.readyState);
  for (const name of ["ringcast-gap", "news"])
    source.addEventListener(name, ({ data }) => got.push(name + " " + data));
  source.addEventListener("ringcast-close", ({ data }) => got.push("close " + JSON.parse(data).code));
  return 0;
})()`;

/** Waits until the last notes are these. */
function ends(tab: Tab, ...wanted: string[]): Promise<void> {
  return until(`the page gets ${wanted}`, async () => {
    const got = (await tab.evaluate("got")) as string[];
    return got.slice(-wanted.length).join() === wanted.join();
  });
}

const OPTIONS: Options = { handler: MODULE, port: 0, events: { names: true } };

const portOf = (server: Server): number => server.address.port as number;

for (const [browser, run] of BROWSERS) {
  browsers(
    `${browser} returns after a reset, a drain and a restart, and after a close until 204`,
    async () => {
      const cutter = new Cutter();
      await cutter.listen();
      let server = await serve(OPTIONS);
      cutter.target = portOf(server);
      try {
        await run(async (tab) => {
          await tab.open(`http://127.0.0.1:${cutter.port}/`);
          await tab.evaluate(opening("/all?news"));
          await ends(tab, "open", "events /all");
          server.broadcast("one");
          await ends(tab, "one@");
          server.publish("news", "a\r\nb");
          await ends(tab, "news a\nb");
          cutter.reset();
          await ends(tab, "error 0", "open", "events /all@");
          await server.shutdown({ drainMs: 50 });
          await ends(tab, "close 1012", "error 0");
          server = await serve(OPTIONS);
          cutter.target = portOf(server);
          await ends(tab, "open", "events /all@");
          server.broadcast("two");
          await ends(tab, "two@");
          await tab.evaluate("gotSource.close()");
          await tab.evaluate(opening("/closes"));
          await ends(tab, "open", "close 4001", "error 0", "error 2");
          await until("none is left", async () => (await server.stats()).eventStreams === 0);
        });
      } finally {
        cutter.close();
        await within(server.close(), "close");
      }
    },
  );

  browsers(
    `${browser} tries a full server again until there is room; a gap has its event`,
    async () => {
      const server = await serve({
        ...OPTIONS,
        maxWebSockets: 1,
        ring: "64KiB",
        eventRing: "4KiB",
      });
      const first = new AbortController();
      const url = `http://127.0.0.1:${portOf(server)}`;
      try {
        await fetch(`${url}/all`, { signal: first.signal });
        await run(async (tab) => {
          await tab.open(`${url}/`);
          await tab.evaluate(opening("/all"));
          await ends(tab, "open", "error 0");
          first.abort();
          await ends(tab, "open", "events /all");
          assert.ok(((await server.stats()).closed.NoRoom ?? 0) >= 1);
          server.broadcast("\n".repeat(5000));
          await ends(tab, 'ringcast-gap {"reason":"large"}');
          server.broadcast("next");
          await ends(tab, "next@");
        });
      } finally {
        await within(server.close(), "close");
      }
    },
  );

  browsers(
    `${browser} has six streams of nine open, and the others when there is room`,
    async () => {
      const server = await serve(OPTIONS);
      try {
        await run(async (tab) => {
          await tab.open(`http://127.0.0.1:${portOf(server)}/`);
          const names = Array.from({ length: 9 }, (_, i) => `got${i}`);
          for (const name of names) await tab.evaluate(opening("/all", name));
          const opened = async (): Promise<string[]> => {
            const all = `[${names.map((name) => `${name}.includes("events /all")`)}]`;
            const isOpen = (await tab.evaluate(all)) as boolean[];
            return names.filter((_, i) => isOpen[i]);
          };
          await until("six are open", async () => (await opened()).length === 6);
          assert.is((await server.stats()).eventStreams, 6);
          for (const name of (await opened()).slice(0, 3))
            await tab.evaluate(`${name}Source.close()`);
          await until("all were open", async () => (await opened()).length === 9);
          await until("six are left", async () => (await server.stats()).eventStreams === 6);
        });
      } finally {
        await within(server.close(), "close");
      }
    },
  );
}

browsers.run();
