// The server suite: claims that hold on every platform, whatever carries the bytes. It needs a `Platform` and nothing
// else, no runtime's modules and no test runner:
//
//   const results = await runSuite(platform, { print: console.log });
//
// test/suite/suite-handler.ts is the handler of its servers: the default export where a module is wanted, `closures` on
// the application's thread.

import { type Checks, type Result, runChecks } from "./harness";
import { http } from "./http";
import { limits } from "./limits";
import type { Platform } from "./platform";
import { publish } from "./publish";
import { websocket } from "./websocket";

export type { Result } from "./harness";
export type {
  Place,
  Platform,
  RawClient,
  Running,
  SuiteOptions,
  SuiteServer,
} from "./platform";

const AREAS: readonly Checks[] = [http, websocket, publish, limits];

export interface SuiteRun {
  /** Checks whose names contain it. */
  readonly only?: string;
  /** Called with a line for each check. */
  readonly print?: (line: string) => void;
}

/** Runs the checks on a platform, in each of its places; never rejects because a check failed. */
export function runSuite(platform: Platform, { only, print }: SuiteRun = {}): Promise<Result[]> {
  return runChecks(platform, AREAS, only, print);
}
