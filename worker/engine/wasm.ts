// The engine, from the bytes that the bundler embeds as a module.

import { needWebAssembly } from "../../host/shared/webassembly";
import bytes from "../../dist/engine.wasm";

let compiled: WebAssembly.Module | undefined;

/** The compiled module. */
export function wasmModule(): WebAssembly.Module {
  needWebAssembly();
  compiled ??= new WebAssembly.Module(bytes);
  return compiled;
}

/** The bytes, a copy: for who puts them where they can be fetched from. */
export function wasmBytes(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
