// Headless Firefox for tests, driven by WebDriver BiDi: a browser for the time of one test.
//
// Invariant: whichever way the test ends, the browser has ended and its profile is removed.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { WebSocket } from "ws";
import { toolPath } from "../../.scripts/tools.mjs";
import { within } from "./wait";

/** Longest for a launch, in ms. */
const LAUNCH = 60000;

/** Settings of the profile: nothing is fetched that no test asked for. */
const PREFERENCES = `
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("remote.active-protocols", 1);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
`;

/** A page in Firefox. */
export interface FirefoxPage {
  open(url: string): Promise<void>;
  /** Returns the value of an expression, or what its promise settles with, as JSON keeps it. */
  evaluate(expression: string): Promise<unknown>;
}

interface Reply {
  readonly id?: number;
  readonly type: string;
  readonly result?: unknown;
  readonly message?: string;
}

/** Commands of WebDriver BiDi and their results. */
class Session {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, (reply: Reply) => void>();
  #last = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => {
      const reply = JSON.parse(String(data)) as Reply;
      if (reply.id !== undefined) this.#pending.get(reply.id)?.(reply);
    });
  }

  async call(method: string, params: object): Promise<unknown> {
    const id = ++this.#last;
    const replied = new Promise<Reply>((resolve) => this.#pending.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { type, result, message } = await within(replied, method, LAUNCH);
    this.#pending.delete(id);
    if (type === "error") throw new Error(`${method}: ${message}`);
    return result;
  }
}

/** Returns the address at which a browser listens. */
function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stderr?.on("data", (data) => {
      text += String(data);
      const [, url] = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(text) ?? [];
      if (url) resolve(url);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`firefox exited with ${code}: ${text}`)));
  });
}

/**
 * Starts a new browser for the duration of `body`.
 * @throws Error when there is no Firefox, with the command that installs it
 */
export async function withFirefox(body: (page: FirefoxPage) => Promise<void>): Promise<void> {
  const file = toolPath("firefox");
  const folder = await mkdtemp(path.join(os.tmpdir(), "ringcast-firefox-"));
  await writeFile(path.join(folder, "user.js"), PREFERENCES);
  // As root it refuses a home that is another user's.
  const env = { ...process.env, HOME: folder, MOZ_HEADLESS: "1", MOZ_DISABLE_CONTENT_SANDBOX: "1" };
  const args = ["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", folder];
  const child = spawn(file, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => child.on("exit", resolve));
  try {
    const url = await within(addressOf(child), "firefox's start", LAUNCH);
    const socket = new WebSocket(`${url}/session`);
    await within(new Promise((resolve) => socket.once("open", resolve)), "firefox's session");
    const session = new Session(socket);
    await session.call("session.new", { capabilities: {} });
    const { contexts } = (await session.call("browsingContext.getTree", {})) as {
      contexts: { context: string }[];
    };
    const context = contexts[0]?.context;
    await body({
      async open(target) {
        await session.call("browsingContext.navigate", { context, url: target, wait: "complete" });
      },
      async evaluate(expression) {
        const { result, exceptionDetails } = (await session.call("script.evaluate", {
          expression: `(async () => JSON.stringify(await (${expression})))()`,
          target: { context },
          awaitPromise: true,
        })) as { result?: { value?: string }; exceptionDetails?: { text: string } };
        if (exceptionDetails) throw new Error(exceptionDetails.text);
        return result?.value === undefined ? undefined : JSON.parse(result.value);
      },
    });
    socket.terminate();
  } finally {
    child.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
