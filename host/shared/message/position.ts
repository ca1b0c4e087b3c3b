// Positions of publications. All publications of a server have one order, and a position is a place in it, as text:
//
//   <epoch>-<sequence>     8 digits of the start, 11 digits of the publication, both in base 36
//
// Invariant: the positions of one start sort, as strings, in the order of the publications.

import { SINCE_FOREIGN, SINCE_INVALID, SINCE_NONE } from "../../../assembly/abi";

/** Number of epochs. */
export const EPOCHS = 36 ** 8;

/** Returns an epoch of two random numbers of 32 bits. */
export function epochOf(high: number, low: number): number {
  // 42 bits are a safe integer, and 1.5 times as many values as there are epochs.
  return ((high % 1024) * 4294967296 + low) % EPOCHS;
}

/** Returns the text of a position. @param sequence 0: the start, before the first publication */
export function positionText(epoch: number, sequence: number): string {
  return `${epoch.toString(36).padStart(8, "0")}-${sequence.toString(36).padStart(11, "0")}`;
}

/** Returns the number of publications up to a position. */
export function sequenceOf(position: string): number {
  return Number.parseInt(position.slice(9), 36);
}

const FORM = /^[0-9a-z]{8}-[0-9a-z]{11}$/;

/**
 * Judges a position that a client names.
 * @returns its sequence, or one of the SINCE values of the engine
 */
export function sinceOf(position: string | undefined, epoch: number): number {
  if (position === undefined) return SINCE_NONE;
  if (!FORM.test(position)) return SINCE_INVALID;
  if (Number.parseInt(position.slice(0, 8), 36) !== epoch) return SINCE_FOREIGN;
  return sequenceOf(position);
}
