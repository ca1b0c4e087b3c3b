// The unit of test/example/systemd: systemd finds no fault in it, and its commands start, reload and end a site whose
// socket they get as systemd passes it.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { toolPath } from "../../.scripts/tools.mjs";
import { FOLDER, edited, freePort } from "./neighbour";
import { until, within } from "./peer";

const systemd = suite("systemd");

const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-systemd-"));
systemd.after(() => rmSync(folder, { recursive: true }));
cpSync(path.join(FOLDER, "systemd"), folder, { recursive: true });
mkdirSync(path.join(folder, "public"));
mkdirSync(path.join(folder, "log"));
writeFileSync(path.join(folder, "public/index.html"), "one");

/** Gives a file of the example the paths of this machine. */
function adapt(name: string, edits: readonly (readonly [string, string])[]): string {
  const file = path.join(folder, name);
  const text = edited(readFileSync(file, "utf8"), edits);
  writeFileSync(file, text);
  return text;
}

const unit = adapt("ringcast.service", [
  ["/usr/bin/node", process.execPath],
  ["/srv/site/node_modules/ringcast", process.cwd()],
  ["/srv/site", folder],
]);
adapt("ringcast.json", [["/var/log/ringcast", path.join(folder, "log")]]);

/** Returns the words of a command of the unit. None of them is quoted. */
function commandOf(name: string): string[] {
  const [, words] = new RegExp(`^${name}=(.*)$`, "m").exec(unit) ?? [];
  if (words === undefined) throw new Error(`the unit has no ${name}`);
  return words.split(" ");
}

systemd("systemd finds no fault in the service and in its socket", () => {
  const files = ["ringcast.service", "ringcast.socket"].map((name) => path.join(folder, name));
  const verify = (...all: readonly string[]): string => {
    try {
      const options = { encoding: "utf8", stdio: "pipe" } as const;
      return execFileSync(toolPath("systemd-analyze"), ["verify", "--man=no", ...all], options);
    } catch (error) {
      return `${(error as { stderr: string }).stderr}`;
    }
  };
  assert.is(verify(...files), "");
  // It would find one.
  const wrong = path.join(folder, "wrong.service");
  writeFileSync(wrong, unit.replace("ExecStart=/", "ExecStart=/no/"));
  assert.match(verify(wrong), /not executable/);
});

/** Runs a reload as systemd does. */
function reload(pid: string): void {
  const [program = "", ...args] = commandOf("ExecReload");
  execFileSync(
    program,
    args.map((word) => (word === "$MAINPID" ? pid : word)),
  );
}

const ended = (child: ChildProcess): Promise<number | null> =>
  within(new Promise((resolve) => child.once("exit", resolve)), "the end of the service");

/** A shell that holds the socket, as systemd does: it starts the service, and again when it gets a line. */
const HOLDER = '"$@" & echo "pid $!"; wait $!; echo "code $?"; read line; exec "$@"';

/** Returns a function for the output of a process so far. */
function outputOf({ stdout, stderr }: ChildProcess): () => string {
  let text = "";
  for (const stream of [stdout, stderr])
    stream?.on("data", (bytes) => {
      text += bytes;
    });
  return () => text;
}

const get = async (port: number): Promise<string> =>
  (await within(fetch(`http://127.0.0.1:${port}/`), "a response")).text();

systemd("the service serves the socket that it is given, reloads, and ends in order", async () => {
  const socket = createServer();
  await new Promise<void>((resolve) => void socket.listen(0, "127.0.0.1", resolve));
  const { port } = socket.address() as { port: number };
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  // systemd sets LISTEN_PID, too, and gives the process a folder of its own and no terminal.
  const env = { PATH: process.env.PATH, LISTEN_FDS: "1" };
  const child = spawn("sh", ["-c", HOLDER, "sh", ...commandOf("ExecStart")], {
    ...{ cwd: "/", env, stdio: ["pipe", "pipe", "pipe", fd] },
  });
  const output = outputOf(child);
  let pid = "";
  // This process does not accept connections of the socket any more.
  await new Promise((resolve) => void socket.close(resolve));
  try {
    await until("it is live", () => output().includes("live on"));
    pid = /^pid (\d+)$/m.exec(output())?.[1] ?? "";
    assert.is(await get(port), "one");
    reload(pid);
    await until("it is reloaded", () => output().includes("reloaded"));
    assert.is(await get(port), "one");
    process.kill(Number(pid), "SIGTERM");
    await until("its end", () => /^code 0$/m.test(output()));
    const log = readFileSync(path.join(folder, "log/access.log"), "utf8");
    assert.is(log.match(/"GET \/ HTTP\/1\.1" 200/g)?.length, 2);
    // A connection waits in the socket while there is no service, and the next one serves it.
    const waiting = get(port);
    child.stdin?.write("again\n");
    assert.is(await waiting, "one");
    child.kill("SIGTERM");
    assert.is(await ended(child), 0, output());
  } finally {
    if (pid !== "" && !/^code/m.test(output())) process.kill(Number(pid), "SIGKILL");
    child.kill("SIGKILL");
  }
});

systemd(
  "systemd's own program for sockets starts the service at the first connection",
  async () => {
    const port = await freePort();
    const args = ["--listen", `127.0.0.1:${port}`, ...commandOf("ExecStart")];
    const child = spawn(toolPath("systemd-socket-activate"), args, {
      ...{ env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] },
    });
    const output = outputOf(child);
    try {
      await until("it listens", () => /Listening on/.test(output()));
      assert.not.match(output(), /live on/);
      assert.is(await get(port), "one");
      // The process has become the service.
      child.kill("SIGTERM");
      assert.is(await ended(child), 0, output());
    } finally {
      child.kill("SIGKILL");
    }
  },
);

systemd.run();
