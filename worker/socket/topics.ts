// Topics by the names that handlers and the application use. The engine keeps the subscriptions.
//
// Invariant: a name is checked (1 to 200 bytes of UTF-8) before it is looked up, and stays at the start of the scratch
// region until the engine has read it.

import { Control, NONE, Outcome, Param } from "../../assembly/abi";
import { toError } from "../../host/shared/result";
import type { Engine } from "../engine/engine";
import type { EngineLoop } from "../engine/loop";
import type { Peer } from "./peer";

/**
 * Returns the error of a refused subscription.
 * @param which 1: the table of topics is full, 2: that of subscriptions
 */
function tableFull(engine: Engine, which: number): RangeError {
  const [what, name, param] =
    which === 1
      ? (["topics", "maxTopics", Param.Topics] as const)
      : (["subscriptions", "maxSubscriptions", Param.Subscriptions] as const);
  return new RangeError(`subscribe: all ${engine.params[param]} ${what} (${name}) are taken`);
}

export class Topics {
  readonly #loop: EngineLoop<Peer>;
  readonly #failed: (error: Error, where: string) => void;

  /** @param failed called when a subscription of the application could not be made */
  constructor(loop: EngineLoop<Peer>, failed: (error: Error, where: string) => void) {
    this.#loop = loop;
    this.#failed = failed;
  }

  subscribe(id: number, topic: string): boolean {
    const { engine } = this.#loop;
    const length = engine.putTopic(topic);
    const peer = this.#loop.find(id);
    if (!peer?.ws || peer.closing) return false;
    const outcome = this.#loop.subscribe(peer, length);
    if (outcome === Outcome.Full) throw tableFull(engine, engine.get(Control.Result));
    return outcome === Outcome.Ok;
  }

  unsubscribe(id: number, topic: string): boolean {
    const length = this.#loop.engine.putTopic(topic);
    const peer = this.#loop.find(id);
    return peer !== undefined && this.#loop.unsubscribe(peer, length) === Outcome.Ok;
  }

  isSubscribed(id: number, topic: string): boolean {
    const length = this.#loop.engine.putTopic(topic);
    const peer = this.#loop.find(id);
    return peer !== undefined && this.#loop.isSubscribed(peer, length);
  }

  /** Returns the topics that a WebSocket subscribes to. */
  subscriptions(id: number): string[] {
    const peer = this.#loop.find(id);
    return peer ? this.#loop.topicsOf(peer) : [];
  }

  subscriberCount(topic: string): number {
    return this.#loop.subscriberCount(topic);
  }

  /** Returns the number of the topic whose name an inbox record begins with; NONE: it has no subscribers. */
  topicOf(name: Uint8Array): number {
    return this.#loop.topicOf(name) || NONE;
  }

  /** Subscribes a client for the application. An error is reported to `failed`. */
  subscribeFor(peer: Peer, topic: string): void {
    try {
      this.subscribe(peer.id, topic);
    } catch (thrown) {
      this.#failed(toError(thrown), "subscribe");
    }
  }

  /** Reports to the application that a requested subscription was not made. */
  refuseSubscription(which: number): void {
    this.#failed(tableFull(this.#loop.engine, which), "subscribe");
  }
}
