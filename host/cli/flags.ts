// The flags of a command: described once, read from the command line, and printed by its help.
//
// Invariant: a flag that is not known, has no value or one too many is a UsageError that says which; whether a value is
// allowed, the option's own check says.

import { nearest } from "../options/known";
import { UsageError } from "./values";

export interface Flag {
  /** Without dashes, in kebab-case. */
  readonly name: string;
  /** What stands for its value in the help; undefined: it takes none, and `--no-name` is its opposite. */
  readonly value?: string;
  readonly text: string;
  /** One letter. */
  readonly short?: string;
  /** It may be given several times. */
  readonly isList?: boolean;
  /** The default and the range, for the help. */
  readonly range?: string;
}

/** What was given for each flag, by its name: the texts of its values, or whether it is on. */
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

/** A flag as it was written, and whether it was written as its opposite. */
function find(text: string, flags: readonly Flag[]): { flag: Flag; isOn: boolean } {
  for (const flag of flags) {
    if (text === `--${flag.name}` || text === `-${flag.short}`) return { flag, isOn: true };
    if (text === `--no-${flag.name}` && flag.value === undefined) return { flag, isOn: false };
  }
  throw unknown(text, flags);
}

/** @throws UsageError naming what is wrong */
export function parseFlags(args: readonly string[], flags: readonly Flag[]): Parsed {
  const given = new Map<string, string[] | boolean>();
  const words: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string;
    if (arg === "--") {
      words.push(...args.slice(at + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      words.push(arg);
      continue;
    }
    const equals = arg.indexOf("=");
    const text = equals < 0 ? arg : arg.slice(0, equals);
    const { flag, isOn } = find(text, flags);
    if (flag.value === undefined) {
      if (equals >= 0) throw new UsageError(`${text}: takes no value`);
      given.set(flag.name, isOn);
      continue;
    }
    const value = equals < 0 ? args[++at] : arg.slice(equals + 1);
    // A value that looks like a flag is a value that is missing.
    if (value === undefined || (equals < 0 && /^--?[a-z]/.test(value)))
      throw new UsageError(`${text}: needs a value, ${flag.value}`);
    const before = given.get(flag.name);
    if (before !== undefined && !flag.isList) throw new UsageError(`${text}: is given twice`);
    given.set(flag.name, [...(Array.isArray(before) ? before : []), value]);
  }
  return { given, words };
}

/** The value of a flag that is given once; undefined when it is not. */
export function textOf(given: Given, name: string): string | undefined {
  const value = given.get(name);
  return Array.isArray(value) ? value[0] : undefined;
}

/** A number that a flag gives. @throws UsageError naming it, the value and the range */
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
  /** From its text; NaN for what is none. */
  readonly read?: (text: string) => number;
  readonly min?: number;
  readonly max?: number;
  readonly standard: number;
  readonly whole?: boolean;
}

/** Lines of at most so many columns. */
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

/** What the help says of flags. @param bold makes it bold where that can be seen */
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
