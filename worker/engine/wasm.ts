// The engine's wasm, which the bundler resolves.

import { needWebAssembly } from "../../host/shared/webassembly";
import bytes from "../../dist/engine.wasm";

let compiled: WebAssembly.Module | undefined;

/** Returns the compiled module. */
export function wasmModule(): WebAssembly.Module {
  needWebAssembly();
  compiled ??= new WebAssembly.Module(bytes);
  return compiled;
}

/** Returns a copy of the bytes, for programs that put them where they can be fetched from. */
export function wasmBytes(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
