// Text that a peer may have sent, on its way to a terminal or a log: control characters become escapes.
//
// Invariant: what is printed moves no cursor, sets no colour or title, and reorders nothing. A line stays one line.

/** C0, DEL, C1, the separators of lines, and marks that change the direction of text. */
const CONTROL = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  if (character === "\n") return "\\n";
  return code < 256
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Returns one line: control characters, line breaks included, as escapes such as `\x1b`. */
export function printable(text: string): string {
  return text.replace(CONTROL, escaped);
}

/** Returns text whose line breaks and tabs stay as they are; other control characters become escapes. */
export function printableLines(text: string): string {
  return text.replace(CONTROL, (one) => (one === "\n" || one === "\t" ? one : escaped(one)));
}

/** Returns a message of several lines: each line after the first is indented, so that it cannot forge one. */
export function printableBlock(text: string): string {
  return printableLines(text).replace(/\n(?!\s)/g, "\n    ");
}
