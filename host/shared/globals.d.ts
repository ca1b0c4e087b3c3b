// Globals of Node that pages have, too, and that Node's types do not declare. Pages' types are the DOM library's, so
// this file is no part of tsconfig.page.json.

type Transferable = import("worker_threads").Transferable;

/** The members that are used. */
declare namespace WebAssembly {
  type Bytes = ArrayBuffer | ArrayBufferView<ArrayBuffer>;
  class Module {
    constructor(bytes: Bytes);
    static exports(module: Module): { name: string; kind: string }[];
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }
  class Instance {
    constructor(module: Module, imports?: object);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  class RuntimeError extends Error {}
  function compile(bytes: Bytes): Promise<Module>;
  function validate(bytes: Bytes): boolean;
}

declare module "worker_threads" {
  interface MessagePort {
    onmessage: ((event: { readonly data: never }) => void) | null;
  }
}
