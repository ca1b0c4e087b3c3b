// Bytes for the suite: the octets that a client sends, and the first difference of two runs of bytes. No platform.

import { nextNoise } from "../lib/noise";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export type Bytes = string | Uint8Array;

/** Returns a text's UTF-8, or the bytes themselves. */
export function bytesOf(data: Bytes): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** Returns the bytes of a text of octets, one for each character. */
export function octetsOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Decodes strict UTF-8. @throws TypeError */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Returns a text with one character for each octet. */
export function latin1Of(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Returns the first index at which two runs of bytes differ; -1 when they are the same. */
export function difference(a: Uint8Array, b: Uint8Array): number {
  const most = Math.min(a.length, b.length);
  for (let i = 0; i < most; i++) if (a[i] !== b[i]) return i;
  return a.length === b.length ? -1 : most;
}

/** Returns the position of `mark` in `bytes`; -1: nowhere. */
export function find(bytes: Uint8Array, mark: Uint8Array): number {
  const first = mark[0] as number;
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (mark.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

/** Returns bytes that show their position: no run of them equals another that is shifted. */
export function pattern(n: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(n);
  let x = (seed * 2654435761 + 12345) >>> 0;
  for (let i = 0; i < n; i++) {
    x = nextNoise(x);
    bytes[i] = x >>> 24;
  }
  return bytes;
}

const ALPHABET = ["a", "Z", "7", " ", "é", "ß", "€", "語", "𝄞", "\n", '"'];

/** Returns text of `n` characters, of one to four bytes each. */
export function textPattern(n: number, seed = 1): string {
  let text = "";
  for (const byte of pattern(n, seed)) text += ALPHABET[byte % ALPHABET.length];
  return text;
}

/** Returns the number of publications up to a position. */
export function sequenceOf(position: string): number {
  return Number.parseInt(position.slice(9), 36);
}
