// Connections that are event streams, by `fetch`: an EventSource can neither set fields, nor report a status or a
// comment, and Node has none.
//
// Invariant: errors of callbacks are reported as uncaught, and never end the connection.

import { type Ending, type Link, type LinkUser, UNCLEAN, now } from "./link";
import { eventParser } from "./parser";

/** The part of `fetch` that is used. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How to open an event stream. */
export interface StreamOptions {
  readonly fetch: Fetch;
  /** More of the request. */
  readonly init: RequestInit;
  /** The position after which to continue. */
  readonly since: string | undefined;
  /** Time without a byte, in ms, after which the connection counts as lost; 0: there is no limit. */
  readonly maxSilence: number;
}

/** Names of the server's own events begin with it. */
const OWN = "ringcast-";

/** Runs a callback of the application. */
function outside(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Adds a field to the query of a URL. */
export function withQuery(url: URL, name: string, value: string): URL {
  url.search += `${url.search ? "&" : "?"}${name}=${encodeURIComponent(value)}`;
  return url;
}

/** Returns the value of Last-Event-ID for an id: its bytes in UTF-8, each as a character. */
export function lastEventIdOf(id: string): string {
  return String.fromCharCode(...new TextEncoder().encode(id));
}

/** Returns the request. In another origin's, Last-Event-ID would need a preflight, so the query has the position. */
function requestOf(
  url: URL,
  { init, since }: StreamOptions,
  signal: AbortSignal,
): [string, RequestInit] {
  const headers = new Headers(init.headers);
  headers.set("Accept", "text/event-stream");
  const { origin = url.origin } = (globalThis as { location?: { origin?: string } }).location ?? {};
  if (since !== undefined && origin !== url.origin) withQuery(url, "since", since);
  else if (since !== undefined) headers.set("Last-Event-ID", lastEventIdOf(since));
  // Node's types lack it.
  const fresh: object = { cache: "no-store" };
  return [`${url}`, { ...fresh, ...init, headers, signal }];
}

/** Returns the ending of a response that is no event stream; undefined: it is one. */
function refusalOf({ status, headers }: Response): Ending | undefined {
  const type = headers.get("Content-Type") ?? "";
  if (status !== 200) return { code: UNCLEAN, reason: `status ${status}`, status };
  if (/^text\/event-stream *(;|$)/i.test(type)) return undefined;
  return { code: UNCLEAN, reason: `"${type}" is no event stream`, status };
}

/** Opens an event stream. */
export function openStream(url: URL, options: StreamOptions, user: LinkUser): Link {
  const { fetch, maxSilence } = options;
  const controller = new AbortController();
  let isOpen = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let byteAt = 0;

  function close(): void {
    isOpen = false;
    clearTimeout(timer);
    controller.abort();
  }

  function lose(ending: Ending): void {
    close();
    outside(() => user.lost(ending));
  }

  function watch(): void {
    const left = byteAt + maxSilence - now();
    if (left > 0) timer = setTimeout(watch, left);
    else lose({ code: UNCLEAN, reason: "silence" });
  }

  const parse = eventParser({
    event({ id, name, data }) {
      outside(() => {
        if (name.startsWith(OWN)) user.control(name.slice(OWN.length), data ?? "", id);
        else if (data === undefined) user.control("", "", id);
        else user.message(data, id, name || undefined);
      });
    },
    retry: (ms) => user.retry(ms),
  });

  async function run(): Promise<void> {
    const response = await fetch(...requestOf(url, options, controller.signal));
    const refusal = refusalOf(response);
    if (refusal || controller.signal.aborted) return lose(refusal ?? { code: UNCLEAN, reason: "" });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    isOpen = true;
    byteAt = now();
    if (maxSilence) watch();
    outside(() => user.opened(true));
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return lose({ code: UNCLEAN, reason: "" });
      byteAt = now();
      parse(value);
    }
  }

  run().catch((error) => lose({ code: UNCLEAN, reason: `${error}` }));
  return {
    get isOpen() {
      return isOpen;
    },
    send() {},
    close,
  };
}
