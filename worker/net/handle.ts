// Node's handles of TCP and Unix sockets, which are undocumented: their types, and the parts of Node's binding that
// using them without a stream needs.
//
// Invariant: a part is looked at before it is used. Calling a handle with arguments that it does not expect aborts the
// process, so how it is called is learned from a call that Node itself makes (handle-trial.ts).

import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";

/** Result of a read at the end of the stream, in libuv. */
export const END_OF_STREAM = -4095;
/** Result of an operation that a closing handle has cancelled. */
export const CANCELLED = -constants.errno.ECANCELED;
/** Result of a read after the peer has reset the connection. */
export const RESET = -constants.errno.ECONNRESET;
/** Result of a shutdown when the connection has gone. */
export const NOT_CONNECTED = -constants.errno.ENOTCONN;

/** Receives one end of a connection from `getsockname` or `getpeername`. */
export interface HandleEnd {
  address?: string;
  port?: number;
}

/** A write or a shutdown that is under way. */
export interface HandleRequest {
  /** Called with the result, 0 or a negative error number. */
  oncomplete?: (this: HandleRequest, status: number) => void;
  /** Returns −1 while the request is not in use. */
  getAsyncId?(): number;
  /** The result, when it came before `oncomplete` could be set; else null or undefined. */
  writeStatus?: number | null;
  /** The bytes, kept from garbage collection. */
  buffer?: Uint8Array | undefined;
  /** The holder's own link. */
  link?: unknown;
}

/** The handle of a connection. Error numbers are negative. */
export interface Handle {
  /** The descriptor. */
  readonly fd?: number;
  /** Bytes of pending writes that the kernel has not accepted. It may be out of date while the event loop polls. */
  readonly writeQueueSize?: number;
  /** Called after each read. It must return undefined. */
  onread?: (this: Handle) => void;
  /** Reads into this memory until the handle is closed. The caller keeps it from being collected for as long. */
  useUserBuffer(memory: Uint8Array): void;
  /** @returns 0, or an error number */
  readStart(): number;
  readStop(): number;
  /**
   * @param request reports completion when the kernel does not accept everything at once; null where handles create
   * requests themselves
   * @returns 0, an error number, or the request that was created
   */
  writeBuffer(request: HandleRequest | null, bytes: Uint8Array): number | HandleRequest;
  /** Half-closes after the written bytes. @returns 0, or an error number */
  shutdown(request: HandleRequest): number;
  /** Closes. Outstanding requests are cancelled first. */
  close(closed?: () => void): void;
  /** Closes with a reset. It must not be called during a shutdown: the handle would never close. */
  reset?(closed?: () => void): number;
  getpeername?(end: HandleEnd): number;
  getsockname?(end: HandleEnd): number;
  setNoDelay?(on: boolean): number;
  /** Newer versions of Node use all arguments, others the first two. @param delay seconds @param interval seconds */
  setKeepAlive?(on: boolean, delay: number, interval: number, count: number): number;
}

/** A socket or server of node:net, as far as its handle is concerned. */
export interface Handled {
  _handle?: Handle | null;
}

/** A listening handle. */
export interface ListeningHandle {
  /** Called with each accepted connection, or an error number. */
  onconnection?: (error: number, handle: Handle | undefined) => void;
}

/** The parts of Node's binding that using handles without a stream needs. */
export interface HandleParts {
  /** Results of the last read and the last write. */
  readonly state: Int32Array;
  /** Index in `state` of the last read's result: bytes, or an error number. */
  readonly readIndex: number;
  /** Index of a flag: the last write takes its request into use. */
  readonly asyncIndex: number;
  /** Index of the last write's error where handles create requests themselves; −1 where they do not. */
  readonly errorIndex: number;
  /** Class of write requests. */
  readonly WriteWrap: new () => HandleRequest;
  /** Class of shutdown requests. */
  readonly ShutdownWrap: new () => HandleRequest;
}

type Binding = Partial<Record<string, unknown>>;

/**
 * Calls `process.binding` without a deprecation warning, which `--throw-deprecation` turns into the end of the process.
 * @throws Error where it is denied (`--permission`) or missing
 */
function streamBinding(): Binding {
  const holder = process as unknown as {
    noDeprecation?: boolean;
    binding(name: string): Binding;
  };
  const isSet = Object.hasOwn(holder, "noDeprecation");
  const before = holder.noDeprecation;
  holder.noDeprecation = true;
  try {
    return holder.binding("stream_wrap");
  } finally {
    if (isSet) holder.noDeprecation = before as boolean;
    else delete holder.noDeprecation;
  }
}

const isIndex = (value: unknown, state: Int32Array): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < state.length;

/** Finds the parts of the binding. @throws Error naming what is missing */
export function findParts(): HandleParts {
  const binding = streamBinding();
  const need = <T>(name: string, fits: (value: unknown) => value is T): T => {
    const value = binding[name];
    if (!fits(value)) throw new Error(`${name} is missing`);
    return value;
  };
  type Wrap = new () => HandleRequest;
  const isClass = (value: unknown): value is Wrap => typeof value === "function";
  const state = need("streamBaseState", (value) => value instanceof Int32Array);
  const isOwnIndex = (value: unknown): value is number => isIndex(value, state);
  return {
    state,
    readIndex: need("kReadBytesOrError", isOwnIndex),
    asyncIndex: need("kLastWriteWasAsync", isOwnIndex),
    errorIndex: isOwnIndex(binding.kLastWriteErr) ? binding.kLastWriteErr : -1,
    WriteWrap: need("WriteWrap", isClass),
    ShutdownWrap: need("ShutdownWrap", isClass),
  };
}

const METHODS = [
  "useUserBuffer",
  "readStart",
  "readStop",
  "writeBuffer",
  "shutdown",
  "close",
] as const;
const TCP_METHODS = ["reset", "getpeername", "getsockname", "setNoDelay", "setKeepAlive"] as const;

/**
 * Returns the first method that a handle lacks; undefined when it has all. A listening handle has the class of the
 * handles that it accepts.
 */
export function lackOf(handle: object, isTcp: boolean): string | undefined {
  const names: readonly string[] = isTcp ? [...METHODS, ...TCP_METHODS] : METHODS;
  return names.find((name) => typeof (handle as Record<string, unknown>)[name] !== "function");
}

/**
 * Returns the key under which Node keeps the owner of a handle. Each handle has room for it. Where the key is missing,
 * another one serves, for more memory.
 */
export function ownerKeyOf(handle: object): symbol {
  const keys = Object.getOwnPropertySymbols(handle);
  return keys.find(({ description }) => description === "owner_symbol") ?? Symbol("owner");
}

/** Returns the error of a system call. */
export function systemError(syscall: string, errno: number): Error {
  const [code, text] = getSystemErrorMap().get(errno) ?? [
    `error ${errno}`,
    `the ${syscall} failed`,
  ];
  return Object.assign(new Error(`${syscall} ${code}: ${text}`), { code, errno, syscall });
}
