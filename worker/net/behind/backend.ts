// Requests to the server behind a proxy mount, by node:http.
//
// Invariant: a request is answered, upgraded or failed once. Its connection is destroyed when the client leaves.

import * as http from "node:http";
import * as https from "node:https";
import type { Duplex } from "node:stream";
import type {
  Backend,
  BackendAnswer,
  BackendRequest,
  BackendSettings,
  RawField,
  UpstreamSink,
} from "../transport";
import { streamUpstream } from "./upstream";

/** Time (ms) for which an idle connection is kept: less than the 5 s of node:http. */
const KEPT_MILLIS = 4000;
/** Bytes of a head of the backend at most. */
const HEAD_BYTES = 65536;
/** Methods that may be sent again, because a second request has no other effect (RFC 9110 9.2.2). */
const AGAIN = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);
/** Codes of a connection that was closed while it was idle. */
const STALE = new Set(["ECONNRESET", "EPIPE"]);

function pairsOf(raw: readonly string[]): RawField[] {
  const pairs: RawField[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([raw[i] as string, raw[i + 1] as string]);
  return pairs;
}

/** Returns the head of a response, without the line that ends it. */
function headOf({ statusCode, rawHeaders }: http.IncomingMessage): BackendAnswer["head"] {
  return { status: statusCode ?? 0, fields: pairsOf(rawHeaders) };
}

class HttpBackend implements Backend {
  readonly #where: http.RequestOptions;
  readonly #secure: boolean;
  readonly #timeout: number;
  readonly #agent: http.Agent;

  constructor({ address, secure, timeout, kept }: BackendSettings) {
    const options = { keepAlive: true, maxFreeSockets: kept, timeout: KEPT_MILLIS };
    this.#where = "path" in address ? { socketPath: address.path } : address;
    this.#secure = secure;
    this.#timeout = timeout;
    this.#agent = secure ? new https.Agent(options) : new http.Agent(options);
  }

  async ask(request: BackendRequest): Promise<BackendAnswer> {
    try {
      return await this.#ask(request);
    } catch (thrown) {
      const { code, isReused } = thrown as NodeJS.ErrnoException & { isReused?: boolean };
      const isAgain = request.body === undefined && AGAIN.has(request.method) && !request.upgrades;
      // The backend closed an idle connection while the request was on its way.
      if (!isReused || !isAgain || !STALE.has(code ?? "") || request.signal.aborted) throw thrown;
      return this.#ask({ ...request, isFresh: true });
    }
  }

  #ask(request: BackendRequest): Promise<BackendAnswer> {
    const { method, target, fields, body, upgrades, signal, isFresh } = request;
    return new Promise((resolve, reject) => {
      const sent = (this.#secure ? https : http).request({
        ...this.#where,
        ...{ method, path: target, signal, maxHeaderSize: HEAD_BYTES, setHost: false },
        agent: upgrades || isFresh ? false : this.#agent,
        headers: fields.flat(),
        timeout: this.#timeout,
      });
      sent.on("timeout", () => {
        const error = new Error(`the backend sent nothing for ${this.#timeout} ms`);
        sent.destroy(Object.assign(error, { code: "ETIMEDOUT" }));
      });
      sent.on("error", (error) => {
        reject(Object.assign(error, { isReused: sent.reusedSocket }));
      });
      sent.on("response", (response) => {
        resolve({ head: headOf(response), body: response, upgraded: undefined });
      });
      sent.on("upgrade", (response, socket, first) => {
        const upgraded = (sink: UpstreamSink) => openedUpstream(socket, first, sink);
        resolve({ head: headOf(response), body: undefined, upgraded });
      });
      if (body) this.#pour(body, sent);
      else sent.end();
    });
  }

  /** Sends the body of a request as the backend takes it. */
  #pour(body: AsyncIterable<Uint8Array>, sent: http.ClientRequest): void {
    const pour = async (): Promise<void> => {
      for await (const piece of body) {
        if (sent.destroyed) return;
        if (!sent.write(piece)) await drained(sent);
      }
      sent.end();
    };
    pour().catch((thrown: Error) => sent.destroy(thrown));
  }
}

/** Waits until a request takes more bytes, or has ended. */
function drained(sent: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      sent.off("drain", done);
      sent.off("close", done);
      resolve();
    };
    sent.on("drain", done);
    sent.on("close", done);
  });
}

/** Returns the upstream of a connection that is open. @param first bytes that have arrived */
function openedUpstream(socket: Duplex, first: Uint8Array, sink: UpstreamSink) {
  const upstream = streamUpstream(socket, sink);
  queueMicrotask(() => {
    sink.opened();
    if (first.length > 0) sink.received(first);
  });
  return upstream;
}

/** Returns the server that a mount passes requests to. */
export function httpBackend(settings: BackendSettings): Backend {
  return new HttpBackend(settings);
}
