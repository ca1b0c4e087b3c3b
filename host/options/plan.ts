// The memory plan: what a server takes, before anything starts, and which options buy it. The bytes of a region are
// those that the engine itself lays out: the arithmetic is the same source (assembly/plan.ts).

import { Param } from "../../assembly/abi";
import { Region, firstParam, regionBytes, secondParam } from "../../assembly/plan";
import type { Options } from "./types";
import { engineParams } from "./params";
import { type Settings, settle } from "./settle";
import { OPTIONS } from "./table";

/** Bytes of one region, and the option that buys them. */
export interface PlanRow {
  /** Its name. */
  readonly region: string;
  /** Its bytes. */
  readonly bytes: number;
  /** The options that buy them. */
  readonly options: readonly string[];
}

/** What the server will take, before anything starts. */
export interface Plan {
  /** The regions of memory, one behind the other; the inbox last. */
  readonly regions: readonly PlanRow[];
  /** Bytes of the engine's memory and of the inbox. Pages that are never touched cost nothing. */
  readonly total: number;
  /** File descriptors for connections. */
  readonly descriptors: number;
}

/** The memory plan for options. @throws as `serve` does */
export function plan(options: Options = {}): Plan {
  return planOf(settle(options));
}

export function planOf(settings: Settings): Plan {
  const params = engineParams(settings);
  const names = Object.keys(Param).filter((key) =>
    Number.isNaN(Number(key)),
  ) as (keyof typeof Param)[];
  const paramOf = (index: number): number =>
    index < 0 ? 0 : (params[names[index] as keyof typeof Param] ?? 0);
  const optionOf = (index: number): string[] =>
    OPTIONS.filter((row) => row.param !== undefined && Param[row.param] === index).map(
      (row) => row.name,
    );
  const regions: PlanRow[] = [];
  for (let region = 0; region < Region.COUNT; region++) {
    const first = firstParam(region);
    const second = secondParam(region);
    const bytes = regionBytes(region, paramOf(first), paramOf(second));
    regions.push({
      region: Region[region] as string,
      bytes,
      options: [...optionOf(first), ...optionOf(second)],
    });
  }
  regions.push({ region: "Inbox", bytes: settings.values.inbox, options: ["inbox"] });
  const total = regions.reduce((sum, row) => sum + row.bytes, 0);
  return {
    regions,
    total,
    descriptors: settings.values.maxConnections + settings.values.maxWebSockets,
  };
}

/** Refuses a plan that does not fit, with the arithmetic in the message. @throws RangeError */
export function refusePlan(settings: Settings): void {
  const { regions, total } = planOf(settings);
  const limit = Math.min(settings.values.maxMemory, 4294967296 - 65536);
  if (total <= limit) return;
  const sum = regions
    .filter((row) => row.bytes > total / 100)
    .map((row) => `${row.region} ${row.bytes}`)
    .join(" + ");
  throw new RangeError(`maxMemory: the plan takes ${total} bytes (${sum}), more than ${limit}`);
}
