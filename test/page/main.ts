// The page's side of the tests: functions that the browser is asked to run, by name.

import { type BrowserServer, serve } from "ringcast/browser";
import { type Result, runSuite } from "../suite/suite";
import { closures } from "../suite/suite-handler";
import { type Kit, TESTS } from "./api";
import { SCENARIOS } from "./compare";
import { pagePlatform } from "./platform";

export interface PageTests {
  /** Runs one test and returns its fault; "" when there is none. */
  test(name: string): Promise<string>;
  /** Plays a scenario against the page's own WebSocket and ours. */
  compare(name: string): Promise<{ native: string[]; ours: string[] }>;
  /** Runs the server suite; its results. */
  suite(): Promise<Result[]>;
}

const HANDLER = new URL("/files/test/e2e/handlers/scenarios.mjs", location.href);

const SUITE_HANDLER = new URL("/files/.cache/page/suite-handler.js", location.href);

/** Servers for the time of `body`. */
async function withServers<T>(body: (kit: Kit) => Promise<T>): Promise<T> {
  const servers: BrowserServer[] = [];
  try {
    return await body({
      async serve(options) {
        const server = await serve({ handler: HANDLER, ...options });
        servers.push(server);
        return server;
      },
    });
  } finally {
    await Promise.all(servers.map((server) => server.close().catch(() => undefined)));
  }
}

const page: PageTests = {
  async test(name) {
    const run = TESTS[name];
    if (!run) throw new Error(`there is no test "${name}"`);
    try {
      await withServers(run);
      return "";
    } catch (error) {
      const { message, stack, details } = error as Error & { details?: string };
      return `${message}\n${details ?? ""}\n${stack}`;
    }
  },

  async compare(name) {
    const play = SCENARIOS[name];
    if (!play) throw new Error(`there is no scenario "${name}"`);
    const native = await play(WebSocket, location.origin.replace("http", "ws"));
    const ours = await withServers(async (kit) => {
      const server = await kit.serve();
      return play(server.WebSocket, "ws://ringcast.test");
    });
    return { native, ours };
  },

  suite: () => runSuite(pagePlatform(SUITE_HANDLER, closures)),
};

Object.assign(globalThis, { page });
