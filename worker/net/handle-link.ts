// Connections over Node's handles, without the stream that Node puts around each (`net.Socket`): TCP and Unix sockets
// on Node itself, where handle-trial.ts has found that handles behave as this file needs. An idle connection holds one
// small object besides its handle: no listener, no closure, no timer.
//
// Invariants
//   A handle that is open is the `#handle` of one link, and it is closed exactly once, whichever way the connection
//   ends, because nothing else collects it.
//   For a write that was not complete on return, `written` is called exactly once, unless the link ends. The bytes are
//   not read any more when `destroy` or `reset` returns, because all writing is done by calls from this thread.
//   A loss is reported once. It is never reported within a call of the pump, which may be writing rows.
//   A shutdown begins when no write is outstanding. While it is under way the handle is closed and never reset, because
//   Node's handles leak otherwise.
//
//     report of Node                                  reaction of the link
//     a read of n bytes                               read(n)
//     the end of the stream                           ended(); lost() if the peer has reset, which the end may hide
//     the same, or a shutdown, when both are done     closes, lost()
//     an error of a read, or of a pending write       closes, lost(); the other error of the two is ignored
//     an error of a write on return                   closes, lost() in a moment
//     a cancelled write, after a close                nothing

import { writeSync } from "node:fs";
import {
  CANCELLED,
  END_OF_STREAM,
  type Handle,
  type HandleParts,
  type HandleRequest,
  NOT_CONNECTED,
  RESET,
  systemError,
} from "./handle";
import type { Ends } from "./queues";
import type { Link, Sink } from "./transport";

/** The rules that handle-trial.ts has learned in this thread. */
export interface HandleRules {
  readonly parts: HandleParts;
  /** Whether a write is given a request. Otherwise handles create one when it is needed (Node 26). */
  readonly givesRequests: boolean;
  /** The key under which a handle refers to its link. */
  readonly ownerKey: symbol;
  /** Whether writes through the descriptor report how many bytes the kernel has accepted, and never wait. */
  readonly writesSome: boolean;
}

/** Bits of a link's state. */
enum State {
  Reading = 1,
  /** A write is outstanding. */
  Writing = 2,
  /** This side ends after the outstanding write. */
  Ending = 4,
  /** A shutdown is under way. */
  Shutting = 8,
  /** This side has ended. */
  Shut = 16,
  /** The peer's side has ended. */
  Ended = 32,
  /** The address is an IPv4 address in IPv6 notation. */
  Mapped = 64,
  /** `pause` was called before the link began to read. */
  Paused = 128,
}

const MAPPED = "::ffff:";

/** Packs an IPv4 address into 32 bits. @returns undefined when it is not one */
function pack(address: string): number | undefined {
  let packed = 0;
  let octet = 0;
  let dots = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === 46) {
      packed = (packed << 8) | octet;
      octet = 0;
      dots++;
    } else if (code >= 48 && code <= 57) {
      octet = octet * 10 + code - 48;
    } else {
      return undefined;
    }
  }
  return dots === 3 ? (packed << 8) | octet : undefined;
}

/** Receives addresses, one after the other. */
const found: { address?: string } = {};
/** Number of unpacked addresses that are kept, a power of two. Each request of a connection asks for its address. */
const TEXTS = 1024;
/** Addresses, and their texts, at places that their bits choose. */
const packedAt = new Int32Array(TEXTS);
const textAt: string[] = new Array(TEXTS).fill("0.0.0.0");
/** Multiplier that spreads the bits of an address (Knuth). */
const SPREAD = 0x9e3779b1;

function unpack(packed: number): string {
  const at = Math.imul(packed, SPREAD) >>> 22;
  if (packedAt[at] !== packed) {
    packedAt[at] = packed;
    textAt[at] =
      `${packed >>> 24}.${(packed >>> 16) & 255}.${(packed >>> 8) & 255}.${packed & 255}`;
  }
  return textAt[at] as string;
}

/** The thread's rules. They are set before there is a link. */
let rules: HandleRules;
/** Request for the next write. A write that is complete on return leaves it unused. */
let spare: HandleRequest | null = null;

/** Sets what was learned about handles. Each thread learns it once. */
export function setRules(learned: HandleRules): void {
  rules = learned;
  spare = learned.givesRequests ? new learned.parts.WriteWrap() : null;
}

interface Owned {
  [key: symbol]: HandleLink | undefined;
}

function onread(this: Handle): void {
  const { state, readIndex } = rules.parts;
  (this as unknown as Owned)[rules.ownerKey]?.completeRead(state[readIndex] as number);
}

function onWritten(this: HandleRequest, status: number): void {
  const link = this.link as HandleLink;
  this.link = undefined;
  this.buffer = undefined;
  link.completeWrite(status);
}

function onShut(this: HandleRequest): void {
  const link = this.link as HandleLink;
  this.link = undefined;
  link.completeShutdown();
}

function report(link: HandleLink, error: Error): void {
  link.lose(error);
}

export class HandleLink implements Link {
  /** The handle; undefined once it is being closed. */
  #handle: Handle | undefined;
  #sink: Sink | undefined;
  /** The peer's address, an IPv4 address as a number. */
  readonly #address: number | string;
  /** Bits of `State`. */
  #state = 0;

  /** @param handle of a connection that was accepted, here or in another thread */
  constructor(handle: Handle) {
    this.#handle = handle;
    found.address = "";
    // After a reset there is no address.
    const text = (handle.getpeername?.(found) ?? 0) === 0 ? (found.address ?? "") : "";
    const isMapped = text.startsWith(MAPPED);
    const packed = pack(isMapped ? text.slice(MAPPED.length) : text);
    this.#address = packed ?? text;
    if (isMapped && packed !== undefined) this.#state = State.Mapped;
  }

  /** Node runs the microtasks after each callback of a handle, and reads before it. */
  get readsApart(): true {
    return true;
  }

  get remoteAddress(): string {
    const address = this.#address;
    if (typeof address === "string") return address;
    const text = unpack(address);
    return this.#is(State.Mapped) ? MAPPED + text : text;
  }

  /** Both ends of the connection; undefined on a Unix socket, and after the end. */
  get ends(): Ends | undefined {
    const handle = this.#handle;
    const local: Ends & { address?: string; port?: number } = {};
    const remote: { address?: string; port?: number } = {};
    if (!handle?.getsockname || !handle.getpeername) return undefined;
    if (handle.getsockname(local) !== 0 || handle.getpeername(remote) !== 0) return undefined;
    return {
      localAddress: local.address,
      localPort: local.port,
      remoteAddress: remote.address,
      remotePort: remote.port,
    };
  }

  #is(bit: State): boolean {
    return (this.#state & bit) !== 0;
  }

  /** Begins to read. @param window memory that is read into, of the engine, which its sink holds */
  begin(sink: Sink, window: Uint8Array): void {
    const handle = this.#handle;
    // It has been closed by the pump.
    if (!handle) return;
    this.#sink = sink;
    (handle as unknown as Owned)[rules.ownerKey] = this;
    handle.onread = onread;
    // biome-ignore lint/correctness/useHookAtTopLevel: a method of Node's handles
    handle.useUserBuffer(window);
    if (!this.#is(State.Paused)) this.resume();
  }

  // ---- what the pump asks for --------------------------------------------------------------------------

  write(view: Uint8Array): boolean {
    const handle = this.#handle;
    // The loss is being reported.
    if (!handle) return false;
    const result = handle.writeBuffer(spare, view);
    if (result === 0 && (spare === null || rules.parts.state[rules.parts.asyncIndex] === 0))
      return true;
    if (typeof result === "number" && result !== 0) {
      // A request is not used again after an error.
      if (spare) spare = new rules.parts.WriteWrap();
      this.#failLater("write", result);
      return false;
    }
    return this.#await(result === 0 ? (spare as HandleRequest) : (result as HandleRequest), view);
  }

  /**
   * Writes through the descriptor, because a handle does not tell how much of a pending write the kernel has accepted,
   * and holds all of its memory. An error is left to the next `write`, which reports it.
   */
  writeSome(view: Uint8Array): number | undefined {
    const fd = this.#handle?.fd ?? -1;
    if (fd < 0 || !rules.writesSome || this.#is(State.Writing)) return undefined;
    try {
      return writeSync(fd, view, 0, view.length, null);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EAGAIN" ? 0 : undefined;
    }
  }

  /** Waits for the bytes that the kernel has not accepted. @returns true when the write has completed by now */
  #await(request: HandleRequest, view: Uint8Array): boolean {
    const { WriteWrap, state, errorIndex } = rules.parts;
    if (spare) spare = new WriteWrap();
    const error = spare ? 0 : (state[errorIndex] ?? 0);
    const status = error === 0 ? (request.writeStatus ?? 1) : error;
    if (status === 0) return true;
    if (status < 0) {
      this.#failLater("write", status);
      return false;
    }
    request.buffer = view;
    request.link = this;
    request.oncomplete = onWritten;
    this.#state |= State.Writing;
    return false;
  }

  end(): void {
    if (!this.#handle || this.#is(State.Ending)) return;
    this.#state |= State.Ending;
    if (!this.#is(State.Writing)) this.#shutDown(this.#handle);
  }

  #shutDown(handle: Handle): void {
    const request = new rules.parts.ShutdownWrap();
    request.link = this;
    request.oncomplete = onShut;
    const error = handle.shutdown(request);
    if (error === 0) this.#state |= State.Shutting;
    // The connection has gone, which a read reports.
    else if (error === NOT_CONNECTED) this.#state |= State.Shut;
    else this.#failLater("shutdown", error);
  }

  pause(): void {
    this.#state = (this.#state | State.Paused) & ~State.Reading;
    // An error of it would mean that the handle does not read.
    this.#handle?.readStop();
  }

  resume(): void {
    const handle = this.#handle;
    this.#state &= ~State.Paused;
    if (!handle || this.#is(State.Reading) || this.#is(State.Ended)) return;
    this.#state |= State.Reading;
    const error = handle.readStart();
    if (error !== 0) this.#failLater("read", error);
  }

  destroy(): void {
    this.#sink = undefined;
    this.#close();
  }

  reset(): void {
    this.#sink = undefined;
    const handle = this.#handle;
    // A Unix socket has no reset.
    if (!handle?.reset || this.#is(State.Shutting)) {
      this.#close();
      return;
    }
    this.#handle = undefined;
    handle.reset();
  }

  #close(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    handle?.close();
  }

  // ---- what the handle reports -------------------------------------------------------------------------

  /** @param n bytes, or an error number */
  completeRead(n: number): void {
    if (n > 0) this.#sink?.read(n);
    else if (n === END_OF_STREAM) this.#endPeer();
    else if (n < 0) this.lose(systemError("read", n));
  }

  /**
   * libuv also reports a reset that arrives right after bytes as the end of the stream; then the connection has no
   * peer. It has no peer either when both of its sides have ended in order.
   */
  #endPeer(): void {
    const handle = this.#handle;
    if (!handle) return;
    this.#state = (this.#state | State.Ended) & ~State.Reading;
    const error = this.#is(State.Ending) ? 0 : (handle.getpeername?.(found) ?? 0);
    if (error < 0) {
      this.lose(systemError("read", RESET));
      return;
    }
    this.#sink?.ended();
    if (this.#is(State.Shut)) this.lose(undefined);
  }

  completeWrite(status: number): void {
    this.#state &= ~State.Writing;
    if (status < 0) {
      if (status !== CANCELLED) this.lose(systemError("write", status));
      return;
    }
    this.#sink?.written();
    const handle = this.#handle;
    if (handle && this.#is(State.Ending) && !this.#is(State.Writing)) this.#shutDown(handle);
  }

  completeShutdown(): void {
    this.#state = (this.#state & ~State.Shutting) | State.Shut;
    if (this.#is(State.Ended)) this.lose(undefined);
  }

  /** Closes, and reports the loss unless the pump knows of the end. */
  lose(error: Error | undefined): void {
    const sink = this.#sink;
    this.#sink = undefined;
    this.#close();
    sink?.lost(error);
  }

  /** Closes now, and reports the loss once the pump's call has ended. */
  #failLater(syscall: string, errno: number): void {
    this.#close();
    process.nextTick(report, this, systemError(syscall, errno));
  }
}
