// The trial of Node's handles: it passes on Node itself and leaves nothing, and each part that is missing or behaves
// otherwise is found before a connection depends on it.

import { closeSync, constants, openSync, readdirSync } from "node:fs";
import * as net from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handle, HandleRequest } from "../../worker/net/handle";
import { tryHandles } from "../../worker/net/handle-trial";
import type { HandleRules } from "../../worker/net/handle-link";
import { until } from "../lib/wait";

/** Time limit (ms) of a trial in which an event is missing. */
const SHORT = 300;

type Binding = Record<string, unknown>;
const holder = process as unknown as { binding(name: string): Binding; noDeprecation?: boolean };
const { binding } = holder;

/** Members of a handle under test; each is inherited. */
type Faulty = { -readonly [K in keyof Handle]: Handle[K] };

/** Returns the prototypes of TCP handles: that of TCP alone, and that of all streams. */
function prototypes(): readonly [Faulty, Faulty] {
  const server = net.createServer();
  // Without a host it has its handle at once.
  server.listen(0);
  const { _handle } = server as unknown as { _handle: object };
  server.close();
  const own = Object.getPrototypeOf(_handle) as Faulty;
  return [own, Object.getPrototypeOf(own) as Faulty];
}

const [tcp, stream] = prototypes();
const close = (Object.getPrototypeOf(stream) as Handle).close;

const trial = suite("trial");

/** Runs the trial with another binding. @returns why it fails; "" when it passes */
async function reasonOf(limit = 20000): Promise<string> {
  return tryHandles(limit).then(
    () => "",
    (error: Error) => error.message,
  );
}

const descriptors = (): number => readdirSync("/proc/self/fd").length;

trial("passes, and leaves no descriptor", async () => {
  assert.is(await reasonOf(), "");
  const before = descriptors();
  for (let i = 0; i < 5; i++) assert.is(await reasonOf(), "");
  await until("no descriptors are left", () => descriptors() === before);
});

/** Runs the trial and collects garbage before each first read. @returns whether the memory to read into was kept */
async function keptThroughGarbage(): Promise<boolean[]> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const real = stream.useUserBuffer;
  const kept: boolean[] = [];
  stream.useUserBuffer = function (this: Handle, memory) {
    real.call(this, memory);
    if (!isAccepted(this)) return;
    const ref = new WeakRef(memory);
    setImmediate(() => {
      collect();
      const isKept = ref.deref() !== undefined;
      kept.push(isKept);
      // A read would corrupt the heap of this process.
      if (!isKept) this.readStop();
    });
  };
  try {
    await reasonOf();
  } finally {
    stream.useUserBuffer = real;
  }
  return kept;
}

trial("keeps the memory that handles read into", async () => {
  for (let i = 0; i < 5; i++) assert.equal(await keptThroughGarbage(), [true, true]);
});

trial("warns of nothing, and leaves `noDeprecation` as it was", async () => {
  const warnings: unknown[] = [];
  const warn = (warning: unknown): void => void warnings.push(warning);
  process.on("warning", warn);
  for (const value of [undefined, false, true]) {
    if (value === undefined) delete holder.noDeprecation;
    else holder.noDeprecation = value;
    assert.is(await reasonOf(), "");
    assert.is(Object.hasOwn(process, "noDeprecation"), value !== undefined);
    assert.is(holder.noDeprecation, value);
  }
  delete holder.noDeprecation;
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", warn);
  assert.equal(warnings, []);
});

/** Runs the trial with a changed binding. */
async function withBinding(change: (real: Binding) => Binding): Promise<string> {
  holder.binding = (name) => change({ ...binding.call(process, name) });
  try {
    return await reasonOf(SHORT);
  } finally {
    holder.binding = binding;
  }
}

trial("fails where the binding is denied", async () => {
  const reason = await withBinding(() => {
    throw new Error("Access to this API has been restricted");
  });
  assert.match(reason, /restricted/);
});

trial("fails where the binding is missing", async () => {
  (holder as { binding?: unknown }).binding = undefined;
  try {
    assert.is.not(await reasonOf(SHORT), "");
  } finally {
    holder.binding = binding;
  }
});

for (const part of [
  ...["streamBaseState", "kReadBytesOrError", "kLastWriteWasAsync"],
  ...["WriteWrap", "ShutdownWrap"],
]) {
  for (const [what, value] of [
    ["missing", undefined],
    ["something else", "?"],
  ] as const) {
    trial(`fails where ${part} is ${what}`, async () => {
      const reason = await withBinding((real) => ({ ...real, [part]: value }));
      assert.is(reason, `${part} is missing`);
    });
  }
}

trial("fails where an index of the state is another", async () => {
  const read = await withBinding((real) => ({ ...real, kReadBytesOrError: real.kBytesWritten }));
  assert.match(read, /an end is reported as/);
  const out = await withBinding((real) => ({ ...real, kReadBytesOrError: 1000 }));
  assert.is(out, "kReadBytesOrError is missing");
});

trial("fails where requests have another class", async () => {
  class Other {}
  const write = await withBinding((real) => ({ ...real, WriteWrap: Other }));
  // Node 26 makes write requests itself, so their class is not needed.
  assert.is(write, Number.parseInt(process.versions.node, 10) < 26 ? "requests are others" : "");
  const shut = await withBinding((real) => ({ ...real, ShutdownWrap: Other }));
  assert.is(shut, "Node ends in another way");
});

/** Runs the trial with a changed member of all handles. */
async function withMember<K extends keyof Handle>(
  on: Faulty,
  name: K,
  change: (real: NonNullable<Handle[K]>) => unknown,
): Promise<string> {
  const real = on[name];
  (on as Record<string, unknown>)[name] = change(real as NonNullable<Handle[K]>);
  try {
    return await reasonOf(SHORT);
  } finally {
    on[name] = real;
  }
}

for (const name of ["useUserBuffer", "readStart", "readStop", "writeBuffer", "shutdown"] as const) {
  trial(`fails where ${name} is missing`, async () => {
    // Node's own sockets need it, too.
    const reason = await withMember(stream, name, () => undefined);
    assert.is(reason, `${name} is missing`);
  });
}
for (const name of ["reset", "getpeername", "getsockname", "setNoDelay", "setKeepAlive"] as const) {
  trial(`fails where ${name} is missing`, async () => {
    assert.is(await withMember(tcp, name, () => undefined), `${name} is missing`);
  });
}

/** Returns true for a handle of a server's connection: clients' handles have owners that are sockets. */
function isAccepted(handle: object): boolean {
  const [owner] = Object.getOwnPropertySymbols(handle);
  return !((handle as Record<symbol, unknown>)[owner as symbol] instanceof net.Socket);
}

trial("fails where the completion of a write is never reported", async () => {
  const reason = await withMember(stream, "writeBuffer", (real) => {
    return function (this: Handle, request: HandleRequest | null, bytes: Uint8Array) {
      const result = real.call(this, request, bytes);
      const made = typeof result === "number" ? request : result;
      if (made && isAccepted(this))
        Object.defineProperty(made, "oncomplete", {
          get: () => () => undefined,
          set: () => undefined,
        });
      return result;
    };
  });
  assert.match(reason, /of a pending write/);
});

trial("fails where the completion of a write is reported twice", async () => {
  const reason = await withMember(stream, "writeBuffer", (real) => {
    return function (this: Handle, request: HandleRequest | null, bytes: Uint8Array) {
      const result = real.call(this, request, bytes);
      const made = typeof result === "number" ? request : result;
      let report: HandleRequest["oncomplete"];
      if (made && isAccepted(this)) {
        Object.defineProperty(made, "oncomplete", {
          get: () =>
            function (this: HandleRequest, status: number) {
              report?.call(this, status);
              report?.call(this, status);
            },
          set: (fn) => {
            report = fn;
          },
        });
      }
      return result;
    };
  });
  assert.match(reason, /a reset reports/);
});

trial("fails where a write fails", async () => {
  const reason = await withMember(stream, "writeBuffer", (real) => {
    return function (this: Handle, request: HandleRequest | null, bytes: Uint8Array) {
      return isAccepted(this) ? -32 : real.call(this, request, bytes);
    };
  });
  assert.is(reason, "a write fails");
});

trial("fails where other bytes are written", async () => {
  const reason = await withMember(stream, "writeBuffer", (real) => {
    return function (this: Handle, request: HandleRequest | null, bytes: Uint8Array) {
      return real.call(this, request, isAccepted(this) ? bytes.slice().reverse() : bytes);
    };
  });
  assert.is(reason, "a client received a wrong byte");
});

trial("fails where a reset is none", async () => {
  const refused = await withMember(tcp, "reset", () => () => -22);
  assert.is(refused, "a reset fails");
  const late = await withMember(tcp, "reset", () => () => 0);
  assert.match(late, /of a reset/);
});

trial("fails where a reset is a close after the bytes", async () => {
  const reason = await withMember(tcp, "reset", () => {
    return function (this: Handle, closed?: () => void) {
      close.call(this, closed);
      return 0;
    };
  });
  assert.match(reason, /of a reset/);
});

trial("fails where a shutdown does not end, or fails", async () => {
  const never = await withMember(stream, "shutdown", (real) => {
    return function (this: Handle, request: HandleRequest) {
      return isAccepted(this) ? 0 : real.call(this, request);
    };
  });
  assert.match(never, /of a half-close/);
  const fails = await withMember(stream, "shutdown", (real) => {
    return function (this: Handle, request: HandleRequest) {
      return isAccepted(this) ? -107 : real.call(this, request);
    };
  });
  assert.is(fails, "a shutdown fails");
});

/** Runs the trial where the handles of a server have another descriptor. */
async function withDescriptor(fd: number | undefined): Promise<HandleRules> {
  const real = stream.useUserBuffer;
  stream.useUserBuffer = function (this: Handle, memory) {
    if (isAccepted(this)) Object.defineProperty(this, "fd", { value: fd });
    real.call(this, memory);
  };
  try {
    return await tryHandles();
  } finally {
    stream.useUserBuffer = real;
  }
}

trial("allows writes through the descriptor where the kernel says that none waits", async () => {
  assert.is((await tryHandles()).writesSome, process.platform === "linux");
});

trial("refuses writes through a descriptor that is missing, or may wait", async () => {
  const waiting = openSync("/dev/null", constants.O_RDWR);
  const reading = openSync("/dev/null", constants.O_RDONLY | constants.O_NONBLOCK);
  for (const fd of [undefined, -1, 1 << 20, waiting, reading]) {
    assert.is((await withDescriptor(fd)).writesSome, false, String(fd));
  }
  closeSync(waiting);
  closeSync(reading);
});

if (process.platform === "linux") {
  trial("fails where the bytes that a descriptor accepts are lost", async () => {
    const elsewhere = openSync("/dev/null", constants.O_RDWR | constants.O_NONBLOCK);
    const reason = await withDescriptor(elsewhere).catch((error: Error) => error.message);
    assert.is(reason, "a client received a wrong byte");
    closeSync(elsewhere);
  });
}

trial("fails where reading does not start", async () => {
  const reason = await withMember(stream, "readStart", (real) => {
    return function (this: Handle) {
      return isAccepted(this) ? -22 : real.call(this);
    };
  });
  assert.is(reason, "reading does not start");
});

trial.run();
