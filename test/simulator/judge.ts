// Events that a run reports to its judge, in their order. The judge is the model in exact mode (exact.ts, model.ts),
// the ledger in stress mode (ledger.ts). A judge throws at a violation.

import type { Client } from "./client";
import type { Ask, OpenHow, Say, Settings, Via } from "./steps";
import type { Arrived, Frame } from "./stream";

/** A message that the server took from its owner: for one client, or for the readers of a topic, or for all. */
export interface Message {
  readonly tag: number;
  readonly opcode: 1 | 2;
  readonly payload: Uint8Array;
  readonly plain: boolean;
  readonly via: Via;
  readonly to?: Client;
  readonly topic?: number;
  readonly except?: Client;
  /** Number of publications up to it, where that is known. */
  readonly position?: number;
}

/** The judge's view of the run. */
export interface Court {
  readonly settings: Settings;
  /** The topics of each client whose WebSocket is open, as the worker knows. */
  readers(): Map<Client, readonly number[]>;
  /** Number of publications that the server has accepted, and of topics that it has forgotten. */
  readonly published: number;
  readonly forgotten: number;
  /** True when the handler has been called with the request of this tag. */
  isHandled(tag: number): boolean;
}

export interface Judge {
  /** The client has sent a request, or a part of one. */
  asked(client: Client, ask: Ask, isWhole: boolean): void;
  /** The client has sent a request that must be refused. */
  broken(client: Client, status: number): void;
  /** @param since the position that it names, if it names one */
  upgraded(client: Client, tag: number, offer: number, how: OpenHow, since?: string): void;
  /** The handler of an event stream has subscribed to a topic in `open`, or before. */
  joined(client: Client, topic: number): void;
  /** The handler of an event stream returns from `open`. */
  opened(client: Client): void;
  said(client: Client, say: Say, payload: Uint8Array): void;
  /** The client has sent a frame that fails its WebSocket, or a Close. */
  failed(client: Client, code: number, reason: string): void;
  /** The client has half-closed. */
  left(client: Client): void;
  /** The client does not speak HTTP, so the requests that it has sent are none. */
  released(client: Client): void;

  /** The server has accepted a message. */
  accepted(message: Message): void;
  /** The server has accepted a publication that is for no one. @param position where it is known */
  skipped(position?: number): void;
  /** A handler has queued a message of its own. */
  echoed(message: Message): void;
  subscribed(client: Client, topic: number, on: boolean): void;
  /** The server's owner has closed a WebSocket. */
  closed(client: Client, code: number, reason: string): void;
  paused(client: Client, on: boolean): void;
  /** The handler that waits under a tag continues. */
  settled(tag: number): void;
  stopped(): void;

  answer(client: Client, answer: Arrived): void;
  frame(client: Client, frame: Frame): void;
  /** The server has half-closed, and the client has read everything before that. */
  finished(client: Client): void;
  /** Nothing is under way. */
  quiet(): void;
  /** All clients have read everything, and every handler has settled. */
  /** @param mayWait whether a client that does not read may hold the room for pieces of responses */
  delivered(mayWait: boolean): void;
}
