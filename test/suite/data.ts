// Data to be sent: valid data with its bytes, and invalid data. For the application's calls and a handler's alike.

import type { Data } from "ringcast";

interface Good {
  readonly name: string;
  readonly make: () => unknown;
  readonly bytes: readonly number[];
}

interface Bad {
  readonly name: string;
  readonly make: () => unknown;
}

/** A view whose length is not what it says. */
class Liar extends Uint8Array {
  override get length(): number {
    return 5000;
  }
  override get byteLength(): number {
    return 5000;
  }
  override subarray(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(5000);
  }
}

/** Returns a plain view with other properties of its own. */
function pretending(properties: PropertyDescriptorMap): Uint8Array {
  return Object.defineProperties(Uint8Array.of(1, 2, 3), properties);
}

/** Returns a view that first reports its true length, then another. */
function fickle(): Uint8Array {
  let calls = 0;
  return pretending({ length: { get: () => (calls++ === 0 ? 3 : 5000) } });
}

function isThere(name: string): boolean {
  return name in globalThis;
}

const resizable = "resizable" in ArrayBuffer.prototype;

/** Returns a buffer whose length can change. */
function resizableBuffer(bytes: number, most: number): ArrayBuffer {
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer;
  return new Resizable(bytes, { maxByteLength: most });
}

function shrunk(): Uint8Array {
  const buffer = resizableBuffer(8, 8);
  const view = new Uint8Array(buffer, 4, 4);
  (buffer as unknown as { resize(bytes: number): void }).resize(2);
  return view;
}

function detached<T extends ArrayBuffer | ArrayBufferView>(data: T): T {
  structuredClone(0, {
    transfer: [ArrayBuffer.isView(data) ? (data.buffer as ArrayBuffer) : data],
  });
  return data;
}

function shared(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(3);
  new Uint8Array(memory).set([7, 8, 9]);
  return memory;
}

const F64 = [0, 0, 0, 0, 0, 0, 0xf8, 0x3f];

export const GOOD: readonly Good[] = [
  { name: "a string", make: () => "h\u00e9", bytes: [0x68, 0xc3, 0xa9] },
  { name: "a lone surrogate", make: () => "\ud800", bytes: [0xef, 0xbf, 0xbd] },
  { name: "nothing", make: () => "", bytes: [] },
  { name: "Uint8Array", make: () => Uint8Array.of(1, 2, 3), bytes: [1, 2, 3] },
  { name: "part of one", make: () => Uint8Array.of(1, 2, 3, 4).subarray(1, 3), bytes: [2, 3] },
  { name: "an empty one", make: () => new Uint8Array(0), bytes: [] },
  { name: "ArrayBuffer", make: () => Uint8Array.of(4, 5).buffer, bytes: [4, 5] },
  { name: "an empty buffer", make: () => new ArrayBuffer(0), bytes: [] },
  { name: "Float64Array", make: () => Float64Array.of(1.5), bytes: F64 },
  { name: "Uint16Array", make: () => Uint16Array.of(0x0201, 0x0403), bytes: [1, 2, 3, 4] },
  { name: "Int8Array", make: () => Int8Array.of(-1, 1), bytes: [255, 1] },
  { name: "BigUint64Array", make: () => BigUint64Array.of(1n), bytes: [1, 0, 0, 0, 0, 0, 0, 0] },
  {
    name: "DataView",
    make: () => new DataView(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2),
    bytes: [2, 3],
  },
  { name: "a subclass with another length", make: () => new Liar([1, 2, 3]), bytes: [1, 2, 3] },
  {
    name: "another length of its own",
    make: () => pretending({ length: { value: 5000 }, byteLength: { value: 5000 } }),
    bytes: [1, 2, 3],
  },
  {
    name: "a shorter length of its own",
    make: () => pretending({ length: { value: 1 }, byteLength: { value: 1 } }),
    bytes: [1, 2, 3],
  },
  { name: "a length that changes", make: fickle, bytes: [1, 2, 3] },
  ...(isThere("SharedArrayBuffer")
    ? [
        { name: "SharedArrayBuffer", make: shared, bytes: [7, 8, 9] },
        { name: "a view of one", make: () => new Uint8Array(shared(), 1), bytes: [8, 9] },
      ]
    : []),
  ...(resizable
    ? [{ name: "a resizable buffer", make: () => resizableBuffer(2, 8), bytes: [0, 0] }]
    : []),
];

const BAD: readonly Bad[] = [
  { name: "null", make: () => null },
  { name: "a number", make: () => 16e6 },
  { name: "zero", make: () => 0 },
  { name: "a boolean", make: () => true },
  { name: "a bigint", make: () => 5n },
  { name: "a symbol", make: () => Symbol("s") },
  { name: "an object", make: () => ({ length: 3 }) },
  { name: "an array", make: () => [1, 2, 3] },
  { name: "a Date", make: () => new Date(0) },
  { name: "a function", make: () => () => "text" },
  { name: "a Map", make: () => new Map([[1, 2]]) },
  { name: "a promise", make: () => Promise.resolve("text") },
  { name: "a boxed string", make: () => Object("text") },
  { name: "a view behind a Proxy", make: () => new Proxy(Uint8Array.of(1), {}) },
  { name: "a buffer behind a Proxy", make: () => new Proxy(new ArrayBuffer(8), {}) },
  {
    name: "a revoked Proxy",
    make() {
      const { proxy, revoke } = Proxy.revocable([], {});
      revoke();
      return proxy;
    },
  },
  { name: "what inherits from a view", make: () => Object.create(Uint8Array.of(1, 2)) },
  { name: "a detached view", make: () => detached(Uint8Array.of(1, 2, 3)) },
  { name: "a detached DataView", make: () => detached(new DataView(new ArrayBuffer(4))) },
  { name: "a detached buffer", make: () => detached(new ArrayBuffer(4)) },
  ...(resizable ? [{ name: "a view out of bounds", make: shrunk }] : []),
];

/** Bytes that are no UTF-8. */
const BAD_TEXT: readonly (readonly number[])[] = [
  [0xff],
  [0x61, 0xc3],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xc0, 0x80],
  Array.from({ length: 300 }, (_, i) => (i === 299 ? 0xe2 : 0x61)),
];

type Call = (data: Data, options?: { binary?: boolean }) => unknown;

/** Returns what is wrong with an error; undefined: nothing. */
function faultOf(call: string, run: () => unknown): string | undefined {
  try {
    return `returned ${String(run())}`;
  } catch (error) {
    const isRight = error instanceof TypeError && error.message.startsWith(`${call}: `);
    return isRight ? undefined : `threw ${String(error)}`;
  }
}

/**
 * Calls each with all that is wrong, and with bytes as text that are no text.
 * @returns what was not refused by a TypeError that names the call
 */
export function problemsOf(
  calls: Readonly<Record<string, Call>>,
  kind: "messages" | "bodies" = "messages",
): string[] {
  const problems: string[] = [];
  for (const [call, run] of Object.entries(calls)) {
    const check = (name: string, data: unknown, options?: { binary: boolean }): void => {
      const fault = faultOf(call, () => run(data as Data, options));
      if (fault) problems.push(`${call} with ${name} ${fault}`);
    };
    for (const { name, make } of BAD) check(name, make());
    // A ping and a body may be left out.
    if (call !== "ping" && call !== "body") check("undefined", undefined);
    if (kind === "bodies" || call === "ping" || call === "stage.bytes") continue;
    for (const octets of BAD_TEXT) {
      check(`${octets.length} bytes as text`, Uint8Array.from(octets), { binary: false });
    }
  }
  return problems;
}
