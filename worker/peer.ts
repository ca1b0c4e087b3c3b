// One connection as the pump keeps it: its slot, its link, its handler's side.

import { CloseReason, SLOT_LIMIT } from "../assembly/abi";
import type { Connection } from "../host/handler";
import type { Link, Sink } from "./net";
import type { ResponseImpl } from "./request";
import type { Pump } from "./server";
import type { WebSocketImpl } from "./socket";
import type { Upload } from "./upload";

/** One connection, from accept to free. Moves from an HTTP slot to a WebSocket slot when it is upgraded. */
export class Peer implements Sink, Connection {
  slot: number;
  generation: number;
  readonly link: Link;
  readonly #pump: Pump;
  response: ResponseImpl | undefined;
  /** The body of its request, while it is streamed and not at its end. */
  upload: Upload | undefined;
  ws: WebSocketImpl | undefined;
  /** Bodies the host holds for this connection's answers, by number. */
  bodies: Map<number, Uint8Array> | undefined;
  /** Bytes the engine has not taken in: they wait for a buffer. */
  rest: Uint8Array | undefined;
  /** Reasons why nothing is read: the user's pause, an unanswered request or a pending open, a buffer. */
  paused = false;
  held = false;
  /** Bytes that wait to be parsed. */
  unparsed = 0;
  reading = true;
  closing = false;
  /** A Close frame's reason text. */
  closeText = "";
  /** Window of what is compressed for this client; 0: nothing is. */
  windowBits = 0;
  dead = false;

  constructor(pump: Pump, link: Link, slot: number, generation: number) {
    this.#pump = pump;
    this.link = link;
    this.slot = slot;
    this.generation = generation;
  }

  get id(): number {
    return this.generation * SLOT_LIMIT + this.slot;
  }

  get remoteAddress(): string {
    return this.link.remoteAddress;
  }

  read(n: number): void {
    if (!this.dead) this.#pump.read(this, n);
  }

  written(): void {
    if (!this.dead) this.#pump.written(this);
  }

  ended(): void {
    if (!this.dead) this.#pump.peerEnded(this);
  }

  lost(_error: Error | undefined): void {
    if (!this.dead) this.#pump.terminate(this, CloseReason.PeerReset);
  }
}
