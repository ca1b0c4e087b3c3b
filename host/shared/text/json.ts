// Parses JSON from a peer.

import { faultOf } from "../fault";
import { printable } from "./printable";

/** Parses JSON. @throws SyntaxError, a fault of the peer's, in whose message control characters are escaped */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw faultOf(new SyntaxError(printable((error as SyntaxError).message)), 400);
  }
}
