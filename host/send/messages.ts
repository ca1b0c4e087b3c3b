// Sends messages from one producing thread to the worker, through the thread's own inbox.
//
// Invariant: a call only writes to shared memory. A message that does not fit is not sent in part: the call returns
// false.

import { RecordKind } from "../../assembly/abi";
import { checkClose } from "../shared/close";
import { type CreditLimits, Credits } from "./credits";
import { type Payload, messageOf, sizeOf } from "../shared/message/data";
import { checkId, publishFlags, sendFlags } from "../shared/message/flags";
import { generationOf, slotOf } from "../shared/message/id";
import type { Data, PublishOptions, SendOptions, Stage } from "../handler";
import type { InboxWriter } from "./inbox-writer";
import { BufferStage, type StageTarget } from "../shared/message/stage";
import { byteLength, isUtf8 } from "../shared/text/text";
import { checkEventName, checkTopic, topicPrefix } from "../shared/message/topic";

/** The calls that any thread of the application can make. */
export interface Messages {
  /**
   * Publishes to every open WebSocket.
   * @returns false when the inbox is full: nothing was sent; `ready()` resolves when there is room
   */
  broadcast(data: Data, options?: PublishOptions): boolean;
  /** Publishes to a topic's subscribers. A topic without subscribers is no error. @returns as `broadcast` */
  publish(topic: string, data: Data, options?: PublishOptions): boolean;
  /**
   * Subscribes a WebSocket to a topic of 1 to 200 bytes. A stale id is ignored. When `maxTopics` or `maxSubscriptions`
   * is reached, `onError` is called. @returns as `broadcast`
   */
  subscribe(id: number, topic: string): boolean;
  /** Ends a subscription. Messages published before still arrive. @returns as `broadcast` */
  unsubscribe(id: number, topic: string): boolean;
  /**
   * Sends to one client; a stale id is ignored. An accepted message arrives in order, or the client is closed with the
   * cause `SendOverrun` because several threads, or a thread and the handler, have filled its queue.
   * @returns as `broadcast`; false also when more than `maxBacklog` is pending for the client: then `ready()` resolves
   * when half of that has left, or the client has ended
   */
  send(id: number, data: Data, options?: SendOptions): boolean;
  /** Starts a message that is built piece by piece, in a buffer of its own. */
  stage(): Stage;
  /** Closes one connection in order, after what is queued. @returns as `broadcast` */
  closeConnection(id: number, code?: number, reason?: string): boolean;
  /**
   * Resolves when at least half of the inbox is free, and after a `send` that was refused for its client, when that
   * client has room again. Rejects once nothing can be published any more, with `code` "ERR_SERVER_ENDED". An ignored
   * rejection is not reported as unhandled.
   */
  ready(): Promise<void>;
}

/** Limits of what a thread sends. */
export interface MessageLimits extends CreditLimits {
  /** True: topics name events, so some names are refused. */
  readonly names?: boolean;
}

/** Topics whose encoded names are kept. When there are more, all are dropped, to bound memory. */
const PREFIXES = 4096;

export class MessageWriter implements StageTarget {
  readonly #inbox: InboxWriter;
  readonly ringBytes: number;
  readonly isUtf8 = isUtf8;
  readonly #isOpen: () => boolean;
  readonly #prefixes = new Map<string, Uint8Array>();
  readonly #credits: Credits;
  readonly #namesEvents: boolean;

  /** @param isOpen returns false while nothing may be sent */
  constructor(inbox: InboxWriter, ringBytes: number, limits: MessageLimits, isOpen: () => boolean) {
    this.#inbox = inbox;
    this.#credits = new Credits(limits);
    this.#namesEvents = limits.names === true;
    this.ringBytes = ringBytes;
    this.#isOpen = isOpen;
  }

  /** Writes a record. @param id the client's, 0 for none @param prefix bytes before the data */
  #put(kind: number, data: Payload, id = 0, prefix?: Uint8Array): boolean {
    this.#inbox.refusedBy = undefined;
    if (!this.#isOpen()) return false;
    return this.#inbox.put(kind, data, slotOf(id), generationOf(id), prefix);
  }

  /** Checks the length of a message. @throws RangeError when it is larger than the ring */
  #checkLength(what: string, data: Payload): void {
    let length = typeof data === "string" ? data.length * 3 : sizeOf(data);
    if (length <= this.ringBytes - 10) return;
    if (typeof data === "string") length = byteLength(data);
    if (length <= this.ringBytes - 10) return;
    throw new RangeError(`${what}: the message is larger than the ring (${this.ringBytes} bytes)`);
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    const payload = messageOf("broadcast", data, options);
    const flags = publishFlags(payload, options);
    this.#checkLength("broadcast", payload);
    return this.#put(RecordKind.Broadcast | (flags << 8), payload, options?.except);
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    const payload = messageOf("publish", data, options);
    const flags = publishFlags(payload, options);
    const prefix = this.#prefixOf(topic);
    this.#checkLength("publish", payload);
    return this.#put(RecordKind.Publish | (flags << 8), payload, options?.except, prefix);
  }

  #prefixOf(topic: string): Uint8Array {
    let prefix = this.#prefixes.get(topic);
    if (!prefix) {
      prefix = topicPrefix(topic);
      if (this.#namesEvents) checkEventName(topic);
      if (this.#prefixes.size >= PREFIXES) this.#prefixes.clear();
      this.#prefixes.set(topic, prefix);
    }
    return prefix;
  }

  /** Publishes a staged message. */
  publishBytes(
    topic: string | undefined,
    bytes: Uint8Array,
    flags: number,
    except: number,
  ): boolean {
    const kind = topic === undefined ? RecordKind.Broadcast : RecordKind.Publish;
    const prefix = topic === undefined ? undefined : this.#prefixOf(topic);
    return this.#put(kind | (flags << 8), bytes, except, prefix);
  }

  /** Sends a checked message to one client. */
  sendBytes(id: number, bytes: Payload, flags: number): boolean {
    const refusal = this.#credits.refusalOf(id);
    if (refusal) {
      this.#inbox.refusedBy = refusal;
      return false;
    }
    if (!this.#put(RecordKind.Send | (flags << 8), bytes, id)) return false;
    this.#credits.take(id, this.#inbox.tailBytes);
    return true;
  }

  /** Applies the worker's report of bytes that have left clients' queues (worker/inbox/outstanding.ts). */
  credited(report: Float64Array): void {
    this.#credits.settle(report);
  }

  /** Number of clients for which a message of `send` may be pending. */
  get underWay(): number {
    return this.#credits.size;
  }

  subscribe(id: number, topic: string): boolean {
    checkId(id);
    checkTopic(topic);
    return this.#put(RecordKind.Subscribe, topic, id);
  }

  unsubscribe(id: number, topic: string): boolean {
    checkId(id);
    checkTopic(topic);
    return this.#put(RecordKind.Unsubscribe, topic, id);
  }

  send(id: number, data: Data, options?: SendOptions): boolean {
    checkId(id);
    const payload = messageOf("send", data, options);
    const flags = sendFlags(payload, options);
    return this.sendBytes(id, payload, flags);
  }

  stage(): Stage {
    return new BufferStage(this);
  }

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    checkId(id);
    checkClose(code, reason);
    return this.#put(RecordKind.Close | (code << 16), reason, id);
  }
}
