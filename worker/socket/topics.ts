// Topics, as handlers and the application name them; the engine keeps who subscribes to what.
//
// Invariant: a name is checked (1 to 200 bytes of UTF-8) before it is looked up, and lies at the start of the scratch
// region until the engine has taken it.

import { Control, NONE, Outcome, Param } from "../../assembly/abi";
import { toError } from "../../host/shared/result";
import { type Engine, utf8 } from "../engine/engine";
import type { Peer } from "../pump/peer";
import type { Pump } from "../pump/pump";

/** Why a subscription was not made. @param which 1: the table of topics is full, 2: that of subscriptions */
function tableFull(engine: Engine, which: number): RangeError {
  const [what, name, param] =
    which === 1
      ? (["topics", "maxTopics", Param.Topics] as const)
      : (["subscriptions", "maxSubscriptions", Param.Subscriptions] as const);
  return new RangeError(`subscribe: all ${engine.params[param]} ${what} (${name}) are taken`);
}

export class Topics {
  readonly #pump: Pump;
  readonly #failed: (error: Error, where: string) => void;

  /** @param failed told of a subscription of the application's that could not be made */
  constructor(pump: Pump, failed: (error: Error, where: string) => void) {
    this.#pump = pump;
    this.#failed = failed;
  }

  subscribe(id: number, topic: string): boolean {
    const { engine } = this.#pump;
    const length = engine.putTopic(topic);
    const peer = this.#pump.peer(id);
    if (!peer?.ws || peer.closing) return false;
    const outcome = engine.x.subscribe(peer.slot, peer.generation, engine.scratch, length);
    if (outcome === Outcome.Full) throw tableFull(engine, engine.get(Control.Result));
    return outcome === Outcome.Ok;
  }

  unsubscribe(id: number, topic: string): boolean {
    const { engine } = this.#pump;
    const length = engine.putTopic(topic);
    const peer = this.#pump.peer(id);
    if (!peer) return false;
    const { x, scratch } = engine;
    return x.unsubscribe(peer.slot, peer.generation, scratch, length) === Outcome.Ok;
  }

  isSubscribed(id: number, topic: string): boolean {
    const { engine } = this.#pump;
    const length = engine.putTopic(topic);
    const peer = this.#pump.peer(id);
    if (!peer) return false;
    return engine.x.isSubscribed(peer.slot, peer.generation, engine.scratch, length) === 1;
  }

  /** The topics a WebSocket subscribes to. */
  subscriptions(id: number): string[] {
    const { engine } = this.#pump;
    const names: string[] = [];
    const peer = this.#pump.peer(id);
    if (!peer) return names;
    let link = 0;
    for (;;) {
      link = engine.x.nextTopic(peer.slot, peer.generation, link);
      if (link === 0) return names;
      names.push(utf8(engine.u8, engine.get(Control.Result), engine.get(Control.NameLength)));
    }
  }

  subscriberCount(topic: string): number {
    const { engine } = this.#pump;
    return engine.x.subscriberCount(engine.scratch, engine.putTopic(topic));
  }

  /** The number of the topic whose name an inbox record begins with; NONE: nobody subscribes to it. */
  topicOf(name: Uint8Array): number {
    const { engine } = this.#pump;
    engine.u8.set(name, engine.scratch);
    const number = engine.x.findTopic(engine.scratch, name.length);
    return number === 0 ? NONE : number;
  }

  /** Subscribes for the application: when it cannot be, `failed` is told. */
  subscribeFor(peer: Peer, topic: string): void {
    try {
      this.subscribe(peer.id, topic);
    } catch (thrown) {
      this.#failed(toError(thrown), "subscribe");
    }
  }

  /** Tells the application that a subscription it asked for was not made. */
  refuseSubscription(which: number): void {
    this.#failed(tableFull(this.#pump.engine, which), "subscribe");
  }
}
