// Changes options while a server runs.

import { Param } from "../../assembly/abi";
import { TLS_RUN_BYTES } from "../../host/options/params";
import { OPTIONS, type OptionName } from "../../host/options/table";
import type { Pump } from "../pump/pump";

/**
 * Returns the longest run of bytes for one write.
 * @param transport its limit, where it copies the bytes that it writes
 */
export function runLimit(secure: boolean, transport?: { readonly maxRunBytes?: number }): number {
  const copied = transport?.maxRunBytes ?? Number.POSITIVE_INFINITY;
  return secure ? Math.min(copied, TLS_RUN_BYTES) : copied;
}

/** Changes options that can change at run time. @param maxRunBytes result of `runLimit` */
export function configure(
  pump: Pump,
  changed: Partial<Record<OptionName, number>>,
  maxRunBytes: number,
): void {
  for (const { name, param, scale = 1 } of OPTIONS) {
    const value = changed[name];
    if (value === undefined) continue;
    pump.values[name] = value;
    // Where writes are copied, a long run for each stalled client would cost memory.
    const used = name === "maxRunBytes" ? Math.min(value, maxRunBytes) : value;
    if (param) pump.loop.configure(Param[param], used * scale);
  }
  pump.schedule();
}
