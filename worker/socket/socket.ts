// A WebSocket as the handler sees it.

import { CloseReason, Param } from "../../assembly/abi";
import { checkClose } from "../../host/shared/close";
import { pingOf } from "../../host/shared/message/data";
import { checkSend } from "../../host/shared/message/flags";
import { stream } from "../../host/shared/message/stream";
import type { Data, SendOptions, StreamGap, WebSocket } from "../../host/handler";
import type { Engine } from "../engine/engine";
import type { Outgoing } from "./outgoing";
import type { Peer } from "./peer";
import type { Topics } from "./topics";

/** The part of the pump that a WebSocket needs. */
export interface SocketOwner {
  readonly engine: Engine;
  readonly outgoing: Outgoing;
  readonly topics: Topics;
  readonly messages: { fail(peer: Peer, where: string, thrown: unknown): void };
  terminate(peer: Peer, reason: CloseReason): boolean;
  pausePeer(peer: Peer, paused: boolean): void;
}

export class WebSocketImpl implements WebSocket {
  static readonly name = "WebSocket";
  readonly id: number;
  readonly protocol: string;
  data: unknown;
  readonly #pump: SocketOwner;
  readonly #peer: Peer;

  constructor(pump: SocketOwner, peer: Peer, protocol: string, data: unknown) {
    this.#pump = pump;
    this.#peer = peer;
    this.id = peer.id;
    this.protocol = protocol;
    this.data = data;
  }

  get kind(): "websocket" | "events" {
    return this.#peer.isStream ? "events" : "websocket";
  }

  get resumed(): boolean {
    return this.#peer.greeting.resumed;
  }

  get gap(): StreamGap | undefined {
    return this.#peer.greeting.gap;
  }

  get remoteAddress(): string {
    return this.#peer.remoteAddress;
  }

  get open(): boolean {
    const peer = this.#peer;
    return peer.ws === this && !peer.closing && !this.#pump.engine.isClosing(peer.slot);
  }

  get lag(): { bytes: number; frames: number; queued: number } {
    return this.#pump.outgoing.lagOf(this.#peer);
  }

  send(data: Data, options?: SendOptions): boolean {
    return this.#pump.outgoing.sendTo(this.open ? this.#peer : undefined, data, options);
  }

  ready(): Promise<void> {
    const peer = this.#peer;
    if (!this.open || this.#pump.outgoing.hasRoom(peer)) return Promise.resolve();
    return peer.waiters.next();
  }

  stream(messages: AsyncIterable<Data> | Iterable<Data>): Promise<boolean> {
    const peer = this.#peer;
    return stream(this, messages, {
      waiters: peer.waiters,
      replyBytes: this.#pump.engine.param(Param.ReplyPoolBytes),
      failed: (thrown) => this.#pump.messages.fail(peer, "stream", thrown),
    });
  }

  subscribe(topic: string): boolean {
    return this.#pump.topics.subscribe(this.id, topic);
  }

  unsubscribe(topic: string): boolean {
    return this.#pump.topics.unsubscribe(this.id, topic);
  }

  isSubscribed(topic: string): boolean {
    return this.#pump.topics.isSubscribed(this.id, topic);
  }

  get subscriptions(): string[] {
    return this.#pump.topics.subscriptions(this.id);
  }

  publish(topic: string, data: Data, options?: SendOptions): boolean {
    checkSend(options);
    return this.#pump.outgoing.publish(topic, data, options, this.id);
  }

  close(code = 1000, reason = ""): boolean {
    checkClose(code, reason);
    return this.open && this.#pump.outgoing.close(this.#peer, code, reason);
  }

  terminate(): boolean {
    return this.#peer.ws === this && this.#pump.terminate(this.#peer, CloseReason.Application);
  }

  ping(data: Data = ""): boolean {
    const bytes = pingOf(data);
    return this.open && this.#pump.outgoing.ping(this.#peer, bytes);
  }

  pause(): void {
    const peer = this.#peer;
    // A client that says nothing has no messages to pause, and its end must be noticed.
    if (peer.ws === this && !peer.isStream) this.#pump.pausePeer(peer, true);
  }

  resume(): void {
    const peer = this.#peer;
    if (peer.ws === this && !peer.isStream) this.#pump.pausePeer(peer, false);
  }
}
