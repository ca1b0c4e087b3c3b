// A handler on the application's thread. It turns batches of events into calls of the handler, one after the other for
// each connection.
//
// Invariant: the bytes of an event count as handled once, when its call has returned, or for messages when the result
// has settled (`ordered`). A request counts as pending until it is answered. The worker bounds both.

import type {
  CloseInfo,
  Connection,
  Data,
  FragmentInfo,
  Handler,
  PublishOptions,
  Request,
  StaticBody,
  WebSocket,
} from "../handler";
import { CLOSE_TABLE } from "../shared/close";
import { RemoteBody, RemoteRequest, RemoteResponse } from "./exchange";
import { greetingOf } from "../shared/message/gap";
import type { InboxWriter } from "../send/inbox-writer";
import { MEMBERS, checkHandler } from "../shared/members";
import { Outlet } from "./outlet";
import { isNews } from "../shared/message/stream";
import { Order } from "../shared/order";
import { isThenable, toError, whenSettled } from "../shared/result";
import { checkBody } from "../shared/request/response";
import { RemoteSocket } from "./socket";
import { copyBytes, latin1, toBytes, utf8, viewOf } from "../shared/text/text";
import { nextTurn } from "../shared/turn";
import {
  CLOSE_BYTES,
  type Event,
  HANDLED_BYTES,
  HANDLED_ERRORS,
  HANDLED_REQUESTS,
  HANDLED_WAITING,
  Op,
  TAKEN_BATCHES,
  TAKEN_WAITING,
  MESSAGE_BINARY,
  MESSAGE_FIRST,
  MESSAGE_LAST,
  BatchEvent,
  laneBytes,
  readBatch,
  wordAt,
} from "../shared/message/wire";

const NOTHING = new Uint8Array(0);

/** Returns the members of a handler as bits. @throws TypeError when one is not a function */
export function membersOf(handler: Handler): number {
  checkHandler(handler);
  let members = 0;
  MEMBERS.forEach((name, bit) => {
    if (handler[name]) members |= 1 << bit;
  });
  const { streams } = handler;
  if (streams && !(typeof streams === "function" && streams.optional)) {
    throw new TypeError(
      "handler.streams: bodies can be streamed only when the handler is a module",
    );
  }
  return members;
}

interface ApplicationOptions {
  readonly inbox: InboxWriter;
  readonly ordered: boolean;
  /** Bytes that may be in flight to one client. */
  readonly backlog: number;
  /** Bytes of all clients' queues together. Default: no limit is known. */
  readonly replyBytes?: number;
  /** Statuses that have an error page. Default: none. */
  readonly pages?: readonly number[];
  /** Names of the subprotocols that have modules. Default: none. */
  readonly protocols?: readonly string[];
  readonly publish: (topic: string, data: Data, options: PublishOptions) => boolean;
  /** Bytes of unhandled events, beyond which the worker sends no more. */
  readonly pendingBytes: number;
  /** Time in ms for which `close` waits for the messages before it. */
  readonly closeTimeout: number;
  /** Called with errors of the handler. */
  readonly failed: (error: Error, where: string) => void;
  /** Calls `fn` in `ms`. Default: with a timer that does not keep the process alive. */
  readonly after?: (ms: number, fn: () => void) => void;
  /** Calls `fn` in the next turn of the event loop, before which timers run. Default: `setImmediate` or the like. */
  readonly soon?: (fn: () => void) => void;
}

function afterTimer(ms: number, fn: () => void): void {
  const timer = setTimeout(fn, ms) as unknown as { unref?(): void };
  timer.unref?.();
}

export class Application {
  readonly outlet: Outlet;
  readonly backlog: number;
  readonly replyBytes: number;
  readonly pages: ReadonlySet<number>;
  readonly protocols: readonly string[];
  readonly laneBytes: number;
  readonly publish: ApplicationOptions["publish"];
  readonly #inbox: InboxWriter;
  readonly #order: Order<RemoteSocket>;
  readonly #half: number;
  readonly #failed: (error: Error, where: string) => void;
  readonly #soon: (fn: () => void) => void;
  #handler: Handler = {};
  /** Requests whose client can still leave, by connection id. */
  readonly #requests = new Map<number, RemoteResponse>();
  /** Pending upgrades, by the number of their request. */
  readonly #upgrades = new Map<number, RemoteResponse>();
  readonly #sockets = new Map<number, RemoteSocket>();
  /** HTTP connections that `connect` was called for, so that `disconnect` gets the same object. */
  readonly #connections = new Map<number, Connection>();
  /** True when the handler's `shutdown` was called for the WebSockets that were open. */
  #isStopping = false;
  #bodies = 0;
  /** Notifies the worker of static bodies that were garbage-collected, so that it releases their bytes. */
  readonly #collected = new FinalizationRegistry<number>((number) => {
    this.outlet.post(Op.Body, 0, 0, number, 1, NOTHING, NOTHING);
  });
  /** Batches taken in completed turns, and batches taken in this turn of the event loop. */
  #taken = 0;
  #takenNow = 0;
  /** Bytes of events received, bytes of events handled, and requests handled. All wrap at 2^32. */
  #came = 0;
  #handled = 0;
  #handledRequests = 0;
  errors = 0;

  constructor(options: ApplicationOptions) {
    this.#inbox = options.inbox;
    this.outlet = new Outlet(options.inbox);
    this.publish = options.publish;
    this.backlog = options.backlog;
    this.replyBytes = options.replyBytes ?? Number.POSITIVE_INFINITY;
    this.pages = new Set(options.pages);
    this.protocols = options.protocols ?? [];
    this.laneBytes = laneBytes(options.pendingBytes);
    this.#half = options.pendingBytes / 2;
    const { ordered } = options;
    this.#order = new Order({
      isOrdered: () => ordered,
      block: (ws) => {
        ws.queue ??= [];
      },
      settled: (ws, size) => {
        this.#handledMessage(ws, size);
        this.#next(ws);
      },
      failed: (ws, where, thrown) => this.abandon(ws, where, thrown),
      afterClose: (fn) => (options.after ?? afterTimer)(options.closeTimeout, fn),
    });
    this.#failed = options.failed;
    this.#soon = options.soon ?? nextTurn;
  }

  /** Sets the handler. @returns the bits of its members @throws TypeError when it is not a handler */
  setHandler(handler: Handler): number {
    const members = membersOf(handler);
    this.#handler = handler;
    if (!handler.disconnect) this.#connections.clear();
    return members;
  }

  /** Numbers of requests, pending upgrades, WebSockets and connections that are kept for clients. */
  get kept(): { requests: number; upgrades: number; sockets: number; connections: number } {
    return {
      requests: this.#requests.size,
      upgrades: this.#upgrades.size,
      sockets: this.#sockets.size,
      connections: this.#connections.size,
    };
  }

  // ---- what the handler sees of the server ---------------------------------------------------------------

  socket(id: number): RemoteSocket | undefined {
    return this.#sockets.get(id);
  }

  each(fn: (ws: WebSocket) => void): void {
    for (const ws of [...this.#sockets.values()]) if (ws.open) fn(ws);
  }

  count(): number {
    let count = 0;
    for (const ws of this.#sockets.values()) if (ws.open) count++;
    return count;
  }

  subscriberCount(topic: string): number {
    let count = 0;
    for (const ws of this.#sockets.values()) if (ws.isSubscribed(topic)) count++;
    return count;
  }

  body(data: Data, type: string): StaticBody {
    const payload = checkBody(data);
    const bytes = typeof payload === "string" ? toBytes(payload) : new Uint8Array(payload);
    const body = new RemoteBody(this, this.#bodies++, type, bytes.length);
    this.#collected.register(body, body.number);
    this.outlet.post(Op.Body, 0, 0, body.number, 0, toBytes(type), bytes);
    return body;
  }

  // ---- counting ----------------------------------------------------------------------------------------

  #count(bytes: number): void {
    this.#handled = (this.#handled + bytes) >>> 0;
    const { words } = this.#inbox;
    Atomics.store(words, HANDLED_BYTES, this.#handled | 0);
    if (
      Atomics.load(words, HANDLED_WAITING) === 1 &&
      (this.#came - this.#handled) >>> 0 <= this.#half &&
      Atomics.compareExchange(words, HANDLED_WAITING, 1, 0) === 1
    ) {
      this.#inbox.wake();
    }
  }

  handledRequest(): void {
    this.#handledRequests = (this.#handledRequests + 1) >>> 0;
    Atomics.store(this.#inbox.words, HANDLED_REQUESTS, this.#handledRequests | 0);
  }

  #handledMessage(ws: RemoteSocket, bytes: number): void {
    this.#count(bytes);
    ws.handled(bytes);
  }

  // ---- events ------------------------------------------------------------------------------------------

  /** Handles a batch of events. */
  hear(batch: ArrayBuffer): void {
    const bytes = viewOf(batch);
    // Counts the whole batch as received, because it takes memory here before it is handled.
    readBatch(batch, (_, size) => {
      this.#came = (this.#came + size) >>> 0;
    });
    readBatch(batch, (event, size) => this.#tell(event, size, bytes));
    this.#takenNow++;
    if (this.#takenNow === 1) this.#soon(() => this.#acknowledge());
  }

  /** Notes the end of a turn of the event loop: its batches no longer count as in flight. */
  #acknowledge(): void {
    const { words } = this.#inbox;
    this.#taken = (this.#taken + this.#takenNow) >>> 0;
    this.#takenNow = 0;
    Atomics.store(words, TAKEN_BATCHES, this.#taken | 0);
    if (
      Atomics.load(words, TAKEN_WAITING) === 1 &&
      Atomics.compareExchange(words, TAKEN_WAITING, 1, 0) === 1
    ) {
      this.#inbox.wake();
    }
  }

  #tell(event: Event, size: number, bytes: Uint8Array): void {
    switch (event.kind) {
      case BatchEvent.Request:
        this.#request(event, bytes);
        break;
      case BatchEvent.Message:
      case BatchEvent.Fragment:
      case BatchEvent.Ping:
      case BatchEvent.Pong:
        this.#inbound(event, size, bytes);
        return;
      case BatchEvent.Gone:
        this.#gone(event, bytes);
        break;
      case BatchEvent.Open:
        this.#open(event, bytes);
        break;
      case BatchEvent.Connect:
        this.#connect(event, bytes);
        break;
      case BatchEvent.Disconnect:
        this.#disconnect(event, bytes);
        break;
      case BatchEvent.Room: {
        const ws = this.#sockets.get(event.id);
        const { value, at } = event;
        if (ws?.left(value, wordAt(bytes, at), wordAt(bytes, at + 4))) this.drained(ws);
        break;
      }
      case BatchEvent.AnswerRoom:
        this.#requests.get(event.id)?.left(event.value);
        break;
      case BatchEvent.Close:
        this.#close(event, bytes);
        break;
      case BatchEvent.Shutdown: {
        const ws = this.#sockets.get(event.id);
        if (ws?.open) this.#guard("shutdown", () => this.#handler.shutdown?.(ws));
        // A WebSocket that the handler has closed itself needs no other Close frame.
        if (ws?.open) ws.leave();
        break;
      }
      case BatchEvent.EndWaits: {
        const ws = this.#sockets.get(event.id);
        if (ws?.queue) ws.queue.push(() => ws.caughtUp());
        else ws?.caughtUp();
        break;
      }
      case BatchEvent.HalfClosed: {
        const response = this.#requests.get(event.id);
        if (response?.number === event.value) response.clientEnded();
        break;
      }
      default:
        break;
    }
    this.#count(size);
  }

  /** Calls user code, and reports what it throws or rejects with. */
  #guard(where: string, fn: () => unknown): void {
    try {
      const result = fn();
      if (isThenable(result)) whenSettled(result, undefined, (thrown) => this.#fail(thrown, where));
    } catch (thrown) {
      this.#fail(thrown, where);
    }
  }

  #fail(thrown: unknown, where: string): void {
    this.errors++;
    Atomics.store(this.#inbox.words, HANDLED_ERRORS, this.errors | 0);
    this.#failed(toError(thrown), where);
  }

  #request(event: Event, bytes: Uint8Array): void {
    const request = new RemoteRequest(event.id, bytes, event.at, event.at + event.length);
    const response = new RemoteResponse(this, request, event);
    this.#requests.set(request.id, response);
    const failed = (thrown: unknown): void => {
      request.settled();
      response.failed(thrown);
    };
    let result: unknown;
    try {
      result = this.#handler.request?.(request, response);
    } catch (thrown) {
      failed(thrown);
    }
    if (!isThenable(result)) {
      request.settled();
      return;
    }
    const settled = (): void => {
      request.settled();
      if (!response.sent) failed(new Error("the handler settled without an answer"));
    };
    whenSettled(result, settled, failed);
  }

  /** Reports what a request's handler threw, and fails the response. */
  failRequest(response: RemoteResponse, thrown: unknown): void {
    if (!response.isNews(thrown) || response.answerFault(thrown)) return;
    this.#fail(thrown, "request");
    response.fail();
  }

  /** Forgets a response that needs no further events of its client. */
  forget(response: RemoteResponse): void {
    const { id } = response.request;
    if (this.#requests.get(id) === response) this.#requests.delete(id);
  }

  /** Returns the subprotocol for an upgrade that names none; "" when the handler does not choose one. */
  chooseProtocol(request: Request): string {
    const chosen = this.#handler.protocol?.(request) ?? "";
    if (chosen !== "" && !request.protocols.includes(chosen)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(chosen)}`);
    }
    return chosen;
  }

  /** Notes that a request is becoming a WebSocket. */
  upgrading(response: RemoteResponse): void {
    this.#upgrades.set(response.number, response);
  }

  #gone(event: Event, bytes: Uint8Array): void {
    const response = this.#requests.get(event.id);
    if (response?.number === event.value) response.leave();
    const upgrade = this.#upgrades.get(event.value);
    if (!upgrade) return;
    // `close` is called, so that the user can release the WebSocket's data as after any other end.
    this.#upgrades.delete(event.value);
    const { remoteAddress } = upgrade.request;
    const ws = new RemoteSocket(this, event.id, "", remoteAddress, upgrade.data);
    if (upgrade.topics) ws.kind = "events";
    ws.ended();
    const cause = latin1(bytes, event.at, event.length) as keyof typeof CLOSE_TABLE;
    const info = { code: 1006, reason: CLOSE_TABLE[cause].text, cause, lagBytes: 0 };
    this.#guard("close", () => this.#handler.close?.(ws, info));
  }

  #connect(event: Event, bytes: Uint8Array): void {
    const remoteAddress = latin1(bytes, event.at, event.length);
    const connection = { id: event.id, remoteAddress };
    // Without `disconnect` the worker does not report the end of a connection.
    if (this.#handler.disconnect) this.#connections.set(connection.id, connection);
    this.#guard("connect", () => this.#handler.connect?.(connection));
  }

  /** Returns code, cause and reason of an end, and the address that follows them. */
  #endOf(event: Event, bytes: Uint8Array): { info: CloseInfo; address: string } {
    const { at, length } = event;
    const causeLength = bytes[at + 8] as number;
    const addressLength = bytes[at + 9] as number;
    const address = at + CLOSE_BYTES + causeLength;
    const reason = address + addressLength;
    const info = {
      code: wordAt(bytes, at),
      reason: utf8(bytes, reason, at + length - reason),
      cause: latin1(bytes, at + CLOSE_BYTES, causeLength) as CloseInfo["cause"],
      lagBytes: wordAt(bytes, at + 4),
    };
    return { info, address: latin1(bytes, address, addressLength) };
  }

  #disconnect(event: Event, bytes: Uint8Array): void {
    const { id } = event;
    const { info, address } = this.#endOf(event, bytes);
    const connection = this.#connections.get(id) ?? { id, remoteAddress: address };
    this.#connections.delete(id);
    this.#guard("disconnect", () => this.#handler.disconnect?.(connection, info));
  }

  #open(event: Event, bytes: Uint8Array): void {
    const response = this.#upgrades.get(event.value);
    if (!response) return;
    this.#upgrades.delete(event.value);
    this.#connections.delete(response.request.id);
    const isKept = event.flags > 0;
    const text = utf8(bytes, event.at, event.length);
    const protocol = isKept ? "" : text;
    const { remoteAddress } = response.request;
    const { topics } = response;
    const ws = new RemoteSocket(this, event.id, protocol, remoteAddress, response.data);
    if (topics) ws.kind = "events";
    this.#sockets.set(ws.id, ws);
    if (isKept) ws.greeted(greetingOf(event.flags - 1, text), topics ?? []);
    else for (const topic of topics ?? []) ws.subscribe(topic);
    this.#tellOpen(ws, isKept);
    // A WebSocket that opened after `shutdown` was called for the others gets its own call.
    if (this.#isStopping && ws.open) this.#guard("shutdown", () => this.#handler.shutdown?.(ws));
  }

  /** @param isKept it is an event stream with history */
  #tellOpen(ws: RemoteSocket, isKept: boolean): void {
    if (!this.#handler.open) return;
    const failed = (thrown: unknown): void => {
      // A stream whose opening failed ends before anything published is sent to it.
      if (!isKept) ws.opened();
      this.abandon(ws, "open", thrown);
      if (isKept) ws.opened();
    };
    if (isKept) ws.begun();
    try {
      const result: unknown = this.#handler.open(ws);
      if (isThenable(result)) whenSettled(result, () => ws.opened(), failed);
      else ws.opened();
    } catch (thrown) {
      failed(thrown);
    }
  }

  /** Handles a client's frame: at once, or after the message that is being handled, or when the pause is over. */
  #inbound(event: Event, size: number, bytes: Uint8Array): void {
    const ws = this.#sockets.get(event.id);
    if (!ws) {
      this.#count(size);
      return;
    }
    const { kind, flags, value, at, length } = event;
    let uncounted = size;
    if (ws.isPaused) {
      // While paused, only this client's own lane is held back, and other clients' messages are not.
      this.#count(size);
      uncounted = 0;
      ws.queue ??= [];
      ws.queue.push(() => ws.handled(size));
    }
    const isBinary = (flags & MESSAGE_BINARY) !== 0;
    if (kind === BatchEvent.Message) {
      const data = isBinary ? copyBytes(bytes, at, length) : utf8(bytes, at, length);
      if (ws.queue) ws.queue.push(() => this.#message(ws, data, isBinary, uncounted));
      else this.#message(ws, data, isBinary, size);
      return;
    }
    const data = copyBytes(bytes, at, length);
    const first = (flags & MESSAGE_FIRST) !== 0;
    const last = (flags & MESSAGE_LAST) !== 0;
    const tell = (): void => {
      if (kind === BatchEvent.Fragment)
        this.#fragment(ws, data, { first, last, isBinary, remaining: value }, uncounted);
      else this.#control(ws, kind === BatchEvent.Ping ? "ping" : "pong", data, uncounted);
    };
    if (ws.queue) ws.queue.push(tell);
    else tell();
  }

  #message(ws: RemoteSocket, data: string | Uint8Array, isBinary: boolean, size: number): void {
    let result: unknown;
    try {
      if (!ws.isDeaf) result = this.#handler.message?.(ws, data, isBinary);
    } catch (thrown) {
      this.abandon(ws, "message", thrown);
    }
    this.#settle(ws, "message", result, size);
  }

  #fragment(ws: RemoteSocket, data: Uint8Array, info: FragmentInfo, size: number): void {
    let result: unknown;
    try {
      if (!ws.isDeaf) result = this.#handler.fragment?.(ws, data, info);
    } catch (thrown) {
      this.abandon(ws, "fragment", thrown);
    }
    this.#settle(ws, "fragment", result, size);
  }

  #control(ws: RemoteSocket, name: "ping" | "pong", data: Uint8Array, size: number): void {
    let result: unknown;
    try {
      if (!ws.isDeaf) result = this.#handler[name]?.(ws, data);
    } catch (thrown) {
      this.abandon(ws, name, thrown);
    }
    this.#settle(ws, name, result, size);
  }

  /** Reports an error of a WebSocket's handler, and closes the WebSocket with 1011. */
  abandon(ws: RemoteSocket, where: string, thrown: unknown): void {
    if (isNews(ws, thrown)) this.#fail(thrown, where);
    ws.abandon();
  }

  /** Counts a message as handled when its result has settled. Until then the connection's next message waits. */
  #settle(ws: RemoteSocket, where: string, result: unknown, size: number): void {
    if (!this.#order.settle(ws, where, result, size)) this.#handledMessage(ws, size);
  }

  /** Handles the queued events, until a handler is pending or the WebSocket is paused. */
  #next(ws: RemoteSocket): void {
    const queue = ws.queue ?? [];
    while (!ws.skip && !ws.isPaused && queue.length > 0) queue.shift()?.();
    if (ws.skip || queue.length > 0) return;
    ws.queue = undefined;
    this.#order.caughtUp(ws);
  }

  /** Continues with the messages of a WebSocket that was resumed, but not from within the handler's call. */
  resumed(ws: RemoteSocket): void {
    queueMicrotask(() => this.#next(ws));
  }

  /** Calls `drain`, because there is room again after a send was refused. */
  drained(ws: RemoteSocket): void {
    if (ws.open) this.#guard("drain", () => this.#handler.drain?.(ws));
  }

  #close(event: Event, bytes: Uint8Array): void {
    const ws = this.#sockets.get(event.id);
    if (!ws) return;
    const { info } = this.#endOf(event, bytes);
    ws.ended();
    this.#sockets.delete(ws.id);
    const tell = (): void => this.#guard("close", () => this.#handler.close?.(ws, info));
    // `close` comes after the messages that are still to be handled.
    if (ws.queue) ws.queue.push(tell);
    else tell();
    this.#next(ws);
    if (ws.queue) this.#order.awaitEnd(ws);
  }

  // ---- the end -----------------------------------------------------------------------------------------

  /** Calls the handler's `shutdown` for each open WebSocket, before their Close frames. */
  shutdown(): void {
    this.#isStopping = true;
    this.each((ws) => this.#guard("shutdown", () => this.#handler.shutdown?.(ws)));
  }

  /** Ends all waiting, because the worker has ended. */
  end(): void {
    this.outlet.end();
    for (const response of [...this.#requests.values()]) response.leave();
    for (const ws of this.#sockets.values()) ws.ended();
    this.#order.stop();
    this.#sockets.clear();
    this.#upgrades.clear();
    this.#connections.clear();
  }
}
