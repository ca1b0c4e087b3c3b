// Changes options while a server runs.

import { Param } from "../../assembly/abi";
import { OPTIONS, type OptionName } from "../../host/options/table";
import type { Pump } from "../pump/pump";

/** Changes options that can change at run time. */
export function configure(pump: Pump, changed: Partial<Record<OptionName, number>>): void {
  for (const { name, param, scale = 1 } of OPTIONS) {
    const value = changed[name];
    if (value === undefined) continue;
    pump.values[name] = value;
    if (param) pump.loop.configure(Param[param], value * scale);
  }
  pump.schedule();
}
