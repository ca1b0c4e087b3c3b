// A WebSocket on the application's thread. Its messages arrive in batches, and its calls go to the worker as operations
// through the inbox.
//
// Invariant: `send` returns true only for a message that will be queued for the client, in the order of the calls. At
// most `maxBacklog` bytes and one message are in flight or queued.

import { checkClose } from "../shared/close";
import { type Payload, messageOf, pingOf } from "../shared/message/data";
import { checkSend, sendFlags } from "../shared/message/flags";
import { stream } from "../shared/message/stream";
import { Waiters } from "../shared/message/waiters";
import { generationOf, slotOf } from "../shared/message/id";
import { type Greeting, NO_GREETING } from "../shared/message/gap";
import type { Data, PublishOptions, SendOptions, StreamGap, WebSocket } from "../handler";
import { Credit } from "../shared/message/credit";
import type { Kept, Outlet, RoomListener } from "./outlet";
import type { Ordered } from "../shared/order";
import { checkTopic } from "../shared/message/topic";
import { Op, PIECE_COST } from "../shared/message/wire";

const NONE = new Uint8Array(0);

/** The parts of the application that a WebSocket uses. */
export interface SocketOwner {
  readonly outlet: Outlet;
  /** Bytes that may be in flight to one client. */
  readonly backlog: number;
  /** Bytes of all clients' queues together. */
  readonly replyBytes: number;
  /** Bytes of one client's messages that may be with the application. */
  readonly laneBytes: number;
  readonly publish: (topic: string, data: Data, options: PublishOptions) => boolean;
  /** Called when there is room again after a send was refused. */
  drained(ws: RemoteSocket): void;
  /** Reports an error of the handler, and closes the WebSocket with 1011. */
  abandon(ws: RemoteSocket, where: string, thrown: unknown): void;
  /** Called when a WebSocket was resumed. */
  resumed(ws: RemoteSocket): void;
}

export class RemoteSocket implements WebSocket, Ordered, RoomListener {
  static readonly name = "WebSocket";
  readonly id: number;
  readonly protocol: string;
  readonly remoteAddress: string;
  kind: "websocket" | "events" = "websocket";
  data: unknown;
  readonly #application: SocketOwner;
  readonly #slot: number;
  readonly #generation: number;
  readonly #credit: Credit;
  readonly #topics = new Set<string>();
  #greeting: Greeting = NO_GREETING;
  #state: "open" | "closing" | "closed" = "open";
  #paused = false;
  /** The Pause or Resume that waits for room. */
  #flow: Kept | undefined;
  #lagBytes = 0;
  #lagFrames = 0;
  /** Functions that wait for room, or the end. */
  #waiters: Waiters | undefined;
  /** Events waiting until the previous message's handler has settled or the pause is over; undefined: none wait. */
  queue: (() => void)[] | undefined;
  /** Ends the wait for a handler that has not settled; undefined when there is no wait. */
  skip: (() => void) | undefined;
  /** True when no further message is handled: the handler failed, or it was terminated, or it ended while paused. */
  isDeaf = false;
  /** Bytes of messages handled since the last report to the worker. */
  #taken = 0;

  constructor(
    application: SocketOwner,
    id: number,
    protocol: string,
    remoteAddress: string,
    data: unknown,
  ) {
    this.#application = application;
    this.id = id;
    this.protocol = protocol;
    this.remoteAddress = remoteAddress;
    this.data = data;
    this.#slot = slotOf(id);
    this.#generation = generationOf(id);
    this.#credit = new Credit(application.backlog);
  }

  get resumed(): boolean {
    return this.#greeting.resumed;
  }

  get gap(): StreamGap | undefined {
    return this.#greeting.gap;
  }

  get open(): boolean {
    return this.#state === "open";
  }

  /** The client's lag. `queued` counts bytes sent and not known to have left. The worker reported the rest last. */
  get lag(): { bytes: number; frames: number; queued: number } {
    if (this.#state === "closed") return { bytes: 0, frames: 0, queued: 0 };
    return { bytes: this.#lagBytes, frames: this.#lagFrames, queued: this.#credit.used };
  }

  #post(op: Op, first = 0, tail: string | Uint8Array = NONE): Kept | undefined {
    return this.#application.outlet.post(op, this.#slot, this.#generation, first, 0, NONE, tail);
  }

  send(data: Data, options?: SendOptions): boolean {
    const payload = messageOf("send", data, options);
    return this.offer(payload, sendFlags(payload, options));
  }

  /** Sends a checked message. */
  offer(payload: Payload, flags: number): boolean {
    if (this.#state !== "open") return false;
    const credit = this.#credit;
    const { outlet } = this.#application;
    if (credit.isSpent) {
      outlet.refuse(credit);
      return false;
    }
    if (!outlet.offer(Op.Send, this.#slot, this.#generation, flags, 0, NONE, payload)) {
      outlet.whenRoom(this);
      return false;
    }
    credit.used += outlet.tailBytes + PIECE_COST;
    return true;
  }

  get #awaited(): Waiters {
    this.#waiters ??= new Waiters();
    return this.#waiters;
  }

  ready(): Promise<void> {
    const isFull = this.#credit.isSpent || this.#application.outlet.isAwaitedBy(this);
    return this.#state === "open" && isFull ? this.#awaited.next() : Promise.resolve();
  }

  stream(messages: AsyncIterable<Data> | Iterable<Data>): Promise<boolean> {
    return stream(this, messages, {
      waiters: this.#awaited,
      replyBytes: this.#application.replyBytes,
      failed: (thrown) => this.#application.abandon(this, "stream", thrown),
    });
  }

  /** Subscribes. When a table is full, `onError` is called, but the subscription still counts as one here. */
  subscribe(topic: string): boolean {
    checkTopic(topic);
    if (this.#state !== "open") return false;
    if (!this.#topics.has(topic)) this.#post(Op.Subscribe, 0, topic);
    this.#topics.add(topic);
    return true;
  }

  unsubscribe(topic: string): boolean {
    checkTopic(topic);
    if (!this.#topics.delete(topic)) return false;
    this.#post(Op.Unsubscribe, 0, topic);
    return true;
  }

  isSubscribed(topic: string): boolean {
    checkTopic(topic);
    return this.#topics.has(topic);
  }

  get subscriptions(): string[] {
    return [...this.#topics];
  }

  publish(topic: string, data: Data, options?: SendOptions): boolean {
    checkSend(options);
    return this.#application.publish(topic, data, { ...options, except: this.id });
  }

  close(code = 1000, reason = ""): boolean {
    checkClose(code, reason);
    if (this.#state !== "open") return false;
    this.#leave();
    this.#topics.clear();
    this.#post(Op.Close, code, reason);
    return true;
  }

  terminate(): boolean {
    if (this.#state === "closed") return false;
    this.ended();
    this.isDeaf = true;
    this.#post(Op.Terminate);
    return true;
  }

  ping(data: Data = ""): boolean {
    const bytes = pingOf(data);
    if (this.#state !== "open" || this.kind === "events") return false;
    const { outlet } = this.#application;
    return outlet.offer(Op.Ping, this.#slot, this.#generation, 0, 0, NONE, bytes);
  }

  pause(): void {
    this.#setPaused(true);
  }

  resume(): void {
    this.#setPaused(false);
  }

  #setPaused(paused: boolean): void {
    if (this.#state === "closed" || this.#paused === paused || this.kind === "events") return;
    this.#paused = paused;
    const op = paused ? Op.Pause : Op.Resume;
    if (this.#flow && !this.#flow.sent) this.#flow.op = op;
    else this.#flow = this.#post(op);
    if (!paused) this.#application.resumed(this);
  }

  /** True while its messages wait. */
  get isPaused(): boolean {
    return this.#paused;
  }

  // ---- the application's side of it --------------------------------------------------------------------

  /** Notes how an event stream with history has opened, and the topics that it subscribes to. */
  greeted(greeting: Greeting, topics: readonly string[]): void {
    this.#greeting = greeting;
    for (const topic of topics) this.#topics.add(topic);
  }

  /** Reports that the `open` of an event stream begins. */
  begun(): void {
    this.#post(Op.Begun);
  }

  /** Reports that `open` has settled, so that messages may follow. */
  opened(): void {
    this.#post(Op.Opened);
  }

  /** Reports that the handler's `shutdown` was called, so that the server may close the WebSocket. */
  leave(): void {
    this.#post(Op.Left);
  }

  /** Reports that the messages before the end of the WebSocket have been handled. */
  caughtUp(): void {
    this.#post(Op.Caught);
  }

  /** Closes the WebSocket because its handler failed. Further messages are dropped. */
  abandon(): void {
    this.isDeaf = true;
    this.#leave();
    this.#post(Op.Abandon);
  }

  /** Notes that the WebSocket is being closed. */
  #leave(): void {
    if (this.#state === "open") this.#state = "closing";
    this.#waiters?.notify();
  }

  /** Notes that the connection has ended. */
  ended(): void {
    this.#state = "closed";
    this.#credit.release();
    this.#topics.clear();
    if (this.#paused) this.isDeaf = true;
    this.#paused = false;
    this.#waiters?.notify();
  }

  /** Counts bytes of handled messages, and reports them to the worker from time to time. */
  handled(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken * 2 < this.#application.laneBytes) return;
    this.#post(Op.Taken, this.#taken);
    this.#taken = 0;
  }

  /** Notes bytes that have left the client's queue. @returns true when `drain` is due */
  left(bytes: number, lagBytes: number, lagFrames: number): boolean {
    this.#lagBytes = lagBytes;
    this.#lagFrames = lagFrames;
    const isDue = this.#credit.give(bytes);
    if (this.#credit.isLow) this.#waiters?.notify();
    return isDue;
  }

  room(): void {
    if (this.#state === "open" && !this.#credit.isSpent) {
      this.#waiters?.notify();
      this.#application.drained(this);
    } else {
      this.#credit.refused = true;
    }
  }
}
