// Replaces a page's WebSocket, EventSource and fetch by a server's, for URLs that are the server's.
//
// Invariant: the replacements pass on what does not match. After uninstalling they pass on everything, so that code
// which has kept a reference continues to work.

/** The URLs of a server: origins, a pattern that URLs match, or a function that returns true for them. */
export type Match = string | URL | RegExp | readonly (string | URL)[] | ((url: URL) => boolean);

/** The global members that are replaced. */
interface Scope {
  WebSocket: typeof WebSocket;
  EventSource: typeof EventSource;
  fetch: typeof fetch;
}

/** Returns a URL's origin; ws counts as http, wss as https. */
function originOf(url: URL): string {
  return url.origin.replace(/^ws/, "http");
}

function originOption(value: unknown): string {
  try {
    const url = new URL(String(value));
    if (/^(https?|wss?):$/.test(url.protocol)) return originOf(url);
  } catch {
    // Reported below.
  }
  throw new TypeError(
    `match: ${JSON.stringify(String(value))} is not an origin of http, https, ws or wss`,
  );
}

/** Returns a function that tests URLs. @throws TypeError for an origin that is not one of http, https, ws or wss */
export function matcherOf(match: Match): (url: URL) => boolean {
  if (typeof match === "function") return match;
  if (match instanceof RegExp) {
    return (url) => {
      match.lastIndex = 0;
      return match.test(url.href);
    };
  }
  const list = typeof match === "string" || match instanceof URL ? [match] : match;
  const origins = Array.from(list, originOption);
  return (url) => origins.includes(originOf(url));
}

/** Returns the URL that the page's code means; undefined when it is invalid. */
function urlOf(input: unknown): URL | undefined {
  const text = input instanceof Request ? input.url : String(input);
  try {
    return new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    return undefined;
  }
}

/**
 * Returns a class that makes objects of one's own for the URLs that match, native ones for others.
 * @param matches returns the URL that a first argument means if it matches
 */
function replacement<Class extends new (...args: never[]) => object>(
  own: Class,
  native: Class,
  matches: (input: unknown) => URL | undefined,
): Class {
  const made: Class = new Proxy(own, {
    construct(target, args: unknown[], newTarget: unknown): object {
      const url = args.length > 0 ? matches(args[0]) : undefined;
      const child = newTarget === made ? undefined : (newTarget as Class);
      if (!url) return Reflect.construct(native, args, child ?? native);
      return Reflect.construct(target, [url, ...args.slice(1)], child ?? target);
    },
    get(target, key, receiver) {
      if (key !== Symbol.hasInstance) return Reflect.get(target, key, receiver);
      return (value: unknown) => value instanceof target || value instanceof native;
    },
  });
  return made;
}

/** Replaces the members. @returns a function that restores them */
export function install(scope: Scope, own: Scope, isOwn: (url: URL) => boolean): () => void {
  const { WebSocket: nativeSocket, EventSource: nativeSource, fetch: nativeFetch } = scope;
  let isIn = true;
  const matches = (input: unknown): URL | undefined => {
    const url = isIn ? urlOf(input) : undefined;
    return url && isOwn(url) ? url : undefined;
  };
  const fetch: Scope["fetch"] = (input, init) => {
    const url = matches(input);
    if (!url) return nativeFetch.call(globalThis, input, init);
    return own.fetch(input instanceof Request ? input : url, init);
  };
  const WebSocket = replacement(own.WebSocket, nativeSocket, matches);
  const EventSource = replacement(own.EventSource, nativeSource, matches);
  scope.fetch = fetch;
  scope.WebSocket = WebSocket;
  scope.EventSource = EventSource;
  return () => {
    isIn = false;
    if (scope.fetch === fetch) scope.fetch = nativeFetch;
    if (scope.WebSocket === WebSocket) scope.WebSocket = nativeSocket;
    if (scope.EventSource === EventSource) scope.EventSource = nativeSource;
  };
}
