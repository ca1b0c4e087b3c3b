// Changes of options while a server runs.

import { Param } from "../assembly/abi";
import { OPTIONS, type OptionName, TLS_RUN_BYTES } from "../host/options";
import type { Pump } from "./server";

/** Changes options that may change. @param secure over TLS, which copies what is written */
export function configure(
  pump: Pump,
  changed: Partial<Record<OptionName, number>>,
  secure: boolean,
): void {
  for (const { name, param, scale = 1 } of OPTIONS) {
    const value = changed[name];
    if (value === undefined) continue;
    if (name === "flushInterval") pump.flushInterval = value;
    // A long run for each stalled client would be memory.
    const most = name === "maxRunBytes" && secure ? TLS_RUN_BYTES : value;
    if (param) pump.engine.configure(Param[param], Math.min(value, most) * scale);
  }
  pump.schedule();
}
