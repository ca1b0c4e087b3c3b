// Checks the arguments of scripts and the options of a server in memory. A misspelled option or a value of the wrong
// type is an error that names it, instead of a test that waits in vain.

import { type Known, refuseUnknown } from "../options/known";
import { bytesIn } from "../options/size";
import { show } from "../shared/text/show";

/** A check of a value, and a description of the values that pass it. */
type Kind = readonly [isGood: (value: unknown) => boolean, what: string];

const isNumber = (value: unknown): value is number => typeof value === "number";
const isWhole = (value: unknown): boolean =>
  isNumber(value) && Number.isInteger(value) && value >= 0;

const FLAG: Kind = [(value) => typeof value === "boolean", "a boolean"];
const TEXT: Kind = [(value) => typeof value === "string", "a string"];
const SPLIT: Kind = [
  (value) =>
    value === "random" || isNumber(value) || (Array.isArray(value) && value.every(isWhole)),
  'a number of bytes, a list of offsets, or "random"',
];
const BYTES: Kind = [isNumber, "a number of bytes"];
const DATA: Kind = [
  (value) => typeof value === "string" || value instanceof Uint8Array,
  "a string or Uint8Array",
];

const FIELDS: Kind = [
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  "an object of fields",
];

const SOCKET: Readonly<Record<string, Kind>> = {
  socketBuffer: [(value) => isNumber(bytesIn(value)), "a number of bytes"],
  remoteAddress: TEXT,
  allowHalfOpen: FLAG,
};

/** The groups of options: for each its name in messages, and the kind of each option. */
const GROUPS = {
  socket: SOCKET,
  connect: {
    ...SOCKET,
    protocols: [
      (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === "string"),
      "a list of strings",
    ],
    headers: FIELDS,
    deflate: FLAG,
    automatic: FLAG,
    split: SPLIT,
  },
  events: { ...SOCKET, headers: FIELDS },
  write: { split: SPLIT },
  send: { split: SPLIT, fragment: BYTES, binary: FLAG, compress: FLAG },
  frame: { final: FLAG, reserved: [isWhole, "a number from 0 to 7"], masked: FLAG },
} satisfies Record<string, Readonly<Record<string, Kind>>>;

/** Checks a group of options. @throws TypeError naming the option and the value */
export function checkGroup(group: keyof typeof GROUPS, options: object | undefined): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new TypeError(`${group}: ${show(options)} is not an object of options`);
  const kinds: Readonly<Record<string, Kind>> = GROUPS[group];
  const known: Known = { names: Object.keys(kinds), prefix: `${group}.` };
  refuseUnknown(options, known);
  for (const [name, value] of Object.entries(options)) {
    const [isGood, what] = kinds[name] as Kind;
    if (value !== undefined && !isGood(value))
      throw new TypeError(`${group}.${name}: ${show(value)} is not ${what}`);
  }
}

/** Returns the socket buffer of one client in bytes. @throws TypeError, RangeError */
export function readBuffer(given: unknown, standard: number): number {
  return readSize("socketBuffer", given, standard, 1, 2 ** 30);
}

/** Checks that a value is text or bytes. @throws TypeError */
export function checkData(name: string, value: unknown): void {
  if (!DATA[0](value)) throw new TypeError(`${name}: ${show(value)} is not ${DATA[1]}`);
}

/** Checks a size and returns it in bytes. @throws TypeError, RangeError naming the option, the value and the range */
export function readSize(
  name: string,
  given: unknown,
  standard: number,
  min: number,
  max: number,
): number {
  const value = bytesIn(given);
  if (value === undefined) return standard;
  if (!isNumber(value)) throw new TypeError(`${name}: ${show(given)} is not a number`);
  if (!Number.isInteger(value) || value < min || value > max)
    throw new RangeError(`${name}: ${show(given)} is not a whole number from ${min} to ${max}`);
  return value;
}
