// JSON that a peer has sent.

import { printable } from "./printable";

/** Parses JSON. @throws SyntaxError whose message shows the peer's control characters as escapes */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(printable((error as SyntaxError).message));
  }
}
