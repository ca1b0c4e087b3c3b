// Translates settings into the engine's parameters.

import type { Param } from "../../assembly/abi";
import type { Settings } from "./settle";
import { tlsOf } from "./listen";
import { OPTIONS } from "./table";

/** Bytes of one write over TLS at most. Longer runs are split, because TLS holds a copy of each pending write. */
export const TLS_RUN_BYTES = 65536;

/** Bytes of responses in one pass, a few ms of the kernel's time. New connections wait for two or three passes. */
const PASS_BYTES = 4 * 1048576;

/** Returns the engine's parameters for settings. */
export function engineParams(settings: Settings): Record<keyof typeof Param, number> {
  const params = {} as Record<keyof typeof Param, number>;
  for (const row of OPTIONS) {
    if (row.param) params[row.param] = settings.values[row.name] * (row.scale ?? 1);
  }
  // TLS copies what is written, so long runs would take memory for each stalled client.
  if (tlsOf(settings.listeners).length > 0)
    params.RunBytes = Math.min(params.RunBytes, TLS_RUN_BYTES);
  params.PassBytes = PASS_BYTES;
  params.WindowBytes = 65536;
  params.ScratchBytes = 1048576;
  params.EvictWhenFull = settings.values.whenFull;
  params.DeflateRingBytes = settings.values.perMessageDeflate ? settings.values.ring : 0;
  params.FirstSequence = 0;
  params.Seed = 1;
  return params;
}
