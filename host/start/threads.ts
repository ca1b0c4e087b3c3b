// Start problems on platforms with Node's modules: a port that another process uses, and flags of node that threads do
// not accept.

import { variableOf } from "../permission";

/** The flag of node that makes `-e` read a module. Node refuses it for a file, and so for a thread. */
const INPUT_TYPE = /^--(?:input-type|experimental-default-type)(?:=|$)/;

/** Flags that say how a thread loads modules. Threads inherit the flags of the process and of V8 without them. */
const LOADING =
  /^(?:(-[Cr]|--(?:conditions|require|import|loader|experimental-loader))|--enable-source-maps|--no-warnings)(?:=|$)/;

/** Returns the flags that a thread accepts, with their values. */
function loadingFlags(flags: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] as string;
    const found = LOADING.exec(flag);
    if (!found) continue;
    kept.push(flag);
    const value = flags[i + 1];
    if (found[1] && !flag.includes("=") && value !== undefined) kept.push(value);
  }
  return kept;
}

/** Returns the flags without the one that threads refuse. */
function withoutInputType(flags: readonly string[]): string[] {
  return flags.filter((flag, i) => {
    const before = flags[i - 1] ?? "";
    return !INPUT_TYPE.test(flag) && !(INPUT_TYPE.test(before) && !before.includes("="));
  });
}

/** Returns flags and environment for a thread that cannot inherit them, as under `node --input-type=module -e …`. */
export function threadFlags(): { execArgv?: string[]; env?: NodeJS.ProcessEnv } {
  const { execArgv = [] } = process;
  const words = variableOf("NODE_OPTIONS")?.split(/\s+/) ?? [];
  if (![...execArgv, ...words].some((flag) => INPUT_TYPE.test(flag))) return {};
  const env = { ...process.env, NODE_OPTIONS: withoutInputType(words).join(" ") };
  return { execArgv: loadingFlags(execArgv), env };
}

/** Returns advice about a port that is in use. */
async function adviceOnPort(): Promise<string> {
  const own = "give each a port of its own";
  if (variableOf("pm_id") !== undefined)
    return (
      'under pm2 its instances cannot share a port: use exec_mode: "fork" and instances: 1, or ' +
      `${own}, such as port: 8080 + Number(process.env.NODE_APP_INSTANCE)`
    );
  const { default: cluster } = await import("node:cluster");
  if (cluster.isWorker)
    return (
      "node:cluster does not share this port among its workers: start the server in one process, or " +
      `${own}, such as port: 8080 + cluster.worker.id`
    );
  return "another process listens there: end it, or choose another port; 0 picks a free one";
}

/** Returns true for a port or path that is in use. An error about a descriptor names `fd` and needs no advice. */
function isTaken(error: unknown): error is Error {
  if (!(error instanceof Error) || (error as { code?: unknown }).code !== "EADDRINUSE")
    return false;
  return !/^(?:listen\[\d+\]\.)?fd:/.test(error.message);
}

/** Adds advice to an error of listening. @returns the error */
export async function explained(error: unknown): Promise<unknown> {
  if (isTaken(error)) error.message += `; ${await adviceOnPort()}`;
  return error;
}
