// A pipe: the bytes of a connection that was taken out of HTTP, to and from an upstream.
//
// Invariants
//   Each byte is passed on once, in order, and each side's end after its last byte.
//   In each direction at most one write is outstanding. Meanwhile its source is not read, so a pipe holds at most the
//   bytes of one read in each direction, and the first bytes of the client until the upstream is open.
//   The engine knows of each write, so its time limits apply in both directions.
//   The upstream is closed once, at the latest when the connection's link is.
//
//   client  ── take() ──▶ #forward ── upstream.write() ──▶ upstream
//   client  ◀── link.write() ── #back ◀── received() ──── upstream
//
//   side that ends                        then
//   the client's                          the upstream's side ends after #forward
//   the upstream's                        the client's side ends after #back
//   both                                  the connection ends as Ok
//   the upstream is not reachable         the connection ends in order, as UpstreamFailed
//   the upstream resets                   the connection is reset as UpstreamReset; after the upstream's end it first
//                                         gets #back, because none of its bytes is missing
//   the client's is lost                  the upstream is reset
//   a time limit, the server's end        the upstream is reset or closed, as the engine has the link

import { CloseReason, Outcome, Param, Piping, Shut } from "../../assembly/abi";
import { concat } from "../../host/shared/text/bytes";
import type { EngineLoop } from "../engine/loop";
import type { ConnectUpstream, Upstream, UpstreamSink } from "../net/transport";
import type { Peer, PeerPipe } from "../socket/peer";

/** The part of the pump that a pipe needs. */
export interface PipeOwner {
  /** Number of the transport's calls that are running. */
  depth: number;
  readonly loop: EngineLoop<Peer>;
  setReading(peer: Peer): void;
  terminate(peer: Peer, reason: CloseReason): boolean;
}

export class Pipe implements UpstreamSink, PeerPipe {
  readonly #owner: PipeOwner;
  readonly #peer: Peer;
  /** Called when the upstream cannot be reached, or does not answer. */
  readonly #failed: (error: Error | undefined) => void;
  #upstream: Upstream | undefined;
  #isOpen = false;
  /** True when the connection, or its upstream, has been closed. */
  #isOver = false;
  /** Bytes for the upstream, and whether a write to it is outstanding. */
  #forward: Uint8Array[] = [];
  #isPouring = false;
  /** The client has ended its side; the upstream was notified of that. */
  #clientEnded = false;
  #isPassedOn = false;
  /** Bytes for the client, and whether a write to it is outstanding. */
  #back: Uint8Array[] = [];
  #isWriting = false;
  #isPaused = false;
  /** The upstream has ended its side; the client was notified of that. */
  #upstreamEnded = false;
  #isReturned = false;
  /** The upstream takes no more bytes, and has sent all of its own. */
  #isCut = false;

  /**
   * @param first bytes that the client has already sent
   * @param failed called when the upstream cannot be reached, or does not answer
   */
  constructor(
    owner: PipeOwner,
    peer: Peer,
    first: Uint8Array,
    failed: (error: Error | undefined) => void,
  ) {
    this.#owner = owner;
    this.#peer = peer;
    this.#failed = failed;
    if (first.length > 0) this.#forward.push(first);
  }

  /** Connects with the upstream. */
  connect(connect: ConnectUpstream): void {
    this.#upstream = connect(this);
  }

  /** True when no more bytes of the client can be taken for now. */
  get isFull(): boolean {
    // mutant pipe-full: return this.#isPouring;
    return !this.#isOpen || this.#isPouring || this.#forward.length > 0;
  }

  /** Bytes that are held, in each direction. */
  get held(): { readonly forward: number; readonly back: number } {
    const sum = (parts: readonly Uint8Array[]): number =>
      parts.reduce((total, { length }) => total + length, 0);
    return { forward: sum(this.#forward), back: sum(this.#back) };
  }

  // ---- from the client ---------------------------------------------------------------------------------

  /** Takes bytes of the client. They belong to the pipe. */
  take(bytes: Uint8Array): void {
    // Bytes that the upstream cannot take are dropped, while the client receives the last ones for it.
    if (this.#isCut) return;
    // mutant pipe-order (pipe): this.#forward.unshift(bytes);
    this.#forward.push(bytes);
    this.#push();
  }

  /** Notes that the client has ended its side. */
  endClient(): void {
    this.#clientEnded = true;
    this.#push();
  }

  /** True when both sides of the client's link have ended in order, so that the link is closed. */
  get isClosing(): boolean {
    return this.#clientEnded && this.#isReturned;
  }

  /** Passes the client's bytes, and its end, on to the upstream. */
  #push(): void {
    const upstream = this.#upstream;
    if (!upstream || !this.#isOpen || this.#isPouring || this.#isOver) return;
    if (this.#forward.length > 0) {
      const bytes = concat(this.#forward);
      this.#forward = [];
      if (!upstream.write(bytes)) {
        this.#isPouring = true;
        this.#owner.loop.piping(this.#peer, Piping.Waits);
      }
    }
    // mutant pipe-end (pipe): if (this.#clientEnded && !this.#isPassedOn) {
    if (this.#clientEnded && !this.#isPouring && !this.#isPassedOn) {
      this.#isPassedOn = true;
      if (!this.#isCut) upstream.end();
    }
    this.#owner.setReading(this.#peer);
    this.#settle();
  }

  // ---- to the client -----------------------------------------------------------------------------------

  /** Notes that the outstanding write to the client is complete. */
  wrote(): void {
    this.#isWriting = false;
    this.#pull();
  }

  /** Notes that there is room for the client's bytes, after the responses before them. */
  drain(): void {
    this.#pull();
  }

  /** Passes the upstream's bytes, and its end, on to the client. */
  #pull(): void {
    if (this.#isOver) return;
    const { loop } = this.#owner;
    const peer = this.#peer;
    const limit = loop.engine.param(Param.RunBytes);
    while (!this.#isWriting && this.#back.length > 0) {
      const first = this.#back[0] as Uint8Array;
      const piece = first.subarray(0, limit);
      if (loop.pour(peer, piece.length) !== Outcome.Ok) break;
      // mutant pipe-rest: if (piece.length <= first.length) this.#back.shift();
      if (piece.length === first.length) this.#back.shift();
      else this.#back[0] = first.subarray(piece.length);
      if (peer.link.write(piece)) loop.done(peer);
      else this.#isWriting = true;
    }
    const isDone = this.#back.length === 0 && !this.#isWriting;
    // mutant pipe-flood: ;
    this.#setPaused(!isDone);
    if (isDone && this.#upstreamEnded && !this.#isReturned) {
      this.#isReturned = true;
      peer.link.end();
    }
    this.#settle();
  }

  #setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused || this.#upstreamEnded) return;
    this.#isPaused = isPaused;
    if (isPaused) this.#upstream?.pause();
    else this.#upstream?.resume();
  }

  // ---- from the upstream -------------------------------------------------------------------------------

  opened(): void {
    if (this.#isOver) return;
    this.#owner.depth++;
    this.#isOpen = true;
    this.#owner.loop.piping(this.#peer, Piping.Opened);
    this.#push();
    this.#owner.depth--;
  }

  received(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#owner.depth++;
    this.#back.push(bytes);
    this.#pull();
    this.#owner.depth--;
  }

  written(): void {
    if (this.#isOver) return;
    this.#owner.depth++;
    this.#isPouring = false;
    this.#owner.loop.piping(this.#peer, Piping.Moved);
    this.#push();
    this.#owner.depth--;
  }

  ended(): void {
    if (this.#isOver) return;
    this.#owner.depth++;
    this.#upstreamEnded = true;
    this.#pull();
    this.#owner.depth--;
  }

  lost(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#owner.depth++;
    if (!this.#isOpen) {
      this.#failed(error);
      this.#finish(CloseReason.UpstreamFailed);
    } else if (!this.#upstreamEnded) {
      this.#owner.terminate(this.#peer, CloseReason.UpstreamReset);
    } else if (!this.#isPassedOn || this.#isPouring) {
      this.#isCut = true;
      this.#isPouring = false;
      this.#forward = [];
      this.#owner.loop.piping(this.#peer, Piping.Moved);
      this.#push();
    }
    this.#owner.depth--;
  }

  // ---- ends --------------------------------------------------------------------------------------------

  /** Ends the connection when all bytes and both ends have been passed on. */
  #settle(): void {
    // mutant pipe-settle: if (this.#isOver || (!this.#isReturned && !this.#isPassedOn)) return;
    if (this.#isOver || !this.#isReturned || this.#isWriting) return;
    if (this.#isCut) this.#finish(CloseReason.UpstreamReset);
    else if (this.#isPassedOn && !this.#isPouring) this.#finish(CloseReason.Ok);
  }

  /** Ends the connection in order, after the outstanding write. Further bytes of the client are dropped. */
  #finish(reason: CloseReason): void {
    const peer = this.#peer;
    this.close(Shut.Destroy, reason);
    peer.pipe = undefined;
    peer.unparsed = 0;
    this.#owner.loop.finish(peer, reason);
    this.#owner.setReading(peer);
  }

  /** Closes the upstream, because the connection ends. */
  close(how: Shut, reason: CloseReason): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#forward = [];
    this.#back = [];
    if (reason === CloseReason.UpstreamTimeout) this.#failed(undefined);
    // A client that is lost has not ended its side, and the upstream must not take its bytes for all.
    const isLost = reason === CloseReason.PeerReset || reason === CloseReason.NetworkError;
    if (how === Shut.Reset || isLost) this.#upstream?.reset();
    else this.#upstream?.destroy();
  }
}
