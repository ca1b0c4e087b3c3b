// Data that is to be sent: the one check of what a caller gave, and its bytes.
//
// Invariant: the bytes are those of the view's own memory, whatever its properties claim. A length that goes with
// bytes of a caller's comes from `sizeOf`, since a subclass or an own property may hide the true one.

import type { SendOptions } from "../../handler";
import { show } from "../text/show";
import { isUtf8, toBytes } from "../text/text";

/** Data that has been checked: text, or bytes that are the caller's until they are copied. */
export type Payload = string | Uint8Array;

type Getter<T> = (this: unknown) => T;

/** Returns an accessor of a built-in class. It works on objects of every realm, and throws for all others. */
function getterOf<T>(prototype: object, name: PropertyKey): Getter<T> {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Getter<T>;
}

const PLAIN = Uint8Array.prototype;
/** Node's Buffer, whose lengths are plain, too. */
const BUFFER = typeof Buffer === "function" ? Buffer.prototype : undefined;

const Typed = Object.getPrototypeOf(PLAIN) as {
  readonly keys: (this: unknown) => unknown;
};
const typedName = getterOf<string | undefined>(Typed, Symbol.toStringTag);
const typedLength = getterOf<number>(Typed, "byteLength");
const typedOffset = getterOf<number>(Typed, "byteOffset");
const typedBuffer = getterOf<ArrayBuffer>(Typed, "buffer");
/** Throws for a view that is detached or out of its buffer's bounds. */
const typedKeys = Typed.keys;
const viewLength = getterOf<number>(DataView.prototype, "byteLength");
const viewOffset = getterOf<number>(DataView.prototype, "byteOffset");
const viewBuffer = getterOf<ArrayBuffer>(DataView.prototype, "buffer");
const bufferLength = getterOf<number>(ArrayBuffer.prototype, "byteLength");
/** Pages that are not isolated have no shared memory. */
const sharedLength =
  typeof SharedArrayBuffer === "function"
    ? getterOf<number>(SharedArrayBuffer.prototype, "byteLength")
    : undefined;

/** Returns the true number of bytes of a view that `dataOf` has let pass. */
export function sizeOf(bytes: Uint8Array): number {
  return typedLength.call(bytes);
}

/** Returns a plain view of the bytes of any view. @throws TypeError when they are gone */
export function plainOf(view: ArrayBufferView): Uint8Array {
  if (typedName.call(view) === undefined) {
    return new Uint8Array(viewBuffer.call(view), viewOffset.call(view), viewLength.call(view));
  }
  typedKeys.call(view);
  return new Uint8Array(typedBuffer.call(view), typedOffset.call(view), typedLength.call(view));
}

/** Returns the accessor's result, undefined for an object of another kind. */
function attempt<T>(getter: Getter<T> | undefined, target: unknown): T | undefined {
  try {
    return getter?.call(target);
  } catch {
    return undefined;
  }
}

/** Returns the bytes of a buffer, those of a shared one as a copy; undefined for anything else. */
function bytesOfBuffer(data: unknown): Uint8Array | undefined {
  const length = attempt(bufferLength, data);
  if (length !== undefined) return new Uint8Array(data as ArrayBuffer, 0, length);
  if (attempt(sharedLength, data) === undefined) return undefined;
  return new Uint8Array(new Uint8Array(data as SharedArrayBuffer));
}

/**
 * Checks data that a caller gave.
 * @param call names it in the error
 * @returns a string, or the bytes: the caller's memory, to be copied before the call returns
 * @throws TypeError for what is no string and no bytes, and for bytes that are detached or out of bounds
 */
export function dataOf(call: string, data: unknown): Payload {
  if (typeof data === "string") return data;
  let bytes: Uint8Array | undefined;
  try {
    if (ArrayBuffer.isView(data)) {
      const prototype: unknown = Object.getPrototypeOf(data);
      if (prototype === PLAIN || prototype === BUFFER) {
        const { length } = data as Uint8Array;
        if (length === typedLength.call(data) && length !== 0) return data as Uint8Array;
      }
      bytes = plainOf(data);
    } else {
      bytes = bytesOfBuffer(data);
    }
  } catch {
    throw new TypeError(`${call}: the bytes are detached, or out of their buffer's bounds`);
  }
  if (bytes) return bytes;
  const given = typeof data === "object" && data !== null ? "an object" : show(data);
  throw new TypeError(`${call}: ${given} is not a string, an ArrayBuffer or a view of one`);
}

/** True for memory that other threads may write to. */
function isShared(bytes: Uint8Array): boolean {
  return attempt(bufferLength, typedBuffer.call(bytes)) === undefined;
}

/** Checks bytes that are to be sent as text. @returns them, as a copy where another thread could change them */
function textOf(
  call: string,
  bytes: Uint8Array,
  check: (bytes: Uint8Array) => boolean,
): Uint8Array {
  const own = isShared(bytes) ? new Uint8Array(bytes) : bytes;
  if (check(own)) return own;
  throw new TypeError(
    `${call}: the bytes are not UTF-8, which text must be (RFC 6455 5.6); use binary: true`,
  );
}

/** Returns the bytes of checked data, as a plain view. */
export function bytesOf(data: Payload): Uint8Array {
  return typeof data === "string" ? toBytes(data) : plainOf(data);
}

/**
 * Checks a message: its data, and that bytes which are to be sent as text can be.
 * @param check tells whether bytes are UTF-8; another one where the thread has a faster
 * @throws TypeError for wrong data, and for bytes that are not UTF-8 and are to be text
 */
export function messageOf(
  call: string,
  data: unknown,
  options: SendOptions | undefined,
  check = isUtf8,
): Payload {
  const payload = dataOf(call, data);
  if (typeof payload === "string" || options?.binary !== false) return payload;
  return textOf(call, payload, check);
}

/** Returns the payload of a ping. @throws TypeError, RangeError for more than 125 bytes (RFC 6455 5.5) */
export function pingOf(data: unknown): Uint8Array {
  const payload = dataOf("ping", data);
  const bytes = typeof payload === "string" ? toBytes(payload) : payload;
  const length = sizeOf(bytes);
  if (length > 125) throw new RangeError(`ping: ${length} bytes are more than 125`);
  return bytes;
}
