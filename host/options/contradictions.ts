// Refuses options that are valid each by itself but not together.

import type { OptionName } from "./table";

/** Refuses a value that exceeds what another option allows. */
function atMost(
  values: Record<OptionName, number>,
  small: OptionName,
  large: OptionName,
  limit: number,
): void {
  if (values[small] > limit) {
    throw new RangeError(
      `${small}: ${values[small]} is more than ${large} (${values[large]}) allows, ${limit}`,
    );
  }
}

/** Refuses a limit (0: none) that is too small for another option. */
function atLeast(
  values: Record<OptionName, number>,
  limit: OptionName,
  other: OptionName,
  least: number,
): void {
  if (values[limit] !== 0 && values[limit] < least) {
    throw new RangeError(
      `${limit}: ${values[limit]} is less than ${other} (${values[other]}) needs, ${least}`,
    );
  }
}

/** Refuses contradictory options. @throws RangeError naming both options and the value that is allowed or needed */
export function refuseContradictions(values: Record<OptionName, number>): void {
  atMost(values, "maxQueuedFrames", "maxFrames", values.maxFrames);
  if (values.history !== 0 && values.events === 0)
    throw new RangeError("history: true needs events: true, not false");
  atMost(values, "maxTargetLength", "maxHeadLength", values.maxHeadLength - 16);
  // Buffers double as they grow, and three quarters of the pool are available for large ones.
  const room = (bytes: number): number => 2 ** Math.ceil(Math.log2(bytes + 8192));
  const large = Math.floor((values.receiveBuffers * 3) / 4);
  for (const name of ["maxPayloadLength", "maxBodyLength"] as const) {
    if (room(values[name]) > large) {
      throw new RangeError(
        `${name}: ${values[name]} needs receiveBuffers of at least ` +
          `${Math.ceil((room(values[name]) * 4) / 3)}, not ${values.receiveBuffers}`,
      );
    }
    atLeast(values, "maxReceivePerAddress", name, room(values[name]));
  }
  atLeast(values, "maxReplyPerAddress", "maxBacklog", Math.max(values.maxBacklog, 262144));
}
