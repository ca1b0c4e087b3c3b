// Test documents: the bytes on the wire, and the expected log. Each area of the protocols has one in cases/;
// test/unit/cases.test.ts runs them.
//
// An input is text of octets, one for each character; for frames it is in a notation of octets:
//
//   81 85 37fa213d 7f9f4d5158      hexadecimal, spaces are free
//   81 85 37fa213d "\x7f\x9f…"     a text of octets
//   81 85 37fa213d ~"Hello"        the same, masked with the four octets in front of it (RFC 6455 5.3)
//   ~"x"*125                       repeated
//
// A log has the events in order, then everything that the client received, in lines that begin with "> ": the octets of
// frames in the same notation; of a response the status and the fields, without Date, Content-Type and Content-Length.

import { CLOSE_TABLE } from "../../host/shared/close";
import type { EngineParams } from "../../worker/engine/engine";

/** How a case ends, and how its answers are read. */
interface CaseOptions {
  /** The client ends its side after the input. */
  readonly fin?: true;
  /** Indices of the answers to HEAD. */
  readonly heads?: readonly number[];
}

export type Case = readonly [
  /** The claim, which distinguishes it from the area's other cases. */
  name: string,
  /** "RFC 9112 2.2"; several are separated by commas. */
  clause: string,
  input: string,
  log: readonly string[],
  options?: CaseOptions,
];

export interface Area {
  readonly name: string;
  /** The kind of the input: requests, handshakes that offer extensions, frames after a handshake. */
  readonly of: "requests" | "offers" | "frames";
  readonly limits?: EngineParams;
  readonly cases: readonly Case[];
}

const TOKEN = /\s+|(~?)"([^"]*)"(?:\*(\d+))?|((?:[0-9a-f]{2})+)/gy;

/** Returns the octets of a notation. @throws Error at a character that it does not know */
export function octetsOf(notation: string): Uint8Array {
  let found = Buffer.alloc(0);
  let end = 0;
  for (const match of notation.matchAll(TOKEN)) {
    end = match.index + match[0].length;
    const [, masked, text, times = "1", hex] = match;
    if (hex !== undefined) found = Buffer.concat([found, Buffer.from(hex, "hex")]);
    if (text === undefined) continue;
    const plain = Buffer.from(text.repeat(Number(times)), "latin1");
    const mask = found.subarray(-4);
    const octets = masked ? plain.map((octet, i) => octet ^ (mask[i % 4] as number)) : plain;
    found = Buffer.concat([found, octets]);
  }
  if (end !== notation.length) throw new Error(`not in the notation: ${notation.slice(end)}`);
  return found;
}

/** A request's head: its lines, then the empty one. */
export const head = (...lines: string[]): string => `${lines.join("\r\n")}\r\n\r\n`;

/** Returns the log of a connection that fails: the reason, and the Close with its code and the reason's text. */
export function failed(code: number, reason: keyof typeof CLOSE_TABLE): string[] {
  const { text } = CLOSE_TABLE[reason];
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");
  return [`end ${reason}`, `> 88 ${hex(2 + text.length, 2)} ${hex(code, 4)} "${text}"`];
}

/** Returns the log of a request that is refused. */
export function refused(status: number, reason: string): string[] {
  return [`end ${reason}`, `> ${status} | Connection: close`];
}
