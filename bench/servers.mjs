// The servers that are compared: the file of each, the runtime that runs it, and its settings.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Child } from "./child.mjs";

const SERVER_CORE = "0";
export const LOAD_CORE = "1";
export const START_LIMIT = 20_000; // milliseconds
/** Follows a row's name in the name of the row that it is compared to. */
export const BASE = ", base";

/** Why a server cannot run here, through no fault of its own: its row is left out, with the reason. */
export class Unavailable extends Error {}

/**
 * @typedef {object} Server
 * @property {string} name the row's
 * @property {string} file
 * @property {() => string[]} [runtime] what runs the file; default: this Node
 * @property {Record<string, unknown>} settings settings of the file's server
 */

/** Returns the path of a program of a package of bench/, for the platform that is installed. */
function installed(...names) {
  const files = names.map((name) =>
    fileURLToPath(new URL(`node_modules/${name}`, import.meta.url)),
  );
  const found = files.find((file) => existsSync(file));
  if (!found) throw new Unavailable(`not installed: ${names[0]} (run npm ci in bench/)`);
  return found;
}

const platform = `${process.platform}-${process.arch}`;
const bunPlatform = platform.replace("arm64", "aarch64");
const bun = () => [installed(`@oven/bun-${bunPlatform}/bin/bun`)];
const deno = () => [
  installed(`@deno/${platform}-glibc/deno`, `@deno/${platform}/deno`),
  "run",
  "--allow-all",
];

const ALL = {
  floor: { file: "servers/floor.mjs" },
  ws: { file: "servers/ws.mjs" },
  "ws-corked": { file: "servers/ws.mjs", settings: { corked: true } },
  "node:http": { file: "servers/ws.mjs" },
  "node:http-events": { file: "servers/http-events.mjs" },
  "fastify-events": { file: "servers/fastify-events.mjs" },
  fastify: { file: "servers/fastify.mjs" },
  uws: { file: "servers/uws.mjs" },
  bun: { file: "servers/bun.mjs", runtime: bun },
  deno: { file: "servers/deno.mjs", runtime: deno },
  files: { file: "servers/files.mjs" },
  "bun-files": { file: "servers/files.mjs", runtime: bun },
  ringcast: { file: "servers/ringcast.mjs" },
  "ringcast-app": { file: "servers/ringcast.mjs", settings: { application: true } },
};

/**
 * Returns a server by its name.
 * @param {keyof typeof ALL} name
 * @param {Record<string, unknown>} [settings] additional settings
 * @param {string} [row] the row's name, if it is not the server's
 * @returns {Server}
 */
export function server(name, settings = {}, row = name) {
  const { settings: own, ...rest } = ALL[name];
  return { ...rest, name: row, settings: { ...own, ...settings } };
}

/**
 * Returns each server that is Ringcast, followed by the same one of another checkout. Servers with an option that
 * another checkout may not know are left out.
 * @param {Server[]} servers
 * @param {string} checkout its folder; it is built
 */
export function besideBase(servers, checkout) {
  const isKnown = ({ settings }) => settings.transport === undefined;
  const own = servers.filter((one) => one.file === ALL.ringcast.file && isKnown(one));
  return own.flatMap((one) => [
    one,
    { ...one, name: `${one.name}${BASE}`, settings: { ...one.settings, checkout } },
  ]);
}

/**
 * Starts a server.
 * @param {Server} server
 * @param {string} [cores]
 * @returns {Promise<{ child: Child, port: number }>}
 * @throws {Unavailable} when it cannot run here
 */
export async function startServer({ name, file, runtime, settings }, cores = SERVER_CORE) {
  const child = new Child(name, cores, file, [JSON.stringify(settings)], runtime?.());
  const started = await child.next(["listening", "unavailable"], START_LIMIT);
  if (started.type === "listening") return { child, port: started.port };
  await child.kill();
  throw new Unavailable(started.reason);
}
