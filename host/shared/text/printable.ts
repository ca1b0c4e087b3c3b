// Makes text that a peer may have sent safe for a terminal or a log: control characters become escapes.
//
// Invariant: printed text moves no cursor, sets no colour or title, and reorders nothing. One line remains one line.

/** C0, DEL, C1, line separators, and marks that change the direction of text. */
const CONTROL = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  if (character === "\n") return "\\n";
  return code < 256
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Returns the text as one line. Control characters, line breaks included, become escapes such as `\x1b`. */
export function printable(text: string): string {
  return text.replace(CONTROL, escaped);
}

/** Returns the text with its line breaks and tabs. Other control characters become escapes. */
export function printableLines(text: string): string {
  return text.replace(CONTROL, (one) => (one === "\n" || one === "\t" ? one : escaped(one)));
}

/** Returns text of several lines. Each line after the first is indented, so that it cannot forge a log line. */
export function printableBlock(text: string): string {
  return printableLines(text).replace(/\n(?!\s)/g, "\n    ");
}
