// What settings are as parameters of the engine.

import type { Param } from "../../assembly/abi";
import type { Settings } from "./settle";
import { OPTIONS } from "./table";

/** Longest run of bytes in one write over TLS. */
export const TLS_RUN_BYTES = 65536;

/** The engine's parameters for settings. */
export function engineParams(settings: Settings): Record<keyof typeof Param, number> {
  const params = {} as Record<keyof typeof Param, number>;
  for (const row of OPTIONS) {
    if (row.param) params[row.param] = settings.values[row.name] * (row.scale ?? 1);
  }
  // TLS copies what is written: a long run for each stalled client would be memory.
  if (settings.tls) params.RunBytes = Math.min(params.RunBytes, TLS_RUN_BYTES);
  params.WindowBytes = 65536;
  params.ScratchBytes = 1048576;
  params.EvictWhenFull = settings.values.whenFull;
  params.DeflateRingBytes = settings.values.perMessageDeflate ? settings.values.ring : 0;
  params.FirstSequence = 0;
  params.Seed = 1;
  return params;
}
