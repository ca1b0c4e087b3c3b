// Passes requests on to a server behind this one, and its responses back (RFC 9110 7.6).
//
// Invariant: a field that concerns one connection is not passed on, in either direction, and the fields that name the
// client are written here. The bytes of a client reach the backend only as a request that was judged here, or after the
// backend has switched to another protocol.

import type { Request } from "../../host/handler";
import type { Field } from "../../host/shared/request/response";
import type { Backend, BackendAnswer, ConnectUpstream, RawField } from "../net/transport";
import type { ResponseImpl } from "../request/response";
import { encodePath } from "./path";

/** Fields of one connection (RFC 9110 7.6.1), and the ones that are replaced. */
const HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** Fields of a request that are written here. */
const OWN = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "via",
  "expect",
]);
/** Fields of a response that the server writes. */
const WRITTEN = new Set(["date"]);
const PSEUDONYM = "ringcast";

/** Returns the names that Connection fields list, in lower case. */
function listed(fields: readonly RawField[]): Set<string> {
  const names = new Set<string>();
  for (const [name, value] of fields) {
    if (name.toLowerCase() !== "connection") continue;
    for (const one of value.split(",")) names.add(one.trim().toLowerCase());
  }
  return names;
}

/** Returns the fields that are passed on. */
function endToEnd(fields: readonly RawField[], others: ReadonlySet<string>): RawField[] {
  const named = listed(fields);
  return fields.filter(([name]) => {
    const lower = name.toLowerCase();
    return !HOP.has(lower) && !named.has(lower) && !others.has(lower);
  });
}

/** Returns an address as a node of Forwarded (RFC 7239 6). */
function nodeOf(address: string): string {
  if (address === "") return "unknown";
  return address.includes(":") ? `"[${address}]"` : address;
}

/** Where a request comes from. */
export interface Origin {
  /** Address of the peer. */
  readonly peer: string;
  readonly isSecure: boolean;
  /** Whether the peer is a proxy whose forwarding fields are passed on. */
  readonly isTrusted: boolean;
}

/** Returns the fields that name the client, its protocol and the host that it asked for. */
function forwarding(request: Request, { peer, isSecure, isTrusted }: Origin): RawField[] {
  const before = (name: string): string => {
    const value = isTrusted ? request.header(name) : undefined;
    return value === undefined || value === "" ? "" : `${value}, `;
  };
  const scheme = isSecure ? "https" : "http";
  const proto = (isTrusted && request.header("x-forwarded-proto")) || scheme;
  const host = (isTrusted && request.header("x-forwarded-host")) || request.host;
  const quoted = request.host.replace(/["\\]/g, "\\$&");
  const via = request.header("via");
  return [
    ["X-Forwarded-For", `${before("x-forwarded-for")}${peer === "" ? "unknown" : peer}`],
    ["X-Forwarded-Proto", proto],
    ["X-Forwarded-Host", host],
    ["Forwarded", `${before("forwarded")}for=${nodeOf(peer)};proto=${scheme};host="${quoted}"`],
    ["Via", `${via === undefined ? "" : `${via}, `}1.1 ${PSEUDONYM}`],
  ];
}

/** The parts of the server that a proxy mount needs. */
export interface ProxyOwner {
  /** Connects the client of a pending request with an upstream. @returns false when there is no room for it */
  join(response: ResponseImpl, head: string, connect: ConnectUpstream): boolean;
  originOf(response: ResponseImpl): Origin;
}

export class ProxyMount {
  readonly #backend: Backend;
  readonly #owner: ProxyOwner;
  readonly #fields: readonly Field[];
  /** Whether the mount's path is left out of targets. */
  readonly #isStripped: boolean;

  constructor(backend: Backend, owner: ProxyOwner, fields: readonly Field[], isStripped: boolean) {
    this.#backend = backend;
    this.#owner = owner;
    this.#fields = fields;
    this.#isStripped = isStripped;
  }

  /**
   * Passes a request on, and responds with the backend's response, or with 502 or 504.
   * @param below the decoded path below the mount
   */
  async serve(response: ResponseImpl, below: string): Promise<void> {
    const { request } = response;
    const { upgrade } = request;
    const fields = endToEnd([...request.headers], OWN);
    fields.push(...forwarding(request, this.#owner.originOf(response)));
    if (upgrade) fields.push(["Connection", "Upgrade"], ["Upgrade", "websocket"]);
    let answer: BackendAnswer;
    try {
      answer = await this.#backend.ask({
        method: request.method,
        target: this.#targetOf(request, below),
        fields,
        body: this.#bodyOf(request),
        upgrades: upgrade,
        signal: response.signal,
      });
    } catch (thrown) {
      if (response.sent) return;
      const isLate = (thrown as { code?: unknown }).code === "ETIMEDOUT";
      response.refuse(isLate ? 504 : 502, isLate ? "Gateway Timeout\n" : "Bad Gateway\n");
      return;
    }
    if (answer.upgraded) this.#join(response, answer, answer.upgraded);
    else await this.#pass(response, answer);
  }

  /** Returns the target for the backend: the client's own, or the part below the mount. */
  #targetOf({ url, path, query }: Request, below: string): string {
    const search = query === "" ? "" : `?${query}`;
    if (this.#isStripped) return `${below === "" ? "/" : encodePath(below)}${search}`;
    return url.startsWith("/") ? url : `${path}${search}`;
  }

  #bodyOf(request: Request): AsyncIterable<Uint8Array> | undefined {
    if (request.streamed) return request.stream();
    const { body } = request;
    return body.length === 0 ? undefined : oneOf(body);
  }

  /** Connects the client with a backend that has switched protocols. */
  #join(response: ResponseImpl, { head }: BackendAnswer, connect: ConnectUpstream): void {
    const fields = [...endToEnd(head.fields, new Set()), ...this.#fields];
    const lines = [
      "HTTP/1.1 101 Switching Protocols",
      "Connection: Upgrade",
      `Upgrade: ${head.fields.find(([name]) => name.toLowerCase() === "upgrade")?.[1] ?? "websocket"}`,
      ...fields.map(([name, value]) => `${name}: ${value}`),
    ];
    const text = `${lines.join("\r\n")}\r\n\r\n`;
    if (!response.sent && this.#owner.join(response, text, connect)) return;
    // The client has left, or as many connections are taken out of HTTP as may be.
    connect(UNUSED).destroy();
    if (!response.sent) response.header("Retry-After", 1).refuse(503, "Service Unavailable\n");
  }

  async #pass(response: ResponseImpl, { head, body }: BackendAnswer): Promise<void> {
    const pieces = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    const close = (): void => {
      pieces.return?.()?.then(undefined, () => undefined);
    };
    if (response.sent) {
      close();
      return;
    }
    let type = "";
    for (const [name, value] of endToEnd(head.fields, WRITTEN)) {
      if (name.toLowerCase() === "content-type") type = value;
      else response.header(name, value);
    }
    response.checked(this.#fields);
    const next = async (): Promise<Uint8Array | undefined> => {
      const step = await pieces.next();
      return step.done ? undefined : step.value;
    };
    await response.sendFrom(head.status, type, { next, close });
  }
}

async function* oneOf(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

const nothing = (): void => undefined;
/** The sink of an upstream that is not used. */
const UNUSED = {
  opened: nothing,
  received: nothing,
  written: nothing,
  ended: nothing,
  lost: nothing,
};
