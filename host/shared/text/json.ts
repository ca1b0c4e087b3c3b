// JSON that a peer has sent.

import { faultOf } from "../fault";
import { printable } from "./printable";

/** Parses JSON. @throws SyntaxError, the peer's fault, whose message shows its control characters as escapes */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw faultOf(new SyntaxError(printable((error as SyntaxError).message)), 400);
  }
}
