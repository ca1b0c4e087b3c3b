// Checks data that a caller wants to send, and returns its bytes.
//
// Invariant: the bytes are those of the view's own memory, whatever its properties say. Lengths of a caller's bytes
// come from `sizeOf`, because a subclass or an own property may hide the true one.

import type { SendOptions } from "../../handler";
import { show } from "../text/show";
import { NodeBuffer, isUtf8, toBytes } from "../text/text";

/** Checked data: text, or bytes that belong to the caller until they are copied. */
export type Payload = string | Uint8Array;

type Getter<T> = (this: unknown) => T;

/** Returns an accessor of a built-in class. It works on objects of every realm, and throws for all others. */
function getterOf<T>(prototype: object, name: PropertyKey): Getter<T> {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Getter<T>;
}

const PLAIN = Uint8Array.prototype;
/** Node's Buffer, whose `length` is the true one, too. */
const BUFFER = NodeBuffer?.prototype;

const Typed = Object.getPrototypeOf(PLAIN) as {
  readonly keys: (this: unknown) => unknown;
};
const typedName = getterOf<string | undefined>(Typed, Symbol.toStringTag);
const typedLength = getterOf<number>(Typed, "byteLength");
const typedOffset = getterOf<number>(Typed, "byteOffset");
const typedBuffer = getterOf<ArrayBuffer>(Typed, "buffer");
/** A method that throws for a view that is detached or out of its buffer's bounds. */
const typedKeys = Typed.keys;
const viewLength = getterOf<number>(DataView.prototype, "byteLength");
const viewOffset = getterOf<number>(DataView.prototype, "byteOffset");
const viewBuffer = getterOf<ArrayBuffer>(DataView.prototype, "buffer");
const bufferLength = getterOf<number>(ArrayBuffer.prototype, "byteLength");
/** Undefined in pages that are not cross-origin isolated, which have no shared memory. */
const sharedLength =
  typeof SharedArrayBuffer === "function"
    ? getterOf<number>(SharedArrayBuffer.prototype, "byteLength")
    : undefined;

/** Returns the true number of bytes of a view that `dataOf` has returned. */
export function sizeOf(bytes: Uint8Array): number {
  return typedLength.call(bytes);
}

/** Returns a plain view of the bytes of any view. @throws TypeError when the view is detached */
function plainOf(view: ArrayBufferView): Uint8Array {
  if (typedName.call(view) === undefined) {
    return new Uint8Array(viewBuffer.call(view), viewOffset.call(view), viewLength.call(view));
  }
  typedKeys.call(view);
  return new Uint8Array(typedBuffer.call(view), typedOffset.call(view), typedLength.call(view));
}

/** Returns the accessor's result; undefined for an object of another kind. */
function attempt<T>(getter: Getter<T> | undefined, target: unknown): T | undefined {
  try {
    return getter?.call(target);
  } catch {
    return undefined;
  }
}

/** Returns the bytes of a buffer, as a copy when it is shared; undefined for anything else. */
function bytesOfBuffer(data: unknown): Uint8Array | undefined {
  const length = attempt(bufferLength, data);
  if (length !== undefined) return new Uint8Array(data as ArrayBuffer, 0, length);
  if (attempt(sharedLength, data) === undefined) return undefined;
  return new Uint8Array(new Uint8Array(data as SharedArrayBuffer));
}

/**
 * Checks data that a caller gave.
 * @param call name of the call in errors
 * @returns a string, or the bytes in the caller's memory, which must be copied before the call returns
 * @throws TypeError for a value that is neither text nor bytes, and for bytes that are detached or out of bounds
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

/** Returns true for memory that other threads may write to. */
function isShared(bytes: Uint8Array): boolean {
  return attempt(bufferLength, typedBuffer.call(bytes)) === undefined;
}

/** Checks that bytes can be sent as text. @returns the bytes, as a copy when another thread could change them */
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
 * Checks a message: its data, and that bytes to be sent as text are UTF-8.
 * @param check tests for UTF-8; a thread may have a faster test
 * @throws TypeError for wrong data, and for bytes that are to be sent as text and are not UTF-8
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
