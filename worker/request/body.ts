// The streamed body of a request, on the worker's side: pieces as they arrived, for one reader.
//
// Invariant: at most one receive window of bytes that the reader has not taken is held, plus one read. Beyond it the
// socket is not read until the reader has taken some. Pieces are delivered in order, then the end, or the error that
// broke the body off.

import { CloseReason } from "../../assembly/abi";
import { CLOSE_TABLE, reasonName } from "../../host/shared/close";
import type { Peer, PeerUpload } from "../socket/peer";

/** The part of the pump that the reader of a body needs. */
export interface UploadOwner {
  readonly engine: { readonly windowBytes: number };
  /** Notes that a piece was taken, so the connection may be read again. */
  readOn(peer: Peer): void;
  /** Notes that the reader waits for a piece. */
  pullBody(peer: Peer): void;
}

/** Bytes that each piece counts at least, so that many small pieces cost no more memory than few large ones. */
const LEAST = 1024;

/** A body that broke off. `cause` is the name of the reason, such as "PeerEnded" or "BadChunk". */
export class BodyError extends Error {
  override readonly name = "BodyError";
  override readonly cause: string;

  constructor(reason: CloseReason) {
    const cause = reasonName(reason);
    const text =
      reason === CloseReason.Ok
        ? "the request has been answered, so the rest of its body is not read"
        : CLOSE_TABLE[cause].text;
    super(`the request's body is incomplete: ${text}`);
    this.cause = cause;
  }
}

interface Waiter {
  readonly resolve: (result: IteratorResult<Uint8Array>) => void;
  readonly reject: (error: BodyError) => void;
}

function ignore(): void {}

const DONE: IteratorResult<Uint8Array> = { done: true, value: undefined };

export class Upload implements AsyncIterableIterator<Uint8Array>, PeerUpload {
  readonly #pump: UploadOwner;
  readonly #peer: Peer;
  #pieces: Uint8Array[] = [];
  /** Bytes that the held pieces count. */
  #held = 0;
  #waiters: Waiter[] = [];
  /** State of the body. "left": the reader takes no more. */
  #state: "open" | "whole" | "left" | BodyError = "open";

  constructor(pump: UploadOwner, peer: Peer) {
    this.#pump = pump;
    this.#peer = peer;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** True when no more may be read from the socket for now. */
  get full(): boolean {
    return this.#state === "left" || this.#held >= this.#pump.engine.windowBytes;
  }

  // The pump's side.

  push(piece: Uint8Array): void {
    if (this.#state !== "open") return;
    const waiter = this.#waiters.shift();
    if (waiter) {
      waiter.resolve({ done: false, value: piece });
      return;
    }
    this.#pieces.push(piece);
    this.#held += Math.max(piece.length, LEAST);
  }

  /** Ends the body, which is complete. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "whole";
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(DONE);
  }

  /** Ends the body, because no more of it arrives. */
  fail(reason: CloseReason): void {
    if (this.#state !== "open") return;
    const error = new BodyError(reason);
    this.#state = error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  // The reader's side.

  next(): Promise<IteratorResult<Uint8Array>> {
    const piece = this.#pieces.shift();
    if (piece) {
      // mutant upload-full: ;
      this.#held -= Math.max(piece.length, LEAST);
      this.#pump.readOn(this.#peer);
      return Promise.resolve({ done: false, value: piece });
    }
    const state = this.#state;
    if (state !== "open" && !(state instanceof BodyError)) return Promise.resolve(DONE);
    const next = new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      if (state instanceof BodyError) {
        reject(state);
        return;
      }
      this.#waiters.push({ resolve, reject });
      this.#pump.pullBody(this.#peer);
    });
    // The reader may wait for something else meanwhile. It gets the error when it awaits this promise.
    next.catch(ignore);
    return next;
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    if (this.#state === "open") this.#state = "left";
    this.#pieces = [];
    this.#held = 0;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(DONE);
    this.#pump.readOn(this.#peer);
    return Promise.resolve(DONE);
  }
}
