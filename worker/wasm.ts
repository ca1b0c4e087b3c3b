// The engine's wasm, embedded by the bundler.

import bytes from "../dist/engine.wasm";

let compiled: WebAssembly.Module | undefined;

/** The compiled module. */
export function wasmModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(bytes);
  return compiled;
}
