// Converts text to bytes and back: Latin-1 for fields, UTF-8 for everything else. Uses Node's Buffer if there is one,
// because that allocates no view for each call.

const ascii: readonly string[] = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i));
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** The part of Node's Buffer that is used. Pages have no types of it. */
interface BufferClass {
  new (length: never): Uint8Array;
  byteLength(text: string, encoding: "utf8"): number;
  readonly prototype: Uint8Array;
  from(memory: ArrayBufferLike, from: number): Uint8Array;
  allocUnsafeSlow?(length: number): Uint8Array<ArrayBuffer>;
}

/** Node's Buffer, kept because as a global it is a getter. */
export const NodeBuffer = (globalThis as { readonly Buffer?: BufferClass }).Buffer;
/** Number of characters up to which a loop is faster than a call into native code. */
const LOOP_LENGTH = 32;

/** Methods of Node's Buffer that its types do not declare. */
interface FastBuffer extends Uint8Array {
  latin1Slice(from: number, to: number): string;
  utf8Slice(from: number, to: number): string;
  utf8Write(text: string, at: number, limit: number): number;
}

const Fast = NodeBuffer && "utf8Write" in NodeBuffer.prototype ? NodeBuffer : undefined;

function isFast(bytes: Uint8Array): bytes is FastBuffer {
  return Fast !== undefined && bytes instanceof Fast;
}

/** Returns a view of a memory from `from` on: a Buffer if there is one, so that slices of it are cheap. */
export function viewOf(memory: ArrayBufferLike, from = 0): Uint8Array {
  return Fast ? Fast.from(memory, from) : new Uint8Array(memory, from);
}

/** Decodes bytes as Latin-1, as field values are (RFC 9110 5.5). */
export function latin1(bytes: Uint8Array, from: number, length: number): string {
  if (isFast(bytes)) return bytes.latin1Slice(from, from + length);
  let text = "";
  for (let i = from; i < from + length; i++) {
    const c = bytes[i] as number;
    text += ascii[c] ?? String.fromCharCode(c);
  }
  return text;
}

/** Characters of the longest text that `recentLatin1` keeps, and number of texts. Longer ones are not kept. */
const RECENT_LENGTH = 48;
const RECENT = 64;
const recent: string[] = new Array(RECENT).fill("");

/** Decodes like `latin1`, but returns the same string again for recurring text, such as targets of requests. */
export function recentLatin1(bytes: Uint8Array, from: number, length: number): string {
  if (length === 0 || length > RECENT_LENGTH) return latin1(bytes, from, length);
  const middle = bytes[from + (length >> 1)] as number;
  const last = bytes[from + length - 1] as number;
  const place = (length * 7 + middle * 5 + last) & (RECENT - 1);
  const kept = recent[place] as string;
  if (kept.length === length) {
    let i = 0;
    while (i < length && kept.charCodeAt(i) === bytes[from + i]) i++;
    if (i === length) return kept;
  }
  const text = latin1(bytes, from, length);
  recent[place] = text;
  return text;
}

/** Writes text of Latin-1 characters. @returns the offset of its end */
export function putLatin1(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** Decodes valid UTF-8. */
export function utf8(bytes: Uint8Array, from: number, length: number): string {
  if (isFast(bytes)) return bytes.utf8Slice(from, from + length);
  return decoder.decode(bytes.slice(from, from + length));
}

/** Writes text of ASCII characters. @returns the offset of its end, −1 at the first other character */
function putAscii(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 127) return -1;
    bytes[at + i] = c;
  }
  return at + text.length;
}

/** Writes text as UTF-8 at `at`. @returns the bytes written, −1 when they do not fit into `limit` */
export function putUtf8(bytes: Uint8Array, at: number, limit: number, text: string): number {
  if (text.length > limit) return -1;
  if (text.length <= LOOP_LENGTH) {
    const end = putAscii(bytes, at, text);
    if (end >= 0) return end - at;
  }
  if (text.length * 3 > limit && byteLength(text) > limit) return -1;
  if (isFast(bytes)) return bytes.utf8Write(text, at, limit);
  return encoder.encodeInto(text, bytes.subarray(at, at + limit)).written;
}

/** False in browsers, which do not encode into shared memory. */
const encodesShared = ((): boolean => {
  if (typeof SharedArrayBuffer !== "function") return true;
  try {
    encoder.encodeInto("", new Uint8Array(new SharedArrayBuffer(1)));
    return true;
  } catch {
    return false;
  }
})();
let between = new Uint8Array(0);

/**
 * Writes text as UTF-8 into memory that may be shared.
 * @param target must have room: three bytes for each character are enough
 * @returns the bytes written
 */
export function encodeInto(text: string, target: Uint8Array): number {
  if (encodesShared) return encoder.encodeInto(text, target).written;
  if (between.length < target.length) between = new Uint8Array(target.length * 2);
  const { written } = encoder.encodeInto(text, between);
  target.set(between.subarray(0, written));
  return written;
}

/** Returns the length of text in UTF-8, in bytes. */
export function byteLength(text: string): number {
  return Fast ? Fast.byteLength(text, "utf8") : encoder.encode(text).length;
}

/** Returns text or bytes as a view of bytes. */
export function toBytes(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** Node's modules on runtimes that have them, without an import, which a page could not resolve. */
interface NodeModules {
  getBuiltinModule?(id: string): { isUtf8?(bytes: Uint8Array): boolean } | undefined;
}

const { process: nodeModules } = globalThis as { process?: NodeModules };
const nodeIsUtf8 = nodeModules?.getBuiltinModule?.("node:buffer")?.isUtf8;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns true when bytes are valid UTF-8 (RFC 3629). Their memory must not be shared. */
export function isUtf8(bytes: Uint8Array): boolean {
  if (nodeIsUtf8) return nodeIsUtf8(bytes);
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Returns a copy of bytes as a plain Uint8Array, whatever the view was. */
export function copyBytes(
  bytes: Uint8Array,
  from: number,
  length: number,
): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(from, from + length));
  return copy;
}
