// One connection as the pump keeps it: its slot, its link, its handler's side.

import { CloseReason, SLOT_LIMIT } from "../../assembly/abi";
import type { Connection, WebSocket } from "../../host/handler";
import type { Ordered } from "../../host/shared/order";
import type { LoopConnection } from "../engine/loop";
import type { Link, Sink } from "../net/transport";

/** What the pump takes from a connection's link. */
export interface PeerOwner {
  /** Calls of the transport that are running. */
  depth: number;
  read(peer: Peer, n: number): void;
  written(peer: Peer): void;
  peerEnded(peer: Peer): void;
  secured(peer: Peer): void;
  terminate(peer: Peer, reason: CloseReason): boolean;
}

/** The answer to the request that is out. */
export interface PeerResponse {
  readonly request: { detach(): void };
  /** The client has gone, or the answer breaks off. */
  lose(): void;
  /** There is room in the client's queue again. */
  wake(): void;
  /** The client ended its side. */
  clientEnded(): void;
}

/** The body of the request that is out, while it is streamed. */
export interface PeerUpload {
  /** The reader has not taken what it was given: the socket is not read. */
  readonly full: boolean;
  push(piece: Uint8Array): void;
  end(): void;
  fail(reason: CloseReason): void;
}

/** Why the host keeps a connection from being parsed: bits of `Peer.held`. */
export enum Hold {
  /** `open` has not settled. */
  Open = 1,
  /** The handler of a message has not settled. */
  Order = 2,
  /** The application has as many bytes of all WebSockets as it may. */
  Flow = 4,
  /** It has taken its share of this turn: it is not read either. */
  Turn = 8,
  /** What ends it waits for the answers to its messages. */
  End = 16,
  /** The application has as many bytes of this WebSocket as it may. */
  Lane = 32,
}

/** One connection, from accept to free. Moves from an HTTP slot to a WebSocket slot when it is upgraded. */
export class Peer implements LoopConnection, Ordered, Sink, Connection {
  static readonly name = "Connection";
  slot: number;
  generation: number;
  readonly link: Link;
  readonly #pump: PeerOwner;
  response: PeerResponse | undefined;
  /** The body of its request, while it is streamed and not at its end. */
  upload: PeerUpload | undefined;
  ws: WebSocket | undefined;
  /** Bodies of this connection's answers that lie outside the engine, by number. */
  bodies: Map<number, Uint8Array> | undefined;
  /** Bytes the engine has not taken in: they wait for a buffer. */
  rest: Uint8Array | undefined;
  /** Reasons why nothing is parsed: the user's pause, the host's own (bits of `Hold`). */
  paused = false;
  held = 0;
  /** Goes on without waiting for the handler of a message that has not settled; undefined: there is none. */
  skip: (() => void) | undefined;
  /** Carried out when that handler has settled: the connection has ended meanwhile. */
  atEnd: (() => void) | undefined;
  /** Bytes that wait to be parsed. */
  unparsed = 0;
  reading = true;
  /** It has more to read, and waits for the others. */
  yields = false;
  closing = false;
  /** A message that could not be inflated, or handled, ends it: what came behind is not looked at. */
  refused: CloseReason | undefined;
  /** Its messages are handled on another thread. */
  relayed = false;
  /** A Close frame's reason text. */
  closeText = "";
  /** Bytes of a message from this client. */
  payloadBytes = 0;
  /** Window of what is compressed for this client; 0: nothing is. */
  windowBits = 0;
  dead = false;
  /** Who connected. */
  peerAddress: string;
  /** The same; of a WebSocket that came through a trusted proxy, its client. */
  remoteAddress: string;
  /** Whoever connected is trusted to tell whom it passes requests on for. */
  forwards = false;
  /** Its PROXY header has not come; its TLS is not established. */
  isProxied = false;
  isUnsecured = false;
  /** The handler has been told of it. */
  isTold = false;
  /** When it was accepted, by the engine's clock. */
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

  /** Nothing of it is parsed now. */
  get isHeld(): boolean {
    return this.paused || this.held !== 0;
  }

  /** Its request is out, or its messages wait. */
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

  lost(_error: Error | undefined, why?: "handshake"): void {
    const isHandshake = why === "handshake" || this.isUnsecured;
    const reason = isHandshake ? CloseReason.TlsFailed : CloseReason.PeerReset;
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.terminate(this, reason);
    pump.depth--;
  }
}
