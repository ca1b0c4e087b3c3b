// The trial of Node's handles: before a thread uses them without a stream, two loopback connections show that they
// behave as handle-link.ts needs. Where one does not, or does not answer in time, sockets are used instead.
//
//   first:  bytes arrive in the given memory, with their count · a write through the descriptor, where none waits,
//           precedes the next write of the handle · a write that the kernel does not take at once completes once, with
//           success, while the client reads · a reset during such a write cancels the write, then calls back; the
//           client sees it, and no byte that was overwritten after it
//   second: the client ends its side · the server still answers · it ends its side, then closes, and calls back
//
// Invariants: the trial leaves no handle. A handle does not keep the memory that it reads into from being collected, so
// the trial does, until it ends. How handles are called is learned from calls that Node makes for the clients.

import { constants, readFileSync, writeSync } from "node:fs";
import * as net from "node:net";
import {
  CANCELLED,
  END_OF_STREAM,
  type Handle,
  type Handled,
  type HandleParts,
  type HandleRequest,
  type ListeningHandle,
  findParts,
  lackOf,
  ownerKeyOf,
} from "./handle";
import type { HandleRules } from "./handle-link";

/** Time (ms) in which the trial must end. It takes a few ms; a machine under load may need more. */
const LIMIT = 2000;
/** Bytes of one write: a whole number of periods, 256. */
const PIECE = 64256;
/** Bytes that are written through the descriptor: no whole number of periods. */
const PART = 1000;
/** Writes of which the kernel must have left one pending: 64 MiB. */
const PIECES_MAX = 1024;

/** Length after which the bytes of the pattern repeat: no divisor of a size that a kernel would use. */
const PERIOD = 251;

/** Returns memory that holds each part of a stream of pieces. */
function makePattern(): Uint8Array {
  const pattern = new Uint8Array(PIECE + PERIOD);
  for (let i = 0; i < PERIOD; i++) pattern[i] = i + 1;
  for (let n = PERIOD; n < pattern.length; n *= 2) pattern.copyWithin(n, 0, n);
  return pattern;
}

/** Returns true when a descriptor is known to be one whose writes do not wait. Linux tells. */
function isNonblocking(fd: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    const flags = /^flags:\s*([0-7]+)$/m.exec(info)?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
  } catch {
    return false;
  }
}

/** Checks a step. @throws Error */
function need(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** A connection of the trial. */
interface Pair {
  readonly client: net.Socket & Handled;
  readonly handle: Handle;
  /** Results of its reads. */
  readonly reads: number[];
  /** Results of its pending writes and shutdowns, and "closed". */
  readonly results: (number | "closed")[];
}

class Trial {
  readonly parts: HandleParts;
  readonly #server = net.createServer();
  readonly #clients: net.Socket[] = [];
  readonly #handles: Handle[] = [];
  readonly #pattern = makePattern();
  readonly #expected = this.#pattern.slice();
  /** Memory that the clients read into. */
  readonly #buffer = new Uint8Array(PIECE);
  /** Memory that the handles read into. */
  readonly #memory = new Uint8Array(PIECE);
  #wakes: (() => void) | undefined;
  /** The step that is running. */
  step = "listening";
  /** Whether Node gives its writes a request. */
  givesRequests = false;
  #sent = 0;
  /** Bytes that the first client has received, and whether one of them was wrong. */
  #received = 0;
  #isWrong = false;
  /** The first client's error. */
  #code: string | undefined;

  constructor(parts: HandleParts) {
    this.parts = parts;
  }

  /** Waits until a condition holds, looking after each event. */
  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#wakes = resolve;
      });
    }
  }

  readonly #wake = (): void => this.#wakes?.();

  /** Listens, and takes what is accepted. @returns the key of a handle's owner */
  async listen(): Promise<symbol> {
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    const handle = (server as unknown as Handled)._handle as (Handle & ListeningHandle) | null;
    need(typeof handle?.onconnection === "function", "onconnection is missing");
    const lack = lackOf(handle, true);
    need(lack === undefined, `${lack} is missing`);
    handle.onconnection = (_error, accepted) => {
      if (accepted) this.#handles.push(accepted);
      this.#wake();
    };
    return ownerKeyOf(handle);
  }

  #connect(): net.Socket & Handled {
    const { port } = this.#server.address() as net.AddressInfo;
    const buffer = this.#buffer;
    const callback = (n: number): boolean => {
      this.#look(buffer.subarray(0, n));
      return true;
    };
    const options = { port, host: "127.0.0.1", allowHalfOpen: true, onread: { buffer, callback } };
    const client: net.Socket & Handled = net.connect(options as net.TcpNetConnectOpts);
    client.on("error", ({ code }: NodeJS.ErrnoException) => {
      this.#code = code ?? "an error";
      this.#wake();
    });
    client.on("end", this.#wake);
    this.#clients.push(client);
    return client;
  }

  /** Compares what a client has received. */
  #look(bytes: Uint8Array): void {
    const at = this.#received % PERIOD;
    const expected = this.#expected.subarray(at, at + bytes.length);
    if (Buffer.compare(bytes, expected) !== 0) this.#isWrong = true;
    this.#received += bytes.length;
    this.#wake();
  }

  /** Reads from the connection that was accepted last. */
  async #begin(client: net.Socket & Handled): Promise<Pair> {
    const count = this.#clients.length;
    await this.#until(() => this.#handles.length === count || this.#code !== undefined);
    const handle = this.#handles[count - 1];
    need(handle !== undefined, "a connection was not accepted");
    const { state, readIndex } = this.parts;
    const reads: number[] = [];
    handle.onread = () => {
      reads.push(state[readIndex] as number);
      this.#wake();
    };
    // biome-ignore lint/correctness/useHookAtTopLevel: a method of Node's handles
    handle.useUserBuffer(this.#memory);
    need(handle.readStart() === 0, "reading does not start");
    return { client, handle, reads, results: [] };
  }

  /** Opens the first connection: its client writes one byte, which shows how Node writes. */
  async open(): Promise<Pair> {
    const client = this.#connect();
    const own = client._handle as Handle;
    const { writeBuffer } = own;
    let given: HandleRequest | null | undefined;
    own.writeBuffer = (request, bytes) => {
      given = request;
      return writeBuffer.call(own, request, bytes);
    };
    client.write(this.#pattern.subarray(7, 8));
    const pair = await this.#begin(client);
    await this.#until(() => pair.reads.length > 0);
    const isRead = pair.reads[0] === 1 && this.#memory[0] === this.#pattern[7];
    need(isRead, "a read does not tell its bytes");
    need(given !== undefined, "Node writes in another way");
    this.givesRequests = given !== null;
    need(given === null || given.constructor === this.parts.WriteWrap, "requests are others");
    return pair;
  }

  /**
   * Writes a part of a piece through the descriptor, and the rest in the usual way.
   * @returns false when that cannot be done; then nothing was written
   */
  tryDescriptor(pair: Pair): boolean {
    const { fd = -1 } = pair.handle;
    if (fd < 0 || !isNonblocking(fd)) return false;
    let taken: number;
    try {
      taken = writeSync(fd, this.#pattern, 0, PART, null);
    } catch {
      return false;
    }
    this.#sent += taken;
    // Were the first bytes lost, the client would receive others.
    this.#write(pair, this.#pattern.subarray(taken, PIECE));
    return true;
  }

  /** Writes until a write is pending. */
  #fill(pair: Pair): void {
    for (let i = 0; i < PIECES_MAX; i++) {
      if (this.#write(pair, this.#pattern.subarray(0, PIECE))) return;
    }
    throw new Error("no write is pending");
  }

  /** Writes bytes. @returns true when the write is pending */
  #write({ handle, results }: Pair, bytes: Uint8Array): boolean {
    const { state, asyncIndex, errorIndex, WriteWrap } = this.parts;
    const given = this.givesRequests ? new WriteWrap() : null;
    const result = handle.writeBuffer(given, bytes);
    this.#sent += bytes.length;
    const isNumber = typeof result === "number";
    need(!isNumber || result === 0, "a write fails");
    need(isNumber || given === null, "a write returns something else");
    if (isNumber && (given === null || state[asyncIndex] === 0)) return false;
    need(isNumber || state[errorIndex] === 0, "a write fails");
    const request = isNumber ? (given as HandleRequest) : result;
    need((request.writeStatus ?? null) === null, "a write is complete too early");
    request.oncomplete = (status) => {
      results.push(status);
      this.#wake();
    };
    return true;
  }

  /** Completes a pending write, by reading as little as that takes. */
  async tryWrites(pair: Pair): Promise<void> {
    const { client, results } = pair;
    this.#fill(pair);
    await this.#until(() => results.length > 0);
    client.pause();
    need(results[0] === 0 && this.#received > 0, "a pending write does not complete");
    need(!this.#isWrong, "a client received a wrong byte");
  }

  /** Resets while a write is pending, and overwrites its bytes. */
  async tryReset(pair: Pair): Promise<void> {
    const { client, handle, results } = pair;
    this.#fill(pair);
    while (handle.writeQueueSize === 0) {
      // libuv has written it at its second try. It completes in a moment.
      const count = results.length;
      await this.#until(() => results.length > count);
      this.#fill(pair);
    }
    const error = handle.reset?.(() => {
      results.push("closed");
      this.#wake();
    });
    need(error === 0, "a reset fails");
    this.#pattern.fill(0);
    client.resume();
    await this.#until(() => results.includes("closed") && this.#hasLost(client));
    const reported = results.join();
    const written = /^(?:0,)+/.exec(reported)?.[0] ?? "";
    need(reported === `${written}${CANCELLED},closed`, `a reset reports ${reported}`);
    need(!this.#isWrong && this.#received < this.#sent, "a client received bytes after a reset");
  }

  /** Returns true when a client has been reset. libuv may report it as an end; then there is no peer any more. */
  #hasLost(client: net.Socket & Handled): boolean {
    if (this.#code === "ECONNRESET") return true;
    return client.readableEnded && (client._handle?.getpeername?.({}) ?? 0) < 0;
  }

  /** Ends the client's side, answers, and ends the server's side. */
  async tryHalfClose(): Promise<void> {
    const { WriteWrap, ShutdownWrap } = this.parts;
    const client = this.#connect();
    const own = client._handle as Handle;
    const { shutdown } = own;
    let given: HandleRequest | undefined;
    own.shutdown = (request) => {
      given = request;
      return shutdown.call(own, request);
    };
    this.#code = undefined;
    this.#received = 0;
    client.end("?");
    const { handle, reads, results } = await this.#begin(client);
    await this.#until(() => reads.length > 1);
    need(reads.join() === `1,${END_OF_STREAM}`, `an end is reported as ${reads}`);
    need(given?.constructor === ShutdownWrap, "Node ends in another way");
    const answer = this.#expected.subarray(0, 3);
    need(
      handle.writeBuffer(this.givesRequests ? new WriteWrap() : null, answer) === 0,
      "no answer",
    );
    const request = new ShutdownWrap();
    request.oncomplete = (status) => {
      results.push(status);
      this.#wake();
    };
    need(handle.shutdown(request) === 0, "a shutdown fails");
    await this.#until(() => results.length > 0 && client.readableEnded);
    need(this.#received === answer.length && !this.#isWrong, "an answer after the end is lost");
    handle.close(() => {
      results.push("closed");
      this.#wake();
    });
    await this.#until(() => results.length > 1);
    need(results.join() === "0,closed", `a shutdown and a close tell ${results}`);
  }

  /** Closes everything. */
  end(): void {
    for (const client of this.#clients) client.destroy();
    // Closing a closed handle does nothing.
    for (const handle of this.#handles) handle.close();
    this.#server.close();
  }
}

async function run(trial: Trial): Promise<HandleRules> {
  const ownerKey = await trial.listen();
  trial.step = "a read";
  const pair = await trial.open();
  const writesSome = trial.tryDescriptor(pair);
  trial.step = "a pending write";
  await trial.tryWrites(pair);
  trial.step = "a reset";
  await trial.tryReset(pair);
  trial.step = "a half-close";
  await trial.tryHalfClose();
  const { parts, givesRequests } = trial;
  return { parts, givesRequests, ownerKey, writesSome };
}

/**
 * Tries Node's handles.
 * @param limit ms
 * @throws Error that says what is missing or different
 */
export async function tryHandles(limit = LIMIT): Promise<HandleRules> {
  const trial = new Trial(findParts());
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${limit} ms of ${trial.step}`)), limit);
  });
  try {
    return await Promise.race([run(trial), late]);
  } finally {
    clearTimeout(timer);
    trial.end();
  }
}
