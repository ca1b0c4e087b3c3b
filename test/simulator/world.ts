// The world of a run: the real engine, the real pump, the real classes of each placement, over sockets in memory
// and under a virtual clock, and who takes part: guests (guests.ts), the server's own doings (serving.ts), a handler.
//
// Invariant: what happens follows from the settings and the steps alone.

import type { StaticBody, WebSocket } from "../../host/handler";
import type { Application } from "../../host/application";
import { Runner } from "../../host/testing/run";
import type { Engine } from "../../worker/engine";
import type { Listener } from "../../worker/net";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import { zlibCodec } from "../../worker/net/zlib";
import { Pump } from "../../worker/server";
import type { WebSocketImpl } from "../../worker/socket";
import { testEngine } from "../wasm";
import { Guests } from "./guests";
import { AS_ASKED, type Asked, STATIC_TEXT, type Scene, handlerOf } from "./handler";
import type { Client, Rules } from "./model";
import { ApplicationPlace, type Ground, InlinePlace, type Place, PoolPlace } from "./places";
import { Post } from "./post";
import { Serving } from "./serving";
import type { Say, SimulatedSettings, Step } from "./steps";
import { Watch } from "./watch";

/** Errors that are told of without anybody having thrown. */
const EXPECTED_ERRORS = [
  AS_ASKED,
  "the handler settled without an answer",
  / are taken$/,
  /^handlerTimeout: /,
  /^the pool's thread ended/,
];

export class World implements Scene {
  readonly settings: SimulatedSettings;
  readonly engine: Engine;
  readonly pump: Pump;
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly net = new MemoryNet(this.clock);
  readonly watch = new Watch();
  readonly rules: Rules;
  readonly post: Post;
  readonly guests: Guests;
  readonly serving: Serving;
  /** The handler's side, where that is another thread. */
  readonly application: Application | undefined;
  readonly #place: Place;
  // What the handler knows.
  get isOrdered(): boolean {
    return this.settings.ordered;
  }

  version = 0;
  thrown = 0;
  readonly asks = new Map<number, Asked>();
  readonly says = new Map<number, Say>();
  readonly pending = new Map<number, () => void>();
  readonly sockets = new Map<number, WebSocket>();
  readonly parts = new Map<Client, Uint8Array[]>();
  #staticBody: StaticBody | undefined;
  // What has happened.
  readonly errors: string[] = [];
  evictions = 0;
  isStopping = false;
  /** The run is at its end: everybody reads. */
  isEnding = false;
  /** Connections end after a few requests. */
  isLimited = false;
  /** Also one that reads at once may be evicted: by a burst within a turn, by long runs that are seldom handed over. */
  isHarsh: boolean;
  /** The audience when the inbox began to be drained: who is evicted within a batch has been a reader of its front. */
  early = new Map<Client, WebSocketImpl>();
  #listener: Listener | undefined;

  constructor(settings: SimulatedSettings, build?: "release" | "debug") {
    this.settings = settings;
    const { params, place } = settings;
    const isShort = (params.QueuedFrames as number) < (params.Frames as number);
    this.isHarsh = isShort || settings.flushInterval > 0;
    this.engine = testEngine(params, build);
    this.pump = new Pump({
      engine: this.engine,
      clock: this.clock,
      codec: params.DeflateRingBytes === 0 ? undefined : zlibCodec,
      flushInterval: settings.flushInterval,
      ordered: settings.ordered,
      failed: this.#failed,
      evicted: (evictions) => {
        this.evictions += evictions.length;
      },
    });
    this.rules = {
      mayClose: () => this.isStopping || this.isLimited,
      isLoose: () => place === "application" && this.pump.stats().messagesRefused > 0,
      sheds: place !== "inline",
      isScarce: (params.ReceivePoolBytes as number) <= 131072,
      isStarved: (params.ReplyPoolBytes as number) <= 65536,
      now: () => this.clock.now(),
    };
    this.post = new Post(this.pump, this.clock, settings, {
      before: () => {
        this.early = this.post.isQuiet ? new Map() : this.audience();
      },
      after: () => this.early.clear(),
      note: (error) => this.note(error),
    });
    this.#place = this.#settle();
    if (this.#place instanceof ApplicationPlace) this.application = this.#place.application;
    const { inbox } = this.post;
    if (inbox.host) inbox.host = this.post.over(inbox.host);
    this.guests = new Guests(this);
    this.serving = new Serving(this);
  }

  /** Where the handler is to live. */
  #settle(): Place {
    const { settings, clock, pump } = this;
    const { inbox, writer } = this.post;
    const ground: Ground = {
      ...{ settings, clock, pump, inbox, writer, failed: this.#failed },
      backlog: settings.params.Backlog as number,
    };
    if (settings.place === "application") return new ApplicationPlace(ground);
    return settings.place === "pool" ? new PoolPlace(ground) : new InlinePlace(ground);
  }

  readonly #failed = (error: Error): void => {
    const isExpected = EXPECTED_ERRORS.some((one) =>
      typeof one === "string" ? one === error.message : one.test(error.message),
    );
    if (!isExpected) this.note(String(error.stack));
  };

  note(error: string): void {
    this.errors.push(error);
  }

  // ---- what the handler asks for -----------------------------------------------------------------------

  /** The client's number is its address. */
  clientAt(address: string): Client {
    const guest = this.guests.at(Number(address.slice(1)));
    if (!guest) throw new Error(`nobody is at ${address}`);
    return guest.client;
  }

  readonly staticBody = (): StaticBody => {
    this.#staticBody ??= this.#place.body(STATIC_TEXT);
    return this.#staticBody;
  };

  echo(client: Client, ws: WebSocket, data: string | Uint8Array): void {
    this.serving.sendTo(client, ws, data);
  }

  publishWithin(tag: number): void {
    this.serving.publishWithin(tag);
  }

  // ---- who is there --------------------------------------------------------------------------------------

  get clients(): Client[] {
    return [...this.guests].map(({ client }) => client);
  }

  /** Those whose WebSocket is open, as the worker knows. */
  audience(): Map<Client, WebSocketImpl> {
    const found = new Map<Client, WebSocketImpl>();
    this.pump.each((ws) => found.set(this.clientAt(ws.remoteAddress), ws));
    return found;
  }

  // ---- the run ---------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    await this.#place.use(handlerOf(this, 0));
    this.#listener = this.net.open(this.engine.windowView(), this.watch.over(this.pump.accept));
  }

  async step(step: Step): Promise<void> {
    await this.#act(step);
    if (step.pause === 0) await this.runner.settle();
    else if (step.pause > 0) await this.runner.advance(step.pause);
  }

  async #act(step: Step): Promise<void> {
    const { guests, serving } = this;
    switch (step.kind) {
      case "connect":
        return guests.connect(step);
      case "request":
        return guests.request(step);
      case "stub":
        return guests.stub(step);
      case "broken":
        return guests.broken(step);
      case "upgrade":
        return guests.upgrade(step);
      case "say":
        return guests.talk(step);
      case "ping":
        return guests.ping(step);
      case "fault":
        return guests.fault(step);
      case "leave":
        return guests.leave(step);
      case "read":
        return guests.readStep(step);
      case "publish":
        for (const one of step.all) serving.publish(one);
        return undefined;
      case "send":
        return serving.send(step);
      case "subscribe":
      case "unsubscribe":
        return serving.subscribe(step);
      case "serve":
        return serving.serve(step);
      case "stale":
        return serving.stale(step);
      case "configure":
        return serving.configure(step);
      case "settle":
        return this.settle(step.tag);
      case "reload":
        return this.#reload();
      case "block":
        return this.#place.block(step.ms);
      case "shutdown":
        return this.#shutdown(step.drainMs);
      default:
        return undefined;
    }
  }

  /** A handler that waits goes on. */
  settle(tag: number): void {
    const fn = this.pending.get(tag);
    this.pending.delete(tag);
    fn?.();
  }

  async #reload(): Promise<void> {
    const next = this.version + 1;
    await this.#place.use(handlerOf(this, next));
    this.version = next;
  }

  #shutdown(drainMs: number): void {
    if (this.isStopping) return;
    this.isStopping = true;
    for (const client of this.clients) {
      client.mayEnd("Shutdown", "CloseTimeout", "Ok");
      if (drainMs > 0) client.mayCloseWith(1012);
      else if (this.sockets.has(client.id)) client.farewell(1001, "Shutdown");
      else client.mayCloseWith(1001);
    }
    this.#place.shutdown();
    this.#listener?.close();
    this.pump.farewell.begin(drainMs);
  }

  /** Ends what is left, and the application. */
  async end(): Promise<void> {
    for (const client of this.clients) client.mayEnd("Shutdown");
    this.pump.endAll();
    // What was told arrives on the other side, and who waits for a handler that never settles waits no more.
    await this.runner.advance(10000);
    this.#place.end();
    this.pump.stop();
    await this.runner.settle();
  }

  /** Errors of the handler's that were counted. */
  get handlerErrors(): number {
    return this.pump.handlerErrors + this.#place.errors;
  }
}
