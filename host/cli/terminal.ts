// Output of the command line: colours, if the terminal shows them, tables, and progress lines that are overwritten.
//
// Invariant: text from a server is printed by `table` and `complain`, which escape its control characters, or after
// `printable`.

import type { WriteStream } from "node:tty";
import { styleText } from "node:util";
import { printable, printableBlock } from "../shared/text/printable";

const { stdout, stderr } = process;

/** Adds a style on a terminal, unless its user has disabled colours (no-color.org). */
function styled(style: "bold" | "dim" | "red", text: string, { isTTY }: WriteStream): string {
  const { NO_COLOR, TERM } = process.env;
  return isTTY && !NO_COLOR && TERM !== "dumb"
    ? styleText(style, text, { validateStream: false })
    : text;
}

export const bold = (text: string): string => styled("bold", text, stdout);
const dim = (text: string): string => styled("dim", text, stdout);
/** Styles text for stderr. */
const red = (text: string): string => styled("red", text, stderr);

export function columns(): number {
  return Math.min(stdout.columns || 80, 100);
}

export function say(line: string): void {
  stdout.write(`${line}\n`);
}

/** Prints an error on stderr. */
export function complain(message: string): void {
  console.error(`${red("ringcast:")} ${printableBlock(message)}`);
}

/** A progress line. On a terminal the next one overwrites it; elsewhere one is printed every few seconds. */
export class Progress {
  static readonly #EVERY = 5000;
  #last = performance.now();

  show(line: string): void {
    if (stdout.isTTY) {
      stdout.write(`\r\x1b[2K${line.slice(0, (stdout.columns || 80) - 1)}`);
      return;
    }
    const now = performance.now();
    if (now - this.#last < Progress.#EVERY) return;
    this.#last = now;
    say(line);
  }

  /** Removes the line. */
  clear(): void {
    if (stdout.isTTY) stdout.write("\r\x1b[2K");
  }
}

/** Aligns rows: the first column to the left, the second to the right. */
export function table(given: readonly (readonly [string, string, string?])[]): string {
  const rows = given.map((row) => row.map((text = "") => printable(text)));
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const [first = 0, second = 0] = widths;
  return rows
    .map(([name = "", value = "", more = ""]) =>
      `${name.padEnd(first)}  ${value.padStart(second)}  ${dim(more)}`.trimEnd(),
    )
    .join("\n");
}

/** Exit codes of signals: 128 and the signal's number. */
const EXIT_CODES: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 129, SIGINT: 130 };

/** Returns true when a terminal is attached, whose closing the kernel reports by SIGHUP. */
function hasTerminal(): boolean {
  return process.stdin.isTTY || stdout.isTTY || stderr.isTTY;
}

/**
 * Calls `end` at the first SIGINT or SIGTERM, and when the terminal is closed. A second one ends the process at once.
 * @param reload called at SIGHUP when there is no terminal; undefined: SIGHUP ends the process, as the kernel does
 * @returns a function that stops listening
 */
export function onSignal(end: () => void, reload?: () => void): () => void {
  let isEnding = false;
  const signalled = (signal: NodeJS.Signals): void => {
    if (isEnding) process.exit(EXIT_CODES[signal] ?? 143);
    isEnding = true;
    end();
  };
  process.on("SIGINT", signalled);
  process.on("SIGTERM", signalled);
  const hangUp = hasTerminal() ? signalled : reload;
  if (hangUp) process.on("SIGHUP", hangUp);
  return () => {
    if (hangUp) process.off("SIGHUP", hangUp);
    process.off("SIGINT", signalled);
    process.off("SIGTERM", signalled);
  };
}
