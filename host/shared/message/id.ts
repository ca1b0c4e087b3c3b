// Ids of connections: generation · SLOT_LIMIT + slot, a safe integer. 0 is the id of none.

import { SLOT_LIMIT } from "../../../assembly/abi";

/** Returns the id of a connection. */
export function idOf(slot: number, generation: number): number {
  return generation * SLOT_LIMIT + slot;
}

/** Returns the slot of an id. */
export function slotOf(id: number): number {
  return id % SLOT_LIMIT;
}

/** Returns the generation of an id. */
export function generationOf(id: number): number {
  return Math.floor(id / SLOT_LIMIT);
}
