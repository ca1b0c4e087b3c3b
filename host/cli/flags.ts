// The flags of a command: described once, read from the command line, and printed by its help.
//
// Invariant: an unknown flag, or one without its value or with a superfluous one, is a UsageError that names it.
// Whether a value is allowed is up to the option's own check.

import { parseArgs } from "node:util";
import { nearest } from "../options/known";
import { UsageError } from "./values";

export interface Flag {
  /** The name without dashes, in kebab-case. */
  readonly name: string;
  /** Placeholder of the value in the help. undefined: the flag takes no value, and `--no-name` is its opposite. */
  readonly value?: string;
  readonly text: string;
  /** One letter that is short for the flag. */
  readonly short?: string;
  /** Whether the flag can be given several times. */
  readonly isList?: boolean;
  /** The default and the range, for the help. */
  readonly range?: string;
}

/** The values given for each flag, by name: their texts, or whether the flag is on. */
export type Given = ReadonlyMap<string, readonly string[] | boolean>;

interface Parsed {
  readonly given: Given;
  readonly words: readonly string[];
}

function unknown(text: string, flags: readonly Flag[]): UsageError {
  const near = nearest(
    text.replace(/^-+(no-)?/, ""),
    flags.map(({ name }) => name),
  );
  const hint = near ? `; did you mean --${near}?` : "";
  return new UsageError(`${text}: there is no such option${hint}`);
}

/** Finds a flag as it was written. @returns the flag, and false for `isOn` when it was written as its opposite */
function find(text: string, flags: readonly Flag[]): { flag: Flag; isOn: boolean } {
  for (const flag of flags) {
    if (text === `--${flag.name}` || text === `-${flag.short}`) return { flag, isOn: true };
    if (text === `--no-${flag.name}` && flag.value === undefined) return { flag, isOn: false };
  }
  throw unknown(text, flags);
}

/** Parses a command line. @throws UsageError naming what is wrong */
export function parseFlags(args: readonly string[], flags: readonly Flag[]): Parsed {
  const options = flags.map(({ name, value, short }) => {
    const type = value === undefined ? "boolean" : "string";
    return [name, { type, ...(short ? { short } : {}) } as const] as const;
  });
  // Not strict, because its errors name neither a similar flag nor the value that is missing.
  const { tokens, positionals } = parseArgs({
    args: [...args],
    options: Object.fromEntries(options),
    ...{ strict: false, allowPositionals: true, tokens: true },
  });
  const given = new Map<string, string[] | boolean>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const [text = "", assigned] = (args[token.index] as string).split("=", 2);
    const { flag, isOn } = find(text, flags);
    if (flag.value === undefined) {
      if (assigned !== undefined) throw new UsageError(`${text}: takes no value`);
      given.set(flag.name, isOn);
      continue;
    }
    const { value, inlineValue } = token;
    // A value that looks like a flag means that the value was forgotten.
    if (value === undefined || (!inlineValue && /^--?[a-z]/.test(value)))
      throw new UsageError(`${text}: needs a value, ${flag.value}`);
    const before = given.get(flag.name);
    if (before !== undefined && !flag.isList) throw new UsageError(`${text}: is given twice`);
    given.set(flag.name, [...(Array.isArray(before) ? before : []), value]);
  }
  return { given, words: positionals };
}

/** Returns the value of a flag that can be given once; undefined when it is not given. */
export function textOf(given: Given, name: string): string | undefined {
  const value = given.get(name);
  return Array.isArray(value) ? value[0] : undefined;
}

/** Returns the number that a flag gives. @throws UsageError naming the flag, the value and the range */
export function numberOf(
  given: Given,
  name: string,
  { read = Number, min = 0, max = Number.MAX_SAFE_INTEGER, standard, whole = true }: NumberRange,
): number {
  const text = textOf(given, name);
  if (text === undefined) return standard;
  const value = read(text);
  if (!(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
    const what = whole ? "a whole number" : "a number";
    throw new UsageError(`--${name}: ${text} is not ${what} from ${min} to ${max}`);
  }
  return value;
}

interface NumberRange {
  /** Parses the text; NaN when it is not valid. */
  readonly read?: (text: string) => number;
  readonly min?: number;
  readonly max?: number;
  readonly standard: number;
  readonly whole?: boolean;
}

/** Wraps text to lines of at most `columns` characters. */
function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

const INDENT = 8;

/** Returns the help for flags. @param bold highlights a text, if the output can show that */
export function flagsText(
  flags: readonly Flag[],
  bold: (text: string) => string,
  columns = 80,
): string {
  const blocks = flags.map(({ name, value, text, short, isList, range }) => {
    const head = `${short ? `-${short}, ` : ""}--${name}`;
    const more = `${value ? ` ${value}` : ""}${isList ? " (repeatable)" : ""}`;
    const lines = wrapped(range ? `${text} ${range}` : text, columns - INDENT);
    return [`  ${bold(head)}${more}`, ...lines.map((line) => " ".repeat(INDENT) + line)].join("\n");
  });
  return `${blocks.join("\n")}\n`;
}
