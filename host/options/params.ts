// Translates settings into the engine's parameters.

import type { Param } from "../../assembly/abi";
import type { Settings } from "./settle";
import { OPTIONS } from "./table";

/** Bytes of one write at most where the transport holds a copy of it, as TLS does: for each client that is stalled. */
const COPIED_RUN_BYTES = 65536;

/** Bytes of responses in one pass, a few ms of the kernel's time. New connections wait for two or three passes. */
const PASS_BYTES = 4 * 1048576;

/** Returns true when topics name events. */
export function namesEvents({ values }: Settings): boolean {
  return values.events === 3;
}

/** Bytes that one pass hands to event streams that catch up, so that what is live is not late. */
const REPLAY_BYTES = 2 * 1048576;

/** Returns the engine's parameters for settings. */
export function engineParams(settings: Settings): Record<keyof typeof Param, number> {
  const params = {} as Record<keyof typeof Param, number>;
  for (const row of OPTIONS) {
    if (row.param) params[row.param] = settings.values[row.name] * (row.scale ?? 1);
  }
  params.CopiedRunBytes = COPIED_RUN_BYTES;
  params.PassBytes = PASS_BYTES;
  params.ReplayBytes = REPLAY_BYTES;
  params.WindowBytes = 65536;
  params.ScratchBytes = 1048576;
  params.EvictWhenFull = settings.values.whenFull;
  params.DeflateRingBytes = settings.values.perMessageDeflate ? settings.values.ring : 0;
  params.EventRingBytes = settings.values.events ? settings.values.eventRing : 0;
  params.EventNames = namesEvents(settings) ? 1 : 0;
  params.FirstSequence = 0;
  params.Seed = 1;
  params.Epoch = 0;
  return params;
}
