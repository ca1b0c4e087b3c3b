// Where the handler runs: inline, on the application's thread, or `request` in a pool of threads. The classes on
// either side of a thread's border are the real ones; messages between them take a while of virtual time.
//
// Invariant: messages arrive whole and in order.

import { type Payload, bytesOf } from "../../host/shared/message/data";
import type { Handler, StaticBody } from "../../host/handler";
import { Application } from "../../host/local/application";
import { Credit } from "../../host/shared/message/credit";
import { Grant } from "../../host/shared/message/grant";
import type { InboxWriter } from "../../host/send/inbox-writer";
import type { Delivery } from "../../host/shared/request/pieces";
import { OwnRequest } from "../../host/shared/request/request";
import { Answering, type Field, type Upgrade } from "../../host/shared/request/response";
import { type ErrorData, describe } from "../../host/shared/result";
import { copyBytes, toBytes } from "../../host/shared/text/text";
import { PIECE_COST } from "../../host/shared/message/wire";
import type { SharedInbox } from "../../worker/inbox/inbox-reader";
import type { PiecePort, Threads } from "../../worker/net/transport";
import type { VirtualClock } from "../../worker/net/memory";
import { Pool } from "../../worker/place/pool";
import { Remote } from "../../worker/place/remote";
import type { Pump } from "../../worker/pump/pump";
import type { Beginning, Outcome, Task } from "../../worker/place/task";
import { MODULE, pageOf, pagesOf } from "./content";
import type { Settings } from "./steps";

/** All messages that are under way between threads. */
export class Traffic {
  underWay = 0;
  readonly #clock: VirtualClock;
  readonly #delay: number;

  constructor(clock: VirtualClock, delay: number) {
    this.#clock = clock;
    this.#delay = delay;
  }

  readonly line = (): Line => new Line(this.#clock, this.#delay, this);
}

/** A way for messages that takes time. */
export class Line {
  readonly #clock: VirtualClock;
  readonly #delay: number;
  readonly #traffic: Traffic;
  #last = 0;

  constructor(clock: VirtualClock, delay: number, traffic: Traffic) {
    this.#clock = clock;
    this.#delay = delay;
    this.#traffic = traffic;
  }

  /** Delivers after everything that was sent before. */
  send(deliver: () => void): void {
    const now = this.#clock.now();
    this.#last = Math.max(this.#last, now + this.#delay);
    this.#traffic.underWay++;
    const arrive = (): void => {
      this.#traffic.underWay--;
      deliver();
    };
    if (this.#last <= now) this.#clock.defer(arrive);
    else this.#clock.after(this.#last - now, arrive);
  }

  /** Nothing arrives for `ms` ms. */
  block(ms: number): void {
    this.#last = Math.max(this.#last, this.#clock.now() + ms);
  }
}

/** The parts that a placement is built from. */
export interface Ground {
  readonly settings: Settings;
  readonly clock: VirtualClock;
  readonly line: () => Line;
  readonly pump: Pump;
  readonly inbox: SharedInbox;
  readonly writer: InboxWriter;
  readonly backlog: number;
  failed(error: Error, where: string): void;
}

export interface Place {
  /** From now on events are this handler's. */
  use(handler: Handler): Promise<void>;
  /** A body that answers may name. */
  body(text: string): StaticBody;
  /** Nothing is handled for `ms` ms. */
  block(ms: number): void;
  /** The server shuts down, and the handler receives the signal. */
  shutdown(): void;
  end(): void;
  /** Errors counted elsewhere than by the pump. */
  readonly errors: number;
}

export class InlinePlace implements Place {
  readonly errors = 0;
  readonly #pump: Pump;

  constructor({ pump }: Ground) {
    this.#pump = pump;
  }

  async use(handler: Handler): Promise<void> {
    this.#pump.setHandler(handler);
  }

  body(text: string): StaticBody {
    return this.#pump.body(text, "text/plain");
  }

  block(): void {}
  shutdown(): void {}
  end(): void {}
}

export class ApplicationPlace implements Place {
  readonly application: Application;
  readonly #pump: Pump;
  readonly #remote: Remote;
  readonly #batches: Line;

  constructor({ settings, clock, line, pump, inbox, writer, backlog, failed }: Ground) {
    this.#pump = pump;
    this.#batches = line();
    this.#remote = new Remote(pump, settings.pending, inbox.words, {
      post: (batch) => this.#batches.send(() => this.application.hear(batch)),
    });
    inbox.host = this.#remote;
    this.application = new Application({
      ...{ inbox: writer, ordered: settings.ordered, backlog, failed, closeTimeout: 2000 },
      pendingBytes: settings.pending.bytes,
      pages: pagesOf(settings).map(({ status }) => status),
      protocols: [MODULE],
      publish: () => false,
      after: (ms, fn) => void clock.after(ms, fn),
      soon: (fn) => void clock.after(0, fn),
    });
  }

  async use(handler: Handler): Promise<void> {
    const { streams, ...rest } = handler;
    void streams;
    const members = this.application.setHandler(rest);
    this.#pump.place(this.#remote.placement(members));
  }

  body(text: string): StaticBody {
    return this.application.body(text, "text/plain");
  }

  block(ms: number): void {
    this.#batches.block(ms);
  }

  shutdown(): void {
    this.application.shutdown();
  }

  end(): void {
    this.application.end();
  }

  get errors(): number {
    return this.application.errors;
  }
}

type Asked = Exclude<Task, { load: string }>;

class ThreadRequest extends OwnRequest {
  constructor({ id, remoteAddress, head, bytes }: Asked) {
    super([id, remoteAddress], head, bytes);
  }
}

class ThreadBody implements StaticBody {
  readonly bytes: Uint8Array;
  readonly type = "text/plain";

  constructor(text: string) {
    this.bytes = toBytes(text);
  }

  get length(): number {
    return this.bytes.length;
  }
}

/** State that a thread and the worker share while a response is sent in pieces. */
class Pieces implements PiecePort {
  readonly #toWorker: Line;
  readonly #toThread: Line;
  readonly #report: (free: number) => void;
  #heard: ((message: unknown) => void) | undefined;
  #closed: (() => void) | undefined;
  #isOver = false;

  constructor(toWorker: Line, toThread: Line, report: (free: number) => void) {
    this.#toWorker = toWorker;
    this.#toThread = toThread;
    this.#report = report;
  }

  /** The thread sends. */
  send(piece: unknown): void {
    this.#toWorker.send(() => this.#heard?.(piece));
  }

  /** The thread ends. */
  drop(): void {
    this.#toWorker.send(() => {
      if (!this.#isOver) this.#closed?.();
      this.close();
    });
  }

  postMessage(free: unknown): void {
    this.#toThread.send(() => this.#report(free as number));
  }

  on(event: "message" | "close", listener: (message: unknown) => void): void {
    if (event === "message") this.#heard = listener;
    else this.#closed = () => listener(undefined);
  }

  close(): void {
    this.#isOver = true;
    this.#heard = undefined;
  }
}

class ThreadResponse extends Answering {
  override readonly request: ThreadRequest;
  readonly #number: number;
  readonly #credit: Credit;
  readonly #threads: SimulatedThreads;
  port: Pieces | undefined;
  #grant: Grant | undefined;
  outcome: Outcome | undefined;
  isGone = false;

  constructor(task: Asked, credit: Credit, threads: SimulatedThreads) {
    super();
    this.request = new ThreadRequest(task);
    this.#number = task.number;
    this.#credit = credit;
    this.#threads = threads;
  }

  protected override get gone(): boolean {
    return this.isGone;
  }

  protected override hasPage(status: number): boolean {
    return pageOf(status, this.#threads.settings) !== undefined;
  }

  protected override readonly protocolNames: readonly string[] = [MODULE];

  protected override respond(
    status: number,
    fields: Field[],
    data: Payload,
    close: boolean,
  ): boolean {
    const body = typeof data === "string" ? data : new Uint8Array(data);
    this.outcome = { kind: "answer", status, fields, body, close };
    return true;
  }

  protected override isOwn(): boolean {
    return true;
  }

  protected override respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean {
    return this.respond(status, fields, (body as ThreadBody).bytes, close);
  }

  protected override passTo(path: string, fields: readonly Field[], close: boolean): boolean {
    this.outcome = { kind: "pass", path, fields: [...fields], close };
    return true;
  }

  protected override streamBegin(
    status: number,
    fields: Field[],
    close: boolean,
    length: number,
    delivery: Delivery,
  ): boolean {
    const limit = delivery === "asked" ? new Grant() : undefined;
    this.#grant = limit;
    const port = this.#threads.pieces((bytes) => {
      if ((limit ?? this.#credit).give(bytes)) this.wake();
    });
    this.port = port;
    this.#threads.say({
      ringcast: "begin",
      number: this.#number,
      status,
      fields,
      close,
      length,
      delivery,
      port,
    });
    this.outcome = { kind: "streamed" };
    return true;
  }

  protected override streamWrite(data: Payload): boolean {
    const piece = bytesOf(data);
    const grant = this.#grant;
    if (grant) {
      if (piece.length === 0) return true;
      if (!grant.allows(piece.length)) return false;
      grant.take(piece.length);
    } else if (this.#credit.isSpent) {
      this.#credit.refused = true;
      return false;
    } else {
      this.#credit.used += piece.length + PIECE_COST;
    }
    this.port?.send(copyBytes(piece, 0, piece.length));
    return true;
  }

  protected override streamEnd(): void {
    this.port?.send("end");
  }

  protected override streamLeave(): void {
    this.port?.send("break");
    this.isGone = true;
  }

  override failed(): void {
    if (this.streaming) this.streamLeave();
  }

  protected override accept(upgrade: Upgrade): boolean {
    this.outcome = { kind: "upgrade", ...upgrade };
    return true;
  }
}

/** A handler asks for its thread to end by throwing this. */
export class ThreadEnd extends Error {}

/** Threads that are none: each task runs here, a while later. */
class SimulatedThreads implements Threads {
  onMessage: ((message: unknown) => void) | undefined;
  handler: Handler = {};
  readonly settings: Settings;
  readonly #toWorker: Line;
  readonly #toThreads: Line;
  readonly #backlog: number;
  #completed = 0;

  constructor(line: () => Line, backlog: number, settings: Settings) {
    this.settings = settings;
    this.#toWorker = line();
    this.#toThreads = line();
    this.#backlog = backlog;
  }

  say(beginning: Beginning): void {
    this.#toWorker.send(() => this.onMessage?.(beginning));
  }

  pieces(report: (free: number) => void): Pieces {
    return new Pieces(this.#toWorker, this.#toThreads, report);
  }

  run(task: unknown, _transfer: readonly ArrayBuffer[], signal: AbortSignal): Promise<unknown> {
    const asked = task as Task;
    if ("load" in asked) return Promise.resolve({ kind: "loaded" } satisfies Outcome);
    const response = new ThreadResponse(asked, new Credit(this.#backlog), this);
    return new Promise((resolve, reject) => {
      const die = (error: Error): void => {
        response.isGone = true;
        response.port?.drop();
        this.#toWorker.send(() => reject(error));
      };
      signal.addEventListener("abort", () => die(new Error("aborted")));
      this.#toThreads.send(() => {
        this.#handle(response).then((outcome) => {
          this.#completed++;
          this.#toWorker.send(() => resolve(outcome));
        }, die);
      });
    });
  }

  async #handle(response: ThreadResponse): Promise<Outcome> {
    let error: ErrorData | undefined;
    try {
      await this.handler.request?.(response.request, response);
    } catch (thrown) {
      if (thrown instanceof ThreadEnd) throw thrown;
      error = { ...describe(thrown), stack: "" };
    }
    const { outcome, sent } = response;
    if (sent && outcome) return error ? { ...outcome, error } : outcome;
    return {
      kind: "failed",
      error: error ?? describe(new Error("the handler settled without an answer")),
    };
  }

  stats(): ReturnType<Threads["stats"]> {
    const runTime = { mean: 0, p99: 0, max: 0 };
    return { threads: 1, completed: this.#completed, runTime };
  }

  resetTimes(): void {}

  async destroy(): Promise<void> {}
}

export class PoolPlace implements Place {
  readonly errors = 0;
  readonly #pump: Pump;
  readonly #threads: SimulatedThreads;
  readonly #pool: Pool;

  constructor({ settings, line, pump, backlog }: Ground) {
    this.#pump = pump;
    this.#threads = new SimulatedThreads(line, backlog, settings);
    this.#pool = new Pool(pump, this.#threads, settings.pool);
  }

  async use(handler: Handler): Promise<void> {
    this.#threads.handler = handler;
    await this.#pool.load("handler");
    this.#pump.place(this.#pool.placement(handler, "handler"));
  }

  body(text: string): StaticBody {
    return new ThreadBody(text);
  }

  block(): void {}
  shutdown(): void {}
  end(): void {}

  stats(): ReturnType<Pool["stats"]> {
    return this.#pool.stats();
  }
}
