// A harness that needs nothing: checks with names, run one after the other, their results as data.
//
// Invariant: a check passes, or fails with a message, within its time; servers are stopped whichever way it ends.

import { within as ended, until } from "../lib/wait";
import { type Bytes, bytesOf, difference } from "./bytes";
import { Wire } from "./client";
import type { Place, Platform, Running, SuiteOptions } from "./platform";
import { Peer } from "./peer";

/** Longest a check may take, in real ms. Nothing but a failure takes that long. */
const LIMIT = 10000;

class CheckError extends Error {
  override readonly name = "CheckError";
}

/** Returns a value as the message of a failure shows it. */
function show(value: unknown): string {
  if (value instanceof Uint8Array) {
    const head = Array.from(value.subarray(0, 24), (byte) => byte.toString(16).padStart(2, "0"));
    return `${value.length} bytes ${head.join(" ")}${value.length > 24 ? " …" : ""}`;
  }
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 400 ? `${text.slice(0, 400)} … (${text.length})` : text;
}

/** Checks a condition. @throws CheckError unless the condition holds */
export function ok(condition: unknown, what: string): asserts condition {
  if (!condition) throw new CheckError(what);
}

/** Compares values as JSON does. @throws CheckError */
export function same(actual: unknown, expected: unknown, what = "value"): void {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  throw new CheckError(`${what}: ${show(actual)} instead of ${show(expected)}`);
}

/** Compares bytes. @throws CheckError that says where they differ first */
export function sameBytes(actual: Uint8Array, expected: Bytes, what: string): void {
  const due = bytesOf(expected);
  const at = difference(actual, due);
  if (at < 0) return;
  throw new CheckError(`${what}: differs at ${at}: ${show(actual)} instead of ${show(due)}`);
}

/** Checks an error. @throws CheckError unless `fn` throws one with this name and a message that matches */
export function throwing(fn: () => unknown, name: string, message: RegExp): void {
  let thrown: unknown;
  try {
    fn();
  } catch (error) {
    thrown = error;
  }
  ok(thrown instanceof Error, `nothing was thrown instead of ${name} ${message}`);
  ok(thrown.name === name && message.test(thrown.message), `${thrown.name}: ${thrown.message}`);
}

/** Rejects when a promise takes too long. */
export function within<T>(promise: Promise<T>, what: string, ms = LIMIT): Promise<T> {
  return ended(promise, what, ms);
}

/** The environment of a check: a server in one place, and clients of it. */
export class Scene {
  readonly platform: Platform;
  readonly place: Place;
  readonly running: Running;
  readonly #wires: Wire[] = [];

  constructor(platform: Platform, place: Place, running: Running) {
    this.platform = platform;
    this.place = place;
    this.running = running;
  }

  get server(): Running["server"] {
    return this.running.server;
  }

  async connect(): Promise<Wire> {
    const wire = new Wire(await within(this.running.connect(), "connect"));
    this.#wires.push(wire);
    return wire;
  }

  /** Opens a WebSocket; its name tells its part of the handler's log. */
  async open(name: string, fields = "", first?: Uint8Array): Promise<Peer> {
    return Peer.open(await this.connect(), `/ws?${name}`, fields, first);
  }

  /** Waits until a condition holds. */
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    return until(what, holds, LIMIT, () => this.running.wait(5));
  }

  /** The handler's notes under a name; resolves when there are `count` entries at least. */
  async log(name: string, count = 1): Promise<unknown[][]> {
    const entries: unknown[][] = [];
    await this.until(`${count} entries of ${name}'s log`, async () => {
      const wire = await this.connect();
      wire.send(`GET /log?${name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      const { body } = await wire.answer();
      entries.push(...(JSON.parse(new TextDecoder().decode(body)) as unknown[][]));
      return entries.length >= count;
    });
    return entries;
  }

  /** Resets what the check left open. */
  clear(): void {
    for (const wire of this.#wires.splice(0)) wire.reset();
  }
}

interface Check {
  readonly name: string;
  /** undefined: it shares a server with the others. */
  readonly options: SuiteOptions | undefined;
  /** Where and on what it makes sense. */
  readonly when: (platform: Platform, place: Place) => boolean;
  readonly body: (scene: Scene) => Promise<void>;
}

interface CheckOptions {
  /** A server of its own with these options. */
  readonly options?: SuiteOptions;
  readonly when?: (platform: Platform, place: Place) => boolean;
}

/** An area's checks, in order. */
export class Checks {
  readonly area: string;
  readonly list: Check[] = [];

  constructor(area: string) {
    this.area = area;
  }

  add(name: string, body: (scene: Scene) => Promise<void>, more: CheckOptions = {}): void {
    const { options, when = () => true } = more;
    this.list.push({ name: `${this.area}: ${name}`, options, when, body });
  }
}

export interface Result {
  /** "net, module, http: a request has everything that was sent" */
  readonly name: string;
  readonly passed: boolean;
  readonly ms: number;
  /** Why it failed; "" when it passed. */
  readonly error: string;
}

async function runCheck(check: Check, scene: Scene): Promise<string> {
  try {
    await within(check.body(scene), "the check", 2 * LIMIT);
    return "";
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } finally {
    scene.clear();
  }
}

/** Runs checks in one place; results go to `report` as they come. */
async function runPlace(
  platform: Platform,
  place: Place,
  checks: readonly Check[],
  report: (result: Result) => void,
): Promise<void> {
  let shared: Running | undefined;
  for (const check of checks) {
    if (!check.when(platform, place)) continue;
    const started = performance.now();
    let error = "";
    let own: Running | undefined;
    try {
      if (check.options) own = await within(platform.start(place, check.options), "start");
      else shared ??= await within(platform.start(place, {}), "start");
      error = await runCheck(check, new Scene(platform, place, (own ?? shared) as Running));
      if (own) await within(own.stop(), "stop");
    } catch (thrown) {
      error ||= String(thrown);
    }
    const name = `${platform.name}, ${place}, ${check.name}`;
    report({ name, passed: error === "", ms: performance.now() - started, error });
  }
  if (shared) await within(shared.stop(), "stop");
}

/**
 * Runs checks on a platform, in each of its places.
 * @param only names must contain it @param print called with a line for each
 */
export async function runChecks(
  platform: Platform,
  areas: readonly Checks[],
  only = "",
  print: (line: string) => void = () => undefined,
): Promise<Result[]> {
  const checks = areas.flatMap((area) => area.list).filter(({ name }) => name.includes(only));
  const results: Result[] = [];
  for (const place of platform.places) {
    await runPlace(platform, place, checks, (result) => {
      results.push(result);
      const { name, passed, ms, error } = result;
      print(passed ? `ok ${name} (${ms.toFixed(0)} ms)` : `not ok ${name}\n  ${error}`);
    });
  }
  return results;
}
