// Ringcast behind nginx, Debian's, for tests.
//
// nginx runs as one plain process in a folder of its own, and ends with its test.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import os from "node:os";
import path from "node:path";
import { type Options, type Server, serve } from "ringcast";
import * as assert from "uvu/assert";
import { toolPath } from "../../.scripts/tools.mjs";
import { type Edit, FOLDER, edited, freePort, running } from "./neighbour";
import { until, within } from "./peer";

export interface Place {
  /** nginx's port. */
  readonly port: number;
  readonly server: Server;
  /** Returns nginx's log. */
  log(): string;
}

/** nginx while it runs. */
export type Front = Omit<Place, "server">;

/** Runs nginx with one of the configurations. @param backend address of the server that nginx passes requests to */
export async function inFrontOf(
  backend: string,
  kind: "http" | "stream",
  edits: readonly Edit[],
  body: (front: Front) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "ringcast-nginx-"));
  try {
    const port = await freePort();
    const example = edited(await readFile(path.join(FOLDER, `nginx/${kind}.conf`), "utf8"), [
      ["127.0.0.1:8080", backend],
      ["listen 80;", `listen 127.0.0.1:${port};`],
      ...edits,
    ]);
    const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    const temporary = folders.map((name) => `${name}_temp_path ${folder}/${name};`);
    const http = [...temporary, `access_log ${folder}/access.log;`];
    const main = [
      ...(kind === "stream" ? [`load_module ${toolPath("nginx's stream module")};`] : []),
      ...["daemon off;", "master_process off;", `pid ${folder}/nginx.pid;`],
      ...["error_log stderr info;", "events { worker_connections 256; }"],
      `${kind} { ${kind === "http" ? http.join("\n") : ""}\n${example}\n}`,
    ];
    const file = path.join(folder, "nginx.conf");
    await writeFile(file, main.join("\n"));
    const command = [toolPath("nginx"), "-p", folder, "-c", file];
    await running(command, {}, /nginx\/\d+/, async (program) => {
      await until("nginx accepts", () => accepts(port));
      await body({ port, log: () => program.output });
      assert.is(await program.end(), 0, program.output);
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs Ringcast behind nginx, which uses one of the folder's configurations. */
export async function behind(
  kind: "http" | "stream",
  { edits = [], ...options }: Options & { edits?: readonly Edit[] },
  body: (place: Place) => Promise<void>,
): Promise<void> {
  const server = await serve({ port: 0, onError: () => undefined, ...options });
  try {
    const backend = `127.0.0.1:${server.address.port}`;
    await inFrontOf(backend, kind, edits, (front) => body({ ...front, server }));
  } finally {
    await within(server.close(), "close");
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
