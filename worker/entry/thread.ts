// A thread of the pool: it imports the handler module and runs its `request` for one task at a time.
//
// Invariant: a task gives one outcome that can be cloned, whatever the handler did; nothing else leaves the
// thread but the pieces of an answer, through a port of their own.

import { AsyncLocalStorage } from "node:async_hooks";
import { MessageChannel, type MessagePort, parentPort, workerData } from "node:worker_threads";
import { move, transferableSymbol, valueSymbol } from "piscina";
import { Credit } from "../../host/shared/message/credit";
import type { Payload } from "../../host/shared/message/data";
import type { Handler, HandlerServer, StaticBody } from "../../host/handler";
import { OwnRequest } from "../../host/shared/request/request";
import { Answering, type Field, type Upgrade, checkBody } from "../../host/shared/request/response";
import { type Told, describe, whenSettled } from "../../host/shared/result";
import { byteLength, toBytes } from "../../host/shared/text/text";
import { PIECE_COST } from "../../host/shared/message/wire";
import { loadHandler } from "../control/load";
import type { Outcome, Piece, Task, ThreadData, ThreadNotice } from "../place/task";
import { watchUncaught } from "./uncaught";

const { backlog } = workerData as ThreadData;

// Answers in pieces begin through the thread's own port, which is the handler's as well: it stays open.
if (parentPort) parentPort.close = () => undefined;

function tell(notice: ThreadNotice, transfer?: MessagePort[]): void {
  parentPort?.postMessage(notice, transfer);
}

/** The request that code runs for. @param thrown an error of it that nobody caught */
interface Scope {
  response: ThreadResponse;
  fail: (thrown: unknown) => void;
}

const scopes = new AsyncLocalStorage<Scope>();

watchUncaught({
  look: () => undefined,
  report(thrown) {
    const scope = scopes.getStore();
    // One that waits for nothing but this would wait for ever.
    if (scope && !scope.response.isOver && !scope.response.sent) scope.fail(thrown);
    else tell({ ringcast: "uncaught", error: describe(thrown) });
  },
});

type Asked = Exclude<Task, { load: string }>;

class ThreadRequest extends OwnRequest {
  static override readonly name = "Request";

  constructor({ id, remoteAddress, peerCertificate, head, bytes }: Asked) {
    // A Buffer's slices are the fast ones; its memory is the task's own.
    super([id, remoteAddress, peerCertificate], head, Buffer.from(bytes.buffer));
  }
}

/** A static body in this thread: sent as a copy. */
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
  #port: MessagePort | undefined;
  #broken = false;
  /** Its task has its outcome. */
  isOver = false;
  /** What is to become of the task. */
  outcome: Outcome | undefined;
  /** What went wrong beside it. */
  error: Told | undefined;
  /** The answer that has begun is not going to be whole. */
  isFailed = false;

  constructor(request: ThreadRequest, number: number) {
    super();
    this.request = request;
    this.#number = number;
  }

  // A client that goes ends the thread.
  protected override get gone(): boolean {
    return this.#broken;
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

  protected override respondLength(
    status: number,
    fields: Field[],
    length: number,
    close: boolean,
  ): boolean {
    this.outcome = { kind: "answer", status, fields, body: "", length, close };
    return true;
  }

  protected override checkStatic(body: StaticBody): void {
    if (!(body instanceof ThreadBody))
      throw new TypeError("body: not made by this server's body()");
  }

  protected override respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean {
    return this.respond(status, fields, (body as ThreadBody).bytes, close);
  }

  protected override streamBegin(status: number, fields: Field[], close: boolean): boolean {
    const { port1, port2 } = new MessageChannel();
    const number = this.#number;
    tell({ ringcast: "begin", number, status, fields, close, port: port2 }, [port2]);
    port1.on("message", (free: number) => {
      if (this.#credit.give(free)) this.wake();
    });
    // The worker takes no more: the client has gone, or the answer could not begin.
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
    if (credit.isSpent) {
      credit.refused = true;
      return false;
    }
    // The piece is the caller's: it is cloned, which a slice of its memory is to be alone.
    const piece = typeof data === "string" ? toBytes(data) : new Uint8Array(data);
    if (piece.length === 0) return true;
    credit.used += piece.length + PIECE_COST;
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
    // What cannot be cloned throws here, where the handler sees it.
    this.outcome = { kind: "upgrade", ...upgrade, data: structuredClone(upgrade.data) };
    return true;
  }
}

/** What a thread cannot do: it does not have the connections. */
function elsewhere(name: string): never {
  throw new Error(
    `${name}: a pool's thread handles requests alone; publish from the application, or from the events of WebSockets`,
  );
}

/** The server as `request` in a thread sees it. */
const server: HandlerServer = {
  broadcast: () => elsewhere("broadcast"),
  publish: () => elsewhere("publish"),
  subscribe: () => elsewhere("subscribe"),
  unsubscribe: () => elsewhere("unsubscribe"),
  subscriberCount: () => elsewhere("subscriberCount"),
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

/** The handler module that is in use, and what it gave. */
let current = "";
let loading: Promise<Handler> | undefined;

/** The handler, imported once. */
function loaded(url: string): Promise<Handler> {
  if (!loading || url !== current) {
    current = url;
    loading = loadHandler(url, server);
  }
  return loading;
}

/** Runs a request's handler. @throws what it throws, or what is thrown in its name where nobody catches it */
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

/** A large text is encoded here rather than in the worker. */
const LARGE = 65536;

/** Lets a body's memory travel instead of being copied. */
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

/** What Piscina calls for each task. */
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
