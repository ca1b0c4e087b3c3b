// The memory plan: the memory that a server will take, and the options that decide it, before anything starts. The
// arithmetic is the engine's own source (assembly/plan.ts), so the plan equals the layout of the engine.

import { Param } from "../../assembly/abi";
import {
  Region,
  firstParam,
  fourthParam,
  regionBytes,
  secondParam,
  thirdParam,
} from "../../assembly/plan";
import type { Options } from "./types";
import { engineParams } from "./params";
import { type Settings, settle } from "./settle";
import { OPTIONS } from "./table";
import { besideFor } from "./upstream";

/** One region of memory, and the options that decide its size. */
export interface PlanRow {
  /** The region's name. */
  readonly region: string;
  /** The region's size in bytes. */
  readonly bytes: number;
  /** Names of the options that decide its size. */
  readonly options: readonly string[];
}

/** The resources that a server will take. */
export interface Plan {
  /** The regions of memory in order, the file buffers and the inbox last. */
  readonly regions: readonly PlanRow[];
  /** Bytes of the engine's memory, the file buffers and the inbox. Pages that are never touched cost nothing. */
  readonly total: number;
  /** File descriptors for connections, for those to the upstream of `raw`, and for files and backends of mounts. */
  readonly descriptors: number;
}

/** Returns the memory plan for options. @throws as `serve` does */
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
    const third = paramOf(thirdParam(region));
    const fourth = paramOf(fourthParam(region));
    const bytes = regionBytes(region, paramOf(first), paramOf(second), third, fourth);
    regions.push({
      region: Region[region] as string,
      bytes,
      options: [...optionOf(first), ...optionOf(second)],
    });
  }
  // The worker's own memory, besides the engine's.
  regions.push({
    region: "FileBuffers",
    bytes: settings.values.fileBuffers,
    options: ["fileBuffers"],
  });
  regions.push({ region: "Inbox", bytes: settings.values.inbox, options: ["inbox"] });
  const total = regions.reduce((sum, row) => sum + row.bytes, 0);
  const { maxConnections, maxWebSockets } = settings.values;
  const beside = besideFor(settings, maxConnections);
  return { regions, total, descriptors: maxConnections + maxWebSockets + beside };
}

/** Refuses a plan that does not fit into memory. @throws RangeError with the arithmetic in its message */
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
