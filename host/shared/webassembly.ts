// Whether the runtime has what the engine needs.

/** @throws Error where there is no WebAssembly */
export function needWebAssembly(): void {
  if (typeof WebAssembly === "object") return;
  throw new Error(
    "this runtime has no WebAssembly, which the engine needs; node --jitless takes it away",
  );
}

/** @throws RangeError for memory that the system did not give, in place of the runtime's own error */
export function noMemory(option: string, bytes: number, thrown: unknown): never {
  if (!(thrown instanceof RangeError)) throw thrown;
  throw new RangeError(
    `${option}: the system did not give ${bytes} bytes of memory (${thrown.message}). Where the address space is ` +
      "limited (ulimit -v), raise that: V8 reserves some 10 GiB for the engine, and with node's flag " +
      "--disable-wasm-trap-handler only what `plan` says",
    { cause: thrown },
  );
}
