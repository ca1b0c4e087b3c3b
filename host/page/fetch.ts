// `fetch` as pages know it (WHATWG Fetch), with requests to the engine within the page: real HTTP/1.1, over connections
// that are kept alive. All URLs count as same-origin, and there are no cookies and no cache.

import { Exchange, type Outgoing } from "./exchange";
import type { Line, LineEnd, LineUser } from "./line";
import type { Dialler } from "./session";

/** Redirects that are followed at most; a further one is a TypeError (Fetch 4.4). */
const REDIRECTS = 20;

type Fetch = typeof globalThis.fetch;

/** Sends a request that was redirected to a foreign URL; returns undefined for a URL of the server's. */
type Elsewhere = (request: Request) => Promise<Response> | undefined;

/** The user of an idle connection. */
class Idle implements LineUser {
  readonly #gone: () => void;
  isGone = false;

  constructor(gone: () => void) {
    this.#gone = gone;
  }

  read(): void {
    this.over("reset");
  }

  sent(): void {}

  over(_end: LineEnd): void {
    this.isGone = true;
    this.#gone();
  }
}

/** Methods that read the whole body. */
const READERS = ["arrayBuffer", "blob", "bytes", "formData", "json", "text"] as const;

/**
 * Makes a Response report its URL and why its body broke off, because browsers replace the error of a stream by a
 * TypeError of their own. Clones do the same.
 */
function located(
  response: Response,
  url: string,
  redirected: boolean,
  exchange: Exchange,
): Response {
  const prototype = Response.prototype as unknown as Record<string, () => Promise<unknown>>;
  for (const name of READERS) {
    const read = prototype[name];
    if (!read) continue;
    const value = (): Promise<unknown> =>
      read.call(response).catch((error: unknown) => {
        throw exchange.failure ?? error;
      });
    Object.defineProperty(response, name, { value });
  }
  Object.defineProperties(response, {
    url: { value: url },
    redirected: { value: redirected },
    type: { value: "basic" },
    clone: {
      value: () => located(Response.prototype.clone.call(response), url, redirected, exchange),
    },
  });
  return response;
}

/** Returns the response to a redirect that is not followed: an opaque one, as Fetch defines. */
function opaqueRedirect(url: string): Response {
  const response = Response.error();
  Object.defineProperties(response, { url: { value: url }, type: { value: "opaqueredirect" } });
  return response;
}

/** Returns the body of a request. Streams remain streams; everything else becomes bytes. */
async function bodyOf(request: Request, init: RequestInit | undefined): Promise<Outgoing["body"]> {
  if (!request.body) return undefined;
  if (init?.body instanceof ReadableStream) return request.body as ReadableStream<Uint8Array>;
  return new Uint8Array(await request.arrayBuffer());
}

export class Fetcher {
  readonly #dialler: Dialler;
  readonly #elsewhere: Elsewhere;
  #idle: { readonly line: Line; readonly user: Idle }[] = [];

  constructor(dialler: Dialler, elsewhere: Elsewhere) {
    this.#dialler = dialler;
    this.#elsewhere = elsewhere;
  }

  /** The standard function. Relative URLs are resolved against the server's origin. */
  readonly fetch: Fetch = async (input, init) => {
    const target = input instanceof Request ? input : new URL(input, this.#dialler.origin);
    const request = new Request(target, init);
    request.signal.throwIfAborted();
    const body = await bodyOf(request, init);
    const { method, headers, signal } = request;
    const { origin } = this.#dialler;
    let out: Outgoing = { url: new URL(request.url), method, headers, origin, body, signal };
    for (let hops = 0; ; hops++) {
      const { response, exchange } = await this.#exchange(out);
      const location = response.headers.get("location");
      const isRedirect = [301, 302, 303, 307, 308].includes(response.status);
      const [href = ""] = out.url.href.split("#");
      if (!isRedirect || location === null) return located(response, href, hops > 0, exchange);
      response.body?.cancel().catch(() => undefined);
      if (request.redirect === "manual") return opaqueRedirect(href);
      if (request.redirect === "error" || hops === REDIRECTS)
        throw new TypeError("Failed to fetch", { cause: new Error(`redirected to ${location}`) });
      out = redirected(out, response.status, location);
      const away = this.#elsewhere(requestOf(out));
      if (away) return away;
    }
  };

  async #exchange(out: Outgoing): Promise<{ response: Response; exchange: Exchange }> {
    const kept = this.#idle.pop();
    const line = kept?.line ?? this.#dialler.connect(new Idle(() => undefined));
    const exchange = new Exchange(out, line, this.#keep);
    try {
      return { response: await exchange.answer, exchange };
    } catch (error) {
      const isRepeatable = !(out.body instanceof ReadableStream) && !out.signal.aborted;
      // The server closed the connection while it was idle (RFC 9112 9.3.1), so a retry is safe.
      if (kept && exchange.isUntouched && isRepeatable) return this.#exchange(out);
      throw error;
    }
  }

  readonly #keep = (line: Line): void => {
    const user = new Idle(() => {
      this.#idle = this.#idle.filter((kept) => kept.line !== line);
      line.end();
    });
    line.user = user;
    this.#idle.push({ line, user });
  };
}

/** Returns the request that a redirect asks for (Fetch 4.4). */
function redirected(out: Outgoing, status: number, location: string): Outgoing {
  const url = new URL(location, out.url);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new TypeError("Failed to fetch", { cause: new Error(`redirected to ${url}`) });
  if (url.hash === "") url.hash = out.url.hash;
  const { method } = out;
  const isGet =
    ((status === 301 || status === 302) && method === "POST") ||
    (status === 303 && method !== "GET" && method !== "HEAD");
  if (!isGet) {
    if (out.body instanceof ReadableStream)
      throw new TypeError("Failed to fetch", { cause: new Error("a stream cannot be sent again") });
    return { ...out, url };
  }
  const headers = new Headers(out.headers);
  for (const name of ["encoding", "language", "location", "type"])
    headers.delete(`content-${name}`);
  return { ...out, url, method: "GET", body: undefined, headers };
}

function requestOf({ url, method, headers, body, signal }: Outgoing): Request {
  return new Request(url, { method, headers, body: body ?? null, signal });
}
