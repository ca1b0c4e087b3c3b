// The engine's wasm for threads of Node's: engine.wasm, the file beside this module. A program that is bundled into one
// file has none there, and Deno would ask its user before reading it, so these compile the copy that is a module.

import { readFileSync } from "node:fs";
import { needWebAssembly } from "../../host/shared/webassembly";

/** Returns the bytes of the file; undefined when it cannot be read. */
function fileBytes(): Uint8Array<ArrayBuffer> | undefined {
  if ("Deno" in globalThis) return undefined;
  try {
    return readFileSync(new URL("./engine.wasm", import.meta.url));
  } catch {
    return undefined;
  }
}

/** Compiles the engine. */
export async function engineModule(): Promise<WebAssembly.Module> {
  needWebAssembly();
  const bytes = fileBytes();
  if (bytes) return new WebAssembly.Module(bytes);
  const { wasmModule } = await import("../engine/wasm");
  return wasmModule();
}
