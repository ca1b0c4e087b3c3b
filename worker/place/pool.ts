// Requests handled in a pool of threads. Each is sent as a copy to one thread, and the others wait in order. The result
// is a response, an upgrade, or an error.
//
// Invariant: a request is with one thread at most, and is answered once: with the result of its thread, with 500 when
// the thread ended or took too long, or with 503 when there was no room. When a client disconnects, the thread that is
// busy for it is ended unless it finishes soon, and its response is dropped.

import { CloseReason, Param } from "../../assembly/abi";
import type {
  CloseInfo,
  Connection,
  Handler,
  PoolStats,
  Request,
  Response,
} from "../../host/handler";
import { MEMBERS } from "../../host/shared/members";
import { describe, errorOf, toError } from "../../host/shared/result";
import { toBytes } from "../../host/shared/text/text";
import { type Fate, Lane } from "./lane";
import type { PiecePort, Threads } from "../net/transport";
import type { Placement } from "../pump/placement";
import type { Pump } from "../pump/pump";
import { type ResponseImpl, refuse } from "../request/response";
import { RemoteSource } from "./source";
import type { Peer } from "../socket/peer";
import type { Beginning, Outcome, Piece, Task, ThreadNotice } from "./task";

/**
 * Time (ms) that a thread may remain busy for a client that has disconnected; beyond it the thread is ended. Starting
 * another thread takes about as long. Therefore a client that sends requests and disconnects, again and again, takes no
 * more processor time than one that stays.
 */
const FORSAKEN_MILLIS = 100;

interface PoolLimits {
  readonly threads: number;
  /** Number of requests that may wait; beyond it a request gets 503. */
  readonly backlog: number;
  /** Time limit (ms) of a request in a thread; 0: none. */
  readonly handlerTimeout: number;
}

/** A request in the pool. */
interface Job {
  readonly number: number;
  readonly peer: Peer;
  readonly response: ResponseImpl;
  /** Ends its thread. */
  readonly abort: AbortController;
  /** True when no thread is working on it any more. */
  isOver: boolean;
  /** The pieces of a streamed response, pushed or asked for, and the port that they arrive on. */
  lane?: Lane;
  source?: RemoteSource;
  port?: PiecePort;
}

export class Pool {
  readonly #pump: Pump;
  readonly #threads: Threads;
  readonly #limits: PoolLimits;
  /** Jobs of connected clients, by client: waiting, in a thread, or streaming. */
  readonly #jobs = new Map<Peer, Job>();
  readonly #numbers = new Map<number, Job>();
  readonly #queue = new Set<Job>();
  readonly #watched = new Set<Lane>();
  readonly #ports = new Map<Lane, PiecePort>();
  readonly #quarter: number;
  #number = 0;
  #running = 0;
  /** Time at which the threads first had their handler. */
  #since: number;
  /** Time (ms) that threads spent on completed requests, and the sum of the start times of requests in progress. */
  #busyMillis = 0;
  #beganSum = 0;
  /** Number of tasks that were no requests. */
  #loads = 0;
  /** URL of the handler module. */
  #url = "";

  constructor(pump: Pump, threads: Threads, limits: PoolLimits) {
    this.#pump = pump;
    this.#threads = threads;
    this.#limits = limits;
    this.#quarter = Math.max(1, pump.engine.param(Param.Backlog) >>> 2);
    this.#since = pump.now();
    threads.onMessage = (message) => this.#hear(message);
  }

  /** Imports a handler module in a thread. @throws the error that is thrown there */
  async load(url: string): Promise<void> {
    this.#loads++;
    const task: Task = { load: url };
    const signal = new AbortController().signal;
    const outcome = (await this.#threads.run(task, [], signal)) as Outcome;
    if (outcome.error) throw errorOf(outcome.error);
    this.#threads.resetTimes();
    if (this.#loads === 1) this.#since = this.#pump.now();
  }

  /**
   * Returns the placement of a handler of which only `request` runs in threads.
   * @param url its module, for later
   * requests
   */
  placement(own: Handler, url: string): Placement {
    return {
      handler: this.#handler(own, url),
      isRelay: false,
      errors: () => 0,
      pool: () => this.stats(),
      turned: this.turned,
      peerEnded: () => undefined,
      endWaits: () => undefined,
    };
  }

  #handler(own: Handler, url: string): Handler {
    this.#url = url;
    const handler: Record<string, unknown> = {};
    for (const name of MEMBERS) {
      const member = own[name] as ((...args: unknown[]) => unknown) | undefined;
      if (member) handler[name] = member.bind(own);
    }
    if (own.protocol) handler.protocol = own.protocol.bind(own);
    if (own.request) {
      handler.request = (req: Request, res: Response) => this.#request(req, res as ResponseImpl);
    }
    handler.disconnect = (connection: Connection, info: CloseInfo) => {
      this.#leave(connection as Peer);
      own.disconnect?.(connection, info);
    };
    return handler as Handler;
  }

  stats(): PoolStats {
    const { threads, completed, runTime } = this.#threads.stats();
    const now = this.#pump.now();
    const busy = this.#busyMillis + this.#running * now - this.#beganSum;
    const capacity = (now - this.#since) * this.#limits.threads;
    return {
      threads,
      running: this.#running,
      queueSize: this.#queue.size,
      completed: completed - this.#loads,
      utilization: capacity > 0 ? Math.min(1, busy / capacity) : 0,
      runTime,
    };
  }

  async destroy(): Promise<void> {
    this.#queue.clear();
    await this.#threads.destroy();
  }

  // ---- jobs -------------------------------------------------------------------------------------------

  #request(req: Request, response: ResponseImpl): void {
    const peer = this.#pump.peer(req.id);
    if (!peer) return;
    const { threads, backlog } = this.#limits;
    if (this.#running >= threads && this.#queue.size >= backlog) {
      refuse(response);
      this.#pump.shed++;
      return;
    }
    // The thread gets a copy.
    response.request.forget();
    this.#number = (this.#number + 1) >>> 0;
    const abort = new AbortController();
    const job: Job = { number: this.#number, peer, response, abort, isOver: false };
    this.#jobs.set(peer, job);
    if (this.#running < threads) void this.#run(job);
    else this.#queue.add(job);
  }

  async #run(job: Job): Promise<void> {
    const began = this.#pump.now();
    this.#running++;
    this.#beganSum += began;
    this.#numbers.set(job.number, job);
    const { id, remoteAddress, peerCertificate } = job.response.request;
    const task: Task = {
      handler: this.#url,
      number: job.number,
      id,
      remoteAddress,
      peerCertificate,
      ...job.response.request.copy(),
    };
    const { abort } = job;
    const { handlerTimeout } = this.#limits;
    let late = false;
    let cancel: (() => void) | undefined;
    const limit = (): void => {
      cancel = this.#pump.after(handlerTimeout, () => {
        // The thread may be waiting for its client, which has time limits of its own.
        if (job.source ? !job.source.isAwaited : job.lane && this.#watched.has(job.lane)) {
          limit();
          return;
        }
        late = true;
        abort.abort();
      });
    };
    if (handlerTimeout > 0) limit();
    try {
      const transfer = [task.bytes.buffer as ArrayBuffer];
      this.#finish(job, (await this.#threads.run(task, transfer, abort.signal)) as Outcome);
    } catch (thrown) {
      const text = late
        ? `handlerTimeout: not settled within ${handlerTimeout} ms`
        : `the pool's thread ended: ${describe(thrown).message}`;
      this.#fail(job, new Error(text));
    } finally {
      cancel?.();
      job.isOver = true;
      this.#beganSum -= began;
      this.#busyMillis += this.#pump.now() - began;
      this.#running--;
      // mutant pool-next: ;
      this.#next();
    }
  }

  #next(): void {
    for (const job of this.#queue) {
      if (this.#running >= this.#limits.threads) return;
      this.#queue.delete(job);
      // A client may have disconnected before the turn that calls `disconnect`.
      if (this.#isWanted(job)) void this.#run(job);
      else this.#forget(job);
    }
  }

  /** Returns true while the client waits for this job's response. */
  #isWanted({ peer, response }: Job): boolean {
    return !peer.dead && peer.response === response;
  }

  #forget(job: Job): void {
    this.#numbers.delete(job.number);
    if (this.#jobs.get(job.peer) === job) this.#jobs.delete(job.peer);
    const { lane, port } = job;
    port?.close();
    if (!lane) return;
    lane.clear();
    this.#watched.delete(lane);
    this.#ports.delete(lane);
  }

  /** Handles a client's disconnect. A waiting job is dropped. A thread is ended unless it finishes soon. */
  #leave(peer: Peer): void {
    const job = this.#jobs.get(peer);
    if (!job) return;
    this.#forget(job);
    if (this.#queue.delete(job)) return;
    this.#pump.after(FORSAKEN_MILLIS, () => {
      if (!job.isOver) job.abort.abort();
    });
  }

  #fail(job: Job, error: Error): void {
    if (this.#isWanted(job)) this.#pump.requests.failRequest(job.peer, job.response, error);
    this.#forget(job);
  }

  #finish(job: Job, outcome: Outcome): void {
    if (outcome.kind === "failed") {
      this.#fail(job, errorOf(outcome.error));
      return;
    }
    if (outcome.error) this.#pump.fail(errorOf(outcome.error), "request");
    // Its pieces may still be in flight.
    if (outcome.kind === "streamed") return;
    if (this.#isWanted(job)) {
      try {
        this.#answer(job, outcome);
      } catch (thrown) {
        this.#pump.requests.failRequest(job.peer, job.response, thrown);
      }
    }
    this.#forget(job);
  }

  #answer({ peer, response }: Job, outcome: Outcome): void {
    const { responder } = this.#pump;
    const { request } = response;
    if (outcome.kind === "answer") {
      const { status, fields, body, close } = outcome;
      responder.respond(peer, request, status, fields, body, close);
    } else if (outcome.kind === "upgrade") {
      responder.upgrade(peer, request, outcome);
    } else if (outcome.kind === "pass") {
      const { path, fields, close } = outcome;
      this.#pump.requests.pass(peer, path, fields, close);
    }
  }

  // ---- responses in pieces ----------------------------------------------------------------------------

  /** Handles a thread's message. Messages without the mark are the handler's and are ignored. */
  #hear(message: unknown): void {
    if (typeof message !== "object" || message === null || !("ringcast" in message)) return;
    const notice = message as ThreadNotice;
    if (notice.ringcast === "begin") this.#begin(notice);
    else if (notice.ringcast === "uncaught") this.#pump.fail(errorOf(notice.error), "uncaught");
  }

  #begin({ number, status, fields, close, length, delivery, port }: Beginning): void {
    const job = this.#numbers.get(number);
    let begun = false;
    try {
      begun =
        job !== undefined &&
        this.#isWanted(job) &&
        this.#pump.responder.streamBegin(
          job.peer,
          job.response.request,
          status,
          fields,
          close,
          length,
          delivery,
        );
    } catch (thrown) {
      // Its fields exceed the size that can be sent.
      if (job) this.#fail(job, toError(thrown));
    }
    if (!job || !begun) {
      port.close();
      return;
    }
    job.port = port;
    if (delivery === "asked" && !this.#pump.responder.isBare) this.#supply(job, port);
    else this.#receive(job, port);
    // A port that closes before the end means that its thread has ended.
    port.on("close", () => {
      if (this.#numbers.get(number) === job) {
        this.#fail(job, new Error("the pool's thread ended before its response was complete"));
      }
    });
  }

  /** Receives the pieces of a response that its thread pushes. */
  #receive(job: Job, port: PiecePort): void {
    const lane = this.#laneOf(job);
    job.lane = lane;
    this.#ports.set(lane, port);
    port.on("message", (piece) => this.#take(job, lane, piece as Piece));
  }

  /** Supplies the body of a response, whose pieces its thread is asked for. */
  #supply(job: Job, port: PiecePort): void {
    const source = new RemoteSource((bytes) => port.postMessage(bytes));
    job.source = source;
    port.on("message", (message) => {
      const piece = message as Piece;
      if (piece === "end") source.end();
      else if (piece === "break") this.#break(job);
      else source.push(toBytes(piece));
    });
    this.#pump.responder.supply(job.peer, source).then(
      (isWhole) => {
        if (isWhole) this.#complete(job);
      },
      (thrown: unknown) => this.#fail(job, toError(thrown)),
    );
  }

  /** Ends a response whose pieces are all queued or sent. */
  #complete(job: Job): void {
    const isWanted = this.#isWanted(job);
    this.#forget(job);
    if (isWanted) this.#pump.responder.streamEnd(job.peer, job.response.request);
  }

  /** Ends a response that its thread breaks off. */
  #break(job: Job): void {
    this.#forget(job);
    this.#pump.terminate(job.peer, CloseReason.HandlerError);
  }

  #laneOf({ peer, response }: Job): Lane {
    const lane: Lane = new Lane(peer, (bytes): Fate => {
      if (peer.dead || peer.response !== response) return "gone";
      if (this.#pump.responder.streamWrite(peer, bytes)) return "sent";
      void response.stalled().then(() => lane.flush());
      return "full";
    });
    return lane;
  }

  #take(job: Job, lane: Lane, piece: Piece): void {
    if (piece === "end") {
      lane.afterKept(() => this.#complete(job));
    } else if (piece === "break") {
      this.#break(job);
    } else {
      lane.take(toBytes(piece), 0);
      if (lane.pendingBytes >= this.#quarter) this.#watched.add(lane);
    }
  }

  /** Ends the turn: reports to threads the bytes that have left. */
  readonly turned = (): void => {
    for (const lane of this.#watched) {
      const free = lane.settle(this.#pump.engine.backlog(lane.peer.slot), this.#quarter);
      if (free > 0) this.#ports.get(lane)?.postMessage(free);
      if (lane.pendingBytes < this.#quarter) this.#watched.delete(lane);
    }
  };
}
