// The application's side of a server in memory: the same interface as `serve` returns, without a worker. Calls take
// effect at once. Their consequences happen when the server runs.

import type {
  Data,
  HandlerModule,
  PublishOptions,
  SendOptions,
  Stage,
  Stats,
  WebSocket,
} from "../handler";
import { checkClose } from "../shared/close";
import { quiet, serverEnded, withoutLog } from "../shared/ended";
import { messageOf } from "../shared/message/data";
import { checkId, publishFlags, sendFlags } from "../shared/message/flags";
import type { Eviction, LiveOptions, Options, ShutdownOptions } from "../options/types";
import { type HostSettings, withChanges } from "../options/site/hosts";
import { type Plan, planOf } from "../options/plan";
import { type Settings, settleChanges, settleShutdown } from "../options/settle";
import type { PublisherHandle } from "../send/publisher";
import type { Server } from "../server";
import { BufferStage } from "../shared/message/stage";
import { checkTopic } from "../shared/message/topic";
import { configure } from "../../worker/control/configure";
import type { Listener } from "../../worker/net/transport";
import type { Pump } from "../../worker/pump/pump";
import type { Runner } from "./run";

export class MemoryServer implements Server {
  static readonly name = "TestServer";
  readonly address = { hostname: "memory", port: 0 };
  readonly addresses = [this.address];
  readonly plan: Plan;
  readonly finished: Promise<void>;
  onEvict: ((evictions: readonly Eviction[]) => void) | undefined;
  readonly #pump: Pump;
  readonly #runner: Runner;
  readonly #listener: Listener;
  readonly #place: (handler: HandlerModule) => Promise<void>;
  #options: Options;
  /** The virtual hosts, with their present options of TLS. */
  #hosts: readonly HostSettings[];
  /** True when there was no room for the last message. */
  #isFull = false;
  #ending: Promise<void> | undefined;
  /** The previous reload. It never rejects. */
  #reloading: Promise<void> = Promise.resolve();
  /** Time at which a shutdown with `drainMs` has closed the last client. */
  #servedUntil = 0;
  #resolve: () => void = () => undefined;

  /**
   * @param options the options that `settings` were made from
   * @param place sets the server's handler
   */
  constructor(
    pump: Pump,
    runner: Runner,
    listener: Listener,
    settings: Settings,
    options: Options,
    place: (handler: HandlerModule) => Promise<void>,
  ) {
    this.#options = options;
    this.#place = place;
    this.#pump = pump;
    this.#runner = runner;
    this.#listener = listener;
    this.#hosts = settings.hosts;
    this.plan = planOf(settings);
    this.finished = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get #isOpen(): boolean {
    return !this.#ending || this.#runner.clock.now() < this.#servedUntil;
  }

  #note(isSent: boolean): boolean {
    this.#isFull = !isSent;
    return isSent;
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    publishFlags(messageOf("broadcast", data, options), options);
    return this.#isOpen && this.#note(this.#pump.broadcast(data, options));
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    publishFlags(messageOf("publish", data, options), options);
    checkTopic(topic);
    return this.#isOpen && this.#note(this.#pump.publish(topic, data, options));
  }

  subscribe(id: number, topic: string): boolean {
    checkId(id);
    checkTopic(topic);
    const peer = this.#pump.peer(id);
    if (peer) this.#pump.topics.subscribeFor(peer, topic);
    return this.#isOpen;
  }

  unsubscribe(id: number, topic: string): boolean {
    checkId(id);
    this.#pump.unsubscribe(id, topic);
    return this.#isOpen;
  }

  async subscriberCount(topic: string): Promise<number> {
    return this.#pump.subscriberCount(topic);
  }

  async position(): Promise<string> {
    return this.#pump.position();
  }

  send(id: number, data: Data, options?: SendOptions): boolean {
    checkId(id);
    sendFlags(messageOf("send", data, options), options);
    if (!this.#isOpen) return false;
    // A message to a client that has left is dropped and counts as sent, as over an inbox.
    return this.#note(!this.#pump.peer(id)?.ws || this.#pump.send(id, data, options));
  }

  stage(): Stage {
    const { outgoing } = this.#pump;
    return new BufferStage({
      ringBytes: outgoing.ringBytes,
      isUtf8: outgoing.isUtf8,
      publishBytes: (topic, bytes, flags, except) =>
        this.#isOpen && this.#note(outgoing.publishBytes(topic, bytes, flags, except)),
      // A message to a client that has left is dropped and counts as sent, as over an inbox.
      sendBytes: (id, bytes, flags) =>
        this.#isOpen &&
        this.#note(!this.#pump.peer(id)?.ws || outgoing.sendBytes(id, bytes, flags)),
    });
  }

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    checkId(id);
    checkClose(code, reason);
    this.#pump.closeConnection(id, code, reason);
    return this.#isOpen;
  }

  async count(): Promise<number> {
    return this.#pump.count();
  }

  each(fn: (ws: WebSocket) => void): void {
    this.#pump.each(fn);
  }

  publisher(): PublisherHandle {
    throw new Error("publisher: a server in memory has no threads");
  }

  reload(handler?: Options["handler"]): Promise<void> {
    const reload = this.#reloading.then(() => {
      if (handler === undefined)
        throw new TypeError("handler: there is no module to reload; pass a handler");
      return this.#place(handler as HandlerModule);
    });
    this.#reloading = reload.catch(() => undefined);
    return reload;
  }

  async configure(options: LiveOptions): Promise<void> {
    const { values, hosts } = settleChanges(this.#options, options, this.#hosts);
    configure(this.#pump, values);
    const { tls: _, virtualHosts: __, ...others } = options;
    this.#options = { ...this.#options, ...others };
    this.#hosts = withChanges(this.#hosts, hosts);
  }

  async stats(): Promise<Stats> {
    return this.#pump.stats();
  }

  async metrics(): Promise<string> {
    return this.#pump.metrics();
  }

  async reopenLog(): Promise<void> {
    throw withoutLog();
  }

  /** Behaves as over an inbox. If there was no room for the last message, it advances the clock by a millisecond. */
  ready(): Promise<void> {
    return quiet(this.#ready());
  }

  async #ready(): Promise<void> {
    if (this.#isOpen && this.#isFull) await this.#runner.advance(1);
    if (!this.#isOpen) throw serverEnded();
  }

  async #end(timeout: number, drainMs: number): Promise<void> {
    const pump = this.#pump;
    const { clock } = this.#runner;
    this.#listener.close();
    this.#servedUntil = clock.now() + drainMs;
    const cancel = clock.after(drainMs + timeout, () => pump.endAll());
    pump.farewell.begin(drainMs);
    if (timeout + drainMs === 0) pump.endAll();
    await this.#runner.until(pump.idle());
    cancel();
    pump.stop();
    this.#resolve();
  }

  /**
   * Shuts down like the server of `serve`. It settles without `clock.advance` when all clients close in order. Timeouts
   * pass only by `clock.advance`.
   */
  shutdown(options?: ShutdownOptions): Promise<void> {
    const { timeout, drainMs } = settleShutdown(options);
    this.#ending ??= this.#end(timeout, drainMs);
    return this.#ending;
  }

  close(): Promise<void> {
    this.#servedUntil = 0;
    if (this.#ending) this.#pump.endAll();
    return this.shutdown({ timeout: 0 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
