// Checks that the runtime can run the engine, and types of WebAssembly for programs without the DOM library.

/** A compiled module: `WebAssembly.Module` where the program has its type, which is in the DOM library. */
export type WasmModule = typeof globalThis extends {
  WebAssembly: { Module: { prototype: infer Declared } };
}
  ? Declared
  : object;

/** The memory of an instance: `WebAssembly.Memory` where the program has its type, which is in the DOM library. */
export type WasmMemory = typeof globalThis extends {
  WebAssembly: { Memory: { prototype: infer Declared } };
}
  ? Declared
  : { readonly buffer: ArrayBuffer };

/** Checks for WebAssembly. @throws Error when the runtime has none */
export function needWebAssembly(): void {
  if (typeof WebAssembly === "object") return;
  throw new Error(
    "this runtime has no WebAssembly, which the engine needs; node --jitless disables it",
  );
}

/** Replaces the runtime's error when the system refuses memory. @throws RangeError with advice */
export function noMemory(option: string, bytes: number, thrown: unknown): never {
  if (!(thrown instanceof RangeError)) throw thrown;
  throw new RangeError(
    `${option}: the system refused ${bytes} bytes of memory (${thrown.message}). Where the address space is ` +
      "limited (ulimit -v), raise that: V8 reserves some 10 GiB for the engine, and with node's flag " +
      "--disable-wasm-trap-handler only what `plan` says",
    { cause: thrown },
  );
}
