// A thread of the pool. It imports the handler module and runs its `request` for one task at a time.
//
// Invariant: a task gives one outcome that can be cloned, whatever the handler does. Apart from outcomes and notices,
// only the pieces of a streamed response leave the thread, through a port of their own.

import { AsyncLocalStorage } from "node:async_hooks";
import { MessageChannel, type MessagePort, parentPort, workerData } from "node:worker_threads";
import { move, transferableSymbol, valueSymbol } from "piscina";
import { Credit } from "../../host/shared/message/credit";
import { Grant } from "../../host/shared/message/grant";
import type { Payload } from "../../host/shared/message/data";
import type { Handler, HandlerServer, StaticBody } from "../../host/handler";
import type { Delivery } from "../../host/shared/request/pieces";
import { OwnRequest } from "../../host/shared/request/request";
import { Answering, type Field, type Upgrade, checkBody } from "../../host/shared/request/response";
import { type ErrorData, describe, whenSettled } from "../../host/shared/result";
import { byteLength, toBytes } from "../../host/shared/text/text";
import { PIECE_COST } from "../../host/shared/message/wire";
import { loadHandler } from "../control/load";
import type { Outcome, Piece, Task, ThreadData, ThreadNotice } from "../place/task";
import { watchUncaught } from "./uncaught";

const { backlog, pages, protocols } = workerData as ThreadData;

// Streamed responses begin through the thread's own port. The handler can reach that port too, so it must not close it.
if (parentPort) parentPort.close = () => undefined;

function tell(notice: ThreadNotice, transfer?: MessagePort[]): void {
  parentPort?.postMessage(notice, transfer);
}

/** The request that the current code runs for. @param thrown an uncaught error of its handler */
interface Scope {
  response: ThreadResponse;
  fail: (thrown: unknown) => void;
}

const scopes = new AsyncLocalStorage<Scope>();

watchUncaught({
  look: () => undefined,
  report(thrown) {
    const scope = scopes.getStore();
    // A handler may wait only for the operation that failed, and would otherwise wait for ever.
    if (scope && !scope.response.isOver && !scope.response.sent) scope.fail(thrown);
    else tell({ ringcast: "uncaught", error: describe(thrown) });
  },
});

type Asked = Exclude<Task, { load: string }>;

class ThreadRequest extends OwnRequest {
  static override readonly name = "Request";

  constructor({ id, remoteAddress, peerCertificate, head, bytes }: Asked) {
    // Slices of a Buffer are the fast ones. The memory belongs to the task.
    super([id, remoteAddress, peerCertificate], head, Buffer.from(bytes.buffer));
  }
}

/** A static body in this thread. It is sent as a copy. */
class ThreadBody implements StaticBody {
  static readonly name = "StaticBody";
  readonly bytes: Uint8Array;
  readonly type: string;

  constructor(bytes: Uint8Array, type: string) {
    this.bytes = bytes;
    this.type = type;
  }

  get length(): number {
    return this.bytes.length;
  }
}

class ThreadResponse extends Answering {
  static override readonly name = "Response";
  override readonly request: ThreadRequest;
  readonly #number: number;
  readonly #credit = new Credit(backlog);
  /** Bytes of a body that the worker asks for; undefined for one that is pushed. */
  #grant: Grant | undefined;
  #port: MessagePort | undefined;
  #broken = false;
  /** True when the task has its outcome. */
  isOver = false;
  /** The outcome so far; undefined until the handler responds. */
  outcome: Outcome | undefined;
  /** The first error that was thrown; it is reported with the outcome. */
  error: ErrorData | undefined;
  /** True when a response that has begun cannot be completed. */
  isFailed = false;

  constructor(request: ThreadRequest, number: number) {
    super();
    this.request = request;
    this.#number = number;
  }

  // A client that disconnects ends the thread, so only a broken port counts here.
  protected override get gone(): boolean {
    return this.#broken;
  }

  protected override hasPage(status: number): boolean {
    return pages.includes(status);
  }

  protected override get protocolNames(): readonly string[] {
    return protocols;
  }

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

  protected override isOwn(body: StaticBody): boolean {
    return body instanceof ThreadBody;
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
    const { port1, port2 } = new MessageChannel();
    const number = this.#number;
    const limit = delivery === "asked" ? new Grant() : undefined;
    this.#grant = limit;
    const begin = { ringcast: "begin", number, status, fields, close, length, delivery } as const;
    tell({ ...begin, port: port2 }, [port2]);
    port1.on("message", (bytes: number) => {
      if ((limit ?? this.#credit).give(bytes)) this.wake();
    });
    // The worker accepts no more pieces, because the client has gone or the response could not begin.
    port1.on("close", () => {
      this.#broken = true;
      this.lose();
    });
    this.#port = port1;
    this.outcome = { kind: "streamed" };
    return true;
  }

  #post(piece: Piece): void {
    this.#port?.postMessage(piece);
  }

  protected override streamWrite(data: Payload): boolean {
    const credit = this.#credit;
    const grant = this.#grant;
    if (!grant && credit.isSpent) {
      credit.refused = true;
      return false;
    }
    // The piece belongs to the caller, so it is cloned. The copy prevents cloning all of the memory that it is a view
    // of.
    const piece = typeof data === "string" ? toBytes(data) : new Uint8Array(data);
    if (piece.length === 0) return true;
    if (grant) {
      if (!grant.allows(piece.length)) return false;
      grant.take(piece.length);
    } else {
      credit.used += piece.length + PIECE_COST;
    }
    this.#post(piece);
    return true;
  }

  protected override streamEnd(): void {
    this.#post("end");
  }

  protected override streamLeave(): void {
    this.#post("break");
    this.#broken = true;
  }

  override failed(thrown: unknown): void {
    if (!this.isNews(thrown) || this.answerFault(thrown)) return;
    this.error ??= describe(thrown);
    if (!this.streaming) return;
    this.isFailed = true;
    this.#broken = true;
    this.lose();
  }

  protected override accept(upgrade: Upgrade): boolean {
    // A value that cannot be cloned throws here, inside the handler's call.
    this.outcome = { kind: "upgrade", ...upgrade, data: structuredClone(upgrade.data) };
    return true;
  }
}

/** Rejects a call that needs the connections, which a pool's thread does not have. */
function elsewhere(name: string): never {
  throw new Error(
    `${name}: a pool's thread only handles requests; publish from the application, or from the events of WebSockets`,
  );
}

/** The server as a handler in a thread sees it. */
const server: HandlerServer = {
  broadcast: () => elsewhere("broadcast"),
  publish: () => elsewhere("publish"),
  subscribe: () => elsewhere("subscribe"),
  unsubscribe: () => elsewhere("unsubscribe"),
  subscriberCount: () => elsewhere("subscriberCount"),
  position: () => elsewhere("position"),
  send: () => elsewhere("send"),
  stage: () => elsewhere("stage"),
  each: () => elsewhere("each"),
  count: () => elsewhere("count"),
  stats: () => elsewhere("stats"),
  metrics: () => elsewhere("metrics"),
  ready: () => elsewhere("ready"),
  body(data, type) {
    const body = checkBody(data);
    return new ThreadBody(typeof body === "string" ? toBytes(body) : new Uint8Array(body), type);
  },
};

/** URL of the current handler module, and its import. */
let current = "";
let loading: Promise<Handler> | undefined;

/** Returns the handler. It is imported once for each URL. */
function loaded(url: string): Promise<Handler> {
  if (!loading || url !== current) {
    current = url;
    loading = loadHandler(url, server);
  }
  return loading;
}

/** Runs a request's handler. @throws the error that it throws, or an uncaught error of code that it started */
function within(response: ThreadResponse, run: () => unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    scopes.run({ response, fail: reject }, () => whenSettled(run(), resolve, reject));
  });
}

async function handle(task: Asked): Promise<Outcome> {
  const handler = await loaded(task.handler);
  const response = new ThreadResponse(new ThreadRequest(task), task.number);
  try {
    await within(response, () => handler.request?.(response.request, response));
  } catch (thrown) {
    response.failed(thrown);
  }
  response.isOver = true;
  const { outcome, sent, request, isFailed, error } = response;
  request.settled();
  request.answered();
  if (sent && outcome && !isFailed) return error ? { ...outcome, error } : outcome;
  return {
    kind: "failed",
    error: error ?? describe(new Error("the handler settled without an answer")),
  };
}

/** Length (bytes) from which on a text is encoded here instead of in the worker. */
const LARGE = 65536;

/** Marks a body's memory to be transferred instead of copied. */
function movable(outcome: Outcome): unknown {
  if (outcome.kind !== "answer") return outcome;
  const { body } = outcome;
  if (typeof body === "string" && (body.length < LARGE || byteLength(body) < LARGE)) return outcome;
  const bytes = toBytes(body);
  const value = { ...outcome, body: bytes };
  return move({
    [transferableSymbol]: bytes.buffer,
    [valueSymbol]: value,
  } as unknown as Parameters<typeof move>[0]);
}

/** Runs a task for Piscina. */
export default async function run(task: Task): Promise<unknown> {
  try {
    if ("load" in task) {
      await loaded(task.load);
      return { kind: "loaded" } satisfies Outcome;
    }
    return movable(await handle(task));
  } catch (thrown) {
    return { kind: "failed", error: describe(thrown) } satisfies Outcome;
  }
}
