// One connection as the pump keeps it: its slot, its link, its handler's side.

import { CloseReason, Control, SLOT_LIMIT } from "../../assembly/abi";
import type { Connection } from "../../host/handler";
import type { Link, Sink } from "../net/transport";
import type { ResponseImpl } from "../request/request";
import type { Pump } from "./pump";
import type { WebSocketImpl } from "../socket/socket";
import type { Upload } from "../request/body";

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
export class Peer implements Sink, Connection {
  static readonly name = "Connection";
  slot: number;
  generation: number;
  readonly link: Link;
  readonly #pump: Pump;
  response: ResponseImpl | undefined;
  /** The body of its request, while it is streamed and not at its end. */
  upload: Upload | undefined;
  ws: WebSocketImpl | undefined;
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

  constructor(pump: Pump, link: Link, slot: number, generation: number) {
    this.#pump = pump;
    this.link = link;
    this.slot = slot;
    this.generation = generation;
    this.since = pump.engine.get(Control.Now);
    this.peerAddress = link.remoteAddress;
    this.remoteAddress = link.remoteAddress;
  }

  /** Nothing of it is parsed now. */
  get isHeld(): boolean {
    return this.paused || this.held !== 0;
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
