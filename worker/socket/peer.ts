// One connection as the pump keeps it: its slot, its link, and the state of its handler.

import { CloseReason, SLOT_LIMIT } from "../../assembly/abi";
import type { Connection, WebSocket } from "../../host/handler";
import type { Ordered } from "../../host/shared/order";
import type { LoopConnection } from "../engine/loop";
import { lossOf } from "../net/loss";
import type { Link, Sink } from "../net/transport";

/** The part of the pump that a connection's link needs. */
export interface PeerOwner {
  /** Number of the transport's calls that are running. */
  depth: number;
  read(peer: Peer, n: number): void;
  written(peer: Peer): void;
  peerEnded(peer: Peer): void;
  secured(peer: Peer): void;
  terminate(peer: Peer, reason: CloseReason): boolean;
}

/** The response to the pending request. */
export interface PeerResponse {
  readonly request: { detach(): void };
  /** Reports that the client has gone, or that the response breaks off. */
  lose(): void;
  /** Reports that there is room in the client's queue again. */
  wake(): void;
  /** Reports that the client ended its side. */
  clientEnded(): void;
}

/** The streamed body of the pending request. */
export interface PeerUpload {
  /** True when the reader has too many bytes to take. The socket is not read then. */
  readonly full: boolean;
  push(piece: Uint8Array): void;
  end(): void;
  fail(reason: CloseReason): void;
}

/** Reasons for which the worker keeps a connection from being parsed: bits of `Peer.held`. */
export enum Hold {
  /** `open` has not settled. */
  Open = 1,
  /** The handler of a message has not settled. */
  Order = 2,
  /** The application has the largest allowed number of bytes of all WebSockets. */
  Flow = 4,
  /** It has used its share of this turn. It is not read either. */
  Turn = 8,
  /** Its end waits until its messages have been handled. */
  End = 16,
  /** The application has the largest allowed number of bytes of this WebSocket. */
  Lane = 32,
}

/** One connection, from accept to free. It moves from an HTTP slot to a WebSocket slot when it is upgraded. */
export class Peer implements LoopConnection, Ordered, Sink, Connection {
  static readonly name = "Connection";
  slot: number;
  generation: number;
  readonly link: Link;
  readonly #pump: PeerOwner;
  response: PeerResponse | undefined;
  /** The streamed body of its request, until its end. */
  upload: PeerUpload | undefined;
  ws: WebSocket | undefined;
  /** Bodies of this connection's responses outside of the engine, by number. */
  bodies: Map<number, Uint8Array> | undefined;
  /** Bytes that the engine has not consumed, because they wait for a buffer. */
  rest: Uint8Array | undefined;
  /** Reasons why nothing is parsed: a pause by user code, and the worker's own (bits of `Hold`). */
  paused = false;
  held = 0;
  /** Continues without waiting for a handler of a message that has not settled; undefined: there is none. */
  skip: (() => void) | undefined;
  /** Called when that handler has settled, because the connection has ended meanwhile. */
  atEnd: (() => void) | undefined;
  /** Number of bytes that are not parsed yet. */
  unparsed = 0;
  reading = true;
  /** True when it has more to read, and waits for other connections' turns. */
  yields = false;
  closing = false;
  /**
   * Reason for which the connection ends, after a message that could not be inflated or handled. Later messages are
   * dropped.
   */
  refused: CloseReason | undefined;
  /** True when its messages are handled on another thread. */
  relayed = false;
  /** Reason text of the client's Close frame. */
  closeText = "";
  /** Limit (bytes) of a message from this client. */
  payloadBytes = 0;
  /** Window size of compressed messages to this client; 0: none are compressed. */
  windowBits = 0;
  dead = false;
  /** Address of the peer that connected. */
  peerAddress: string;
  /** Address of the client: `peerAddress`, or for a WebSocket through a trusted proxy that of the proxy's client. */
  remoteAddress: string;
  /** True when the peer is a proxy whose forwarding fields are trusted. */
  forwards = false;
  /** True while the PROXY header has not arrived; true while TLS is not established. */
  isProxied = false;
  isUnsecured = false;
  /** True when the handler has been notified of the connection. */
  isReported = false;
  /** Time (ms) at which it was accepted, by the engine's clock. */
  readonly since: number;

  constructor(pump: PeerOwner, link: Link, slot: number, generation: number, since: number) {
    this.#pump = pump;
    this.link = link;
    this.slot = slot;
    this.generation = generation;
    this.since = since;
    this.peerAddress = link.remoteAddress;
    this.remoteAddress = link.remoteAddress;
  }

  /** True when its bytes are not parsed now. */
  get isHeld(): boolean {
    return this.paused || this.held !== 0;
  }

  /** True when its request is pending, or it is held. */
  get isOut(): boolean {
    // mutant http-keep: return this.isHeld;
    return this.response !== undefined || this.isHeld;
  }

  get id(): number {
    return this.generation * SLOT_LIMIT + this.slot;
  }

  read(n: number): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.read(this, n);
    pump.depth--;
  }

  written(): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.written(this);
    pump.depth--;
  }

  ended(): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.peerEnded(this);
    pump.depth--;
  }

  secured(): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.secured(this);
    pump.depth--;
  }

  lost(error: Error | undefined, why?: "handshake"): void {
    if (this.dead) return;
    const isHandshake = why === "handshake" || this.isUnsecured;
    const reason = isHandshake ? CloseReason.TlsFailed : lossOf(error);
    const pump = this.#pump;
    pump.depth++;
    pump.terminate(this, reason);
    pump.depth--;
  }
}
