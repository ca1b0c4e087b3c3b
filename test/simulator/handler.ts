// The handler of a run. It handles each request and message as their steps say, and checks that they are the ones that
// were sent.
//
// Invariant: a request is handled once, messages in the order in which they were sent, both whole; the end of a client
// is reported once. All of them reach the handler of the client's module.

import type {
  CloseInfo,
  FragmentInfo,
  Handler,
  Request,
  Response,
  WebSocket,
} from "../../host/handler";
import { latin1, toBytes, utf8 } from "../../host/shared/text/text";
import { ResponseImpl } from "../../worker/request/response";
import type { Client } from "./client";
import {
  HUGE_BYTES,
  LARGE_BYTES,
  MODULE,
  STATIC_BYTES,
  bodyOf,
  dripOf,
  fileOf,
  piecesOf,
  streamOf,
} from "./content";
import { ThreadEnd } from "./places";
import { AS_ASKED, FAULTY, FileSource, type Shelf, drip } from "./sources";
import { type Ask, type OpenHow, type Say, TOPICS } from "./steps";

/** The body that answers name. */
export const STATIC_TEXT = bodyOf(0, STATIC_BYTES);
export const HUGE_TEXT = bodyOf(0, HUGE_BYTES);

/** Topics that an event stream subscribes to when it opens. */
export function topicsOf(tag: number): number[] {
  return tag % 3 === 0 ? [0, tag % 4] : [];
}

/** Topics that its `open` subscribes to. */
function laterTopicsOf(tag: number): number[] {
  return tag % 3 === 1 ? [0, tag % 5] : [];
}

/** A request on its way. */
export interface Asked {
  readonly client: Client;
  readonly ask?: Ask;
  readonly open?: OpenHow;
  isHandled: boolean;
}

/** The handler's knowledge of the run. */
export interface Scene extends Shelf {
  /** The next message of a client waits until the handler of the one before has settled. */
  readonly isOrdered: boolean;
  /** The number of the handler that is in use; an event may be for a newer one already. */
  readonly version: number;
  readonly asks: Map<number, Asked>;
  readonly says: Map<number, Say>;
  /** Handlers that a Settle step continues, by tag. */
  readonly pending: Map<number, () => void>;
  /** WebSockets that have opened, by client. */
  readonly sockets: Map<number, WebSocket>;
  /** Pieces of messages that are not whole, by client. */
  readonly parts: Map<Client, Uint8Array[]>;
  clientAt(address: string): Client;
  /** Returns the number of the module of a client's requests, and of its WebSocket; 0: the main handler. */
  moduleOf(client: Client): number;
  socketModuleOf(client: Client): number;
  echo(client: Client, ws: WebSocket, data: string | Uint8Array, tag: number): void;
  /** Reports a message of a stream that the server has accepted. */
  readonly echoed: (client: Client, data: string | Uint8Array, tag: number) => void;
  /** Tags of messages that streams have taken from their sources and not sent. */
  readonly streamed: Map<string | Uint8Array, number>;
  /** Clients with a stream that has not ended; each as often as it has streams. */
  readonly streams: Client[];
  /** Publications are kept, so that event streams resume. */
  readonly isKept: boolean;
  /** An event stream has subscribed to a topic when it opened. */
  joined(client: Client, topic: number): void;
  /** An event stream subscribes to a topic in `open`. */
  join(client: Client, ws: WebSocket, topic: number): void;
  /** An event stream gets its first message in `open`. */
  welcome(client: Client, ws: WebSocket, tag: number): void;
  /** `open` of an event stream is about to return. */
  opened(client: Client): void;
  /** Publishes a few messages, from within the handler. */
  burst(tag: number): void;
  readonly staticBody: (text: string) => Parameters<Response["static"]>[0];
}

class Doer implements Handler {
  readonly #scene: Scene;
  readonly #version: number;
  readonly #module: number;
  /** Clients whose last message has a handler that has not settled. */
  readonly #busy = new Set<Client>();

  constructor(scene: Scene, version: number, module: number) {
    this.#scene = scene;
    this.#version = version;
    this.#module = module;
  }

  /** Returns the client at an address, which must be one of this handler's. */
  #clientAt(address: string): Client {
    const client = this.#scene.clientAt(address);
    if (this.#scene.moduleOf(client) !== this.#module)
      this.#scene.note(`${client} is not one of module ${this.#module}`);
    return client;
  }

  /** Returns the client of a WebSocket, which must be one of this handler's. */
  #ownerOf({ remoteAddress }: WebSocket): Client {
    const client = this.#scene.clientAt(remoteAddress);
    if (this.#scene.socketModuleOf(client) !== this.#module)
      this.#scene.note(`${client} has no WebSocket of module ${this.#module}`);
    return client;
  }

  #fresh(): void {
    if (this.#version < this.#scene.version)
      this.#scene.note("a handler that is not in use any more");
  }

  #throw(): never {
    this.#scene.thrown++;
    throw new Error(AS_ASKED);
  }

  /** Waits for the Settle step of a tag, and does something then. */
  #wait(tag: number, fn: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#scene.pending.set(tag, () => {
        try {
          fn();
          resolve();
        } catch (thrown) {
          reject(thrown);
        }
      });
    });
  }

  #known(req: Request): Asked | undefined {
    const asked = this.#scene.asks.get(Number(req.header("x-tag")));
    const wanted = asked?.ask?.method ?? "GET";
    if (!asked || req.path !== `/${asked.client.id}` || req.method !== wanted || asked.isHandled) {
      this.#scene.note(`a request that no client made: ${req.method} ${req.url}`);
      return undefined;
    }
    asked.isHandled = true;
    this.#clientAt(req.remoteAddress);
    return asked;
  }

  streams(req: Request): boolean {
    return req.query.startsWith("up");
  }

  request(req: Request, res: Response): unknown {
    this.#fresh();
    const asked = this.#known(req);
    if (!asked) return undefined;
    if (asked.ask) return this.#answer(asked.ask, req, res);
    if (asked.open === "refuse") return res.send(403, "text/plain", "no");
    const data = Number(req.header("x-tag"));
    if (req.query.startsWith("events"))
      return res.events({ data, topics: topicsOf(data).map((topic) => TOPICS[topic] as string) });
    const isMoved = this.#scene.socketModuleOf(asked.client) !== this.#module;
    return res.upgrade(isMoved ? { data, handler: MODULE } : { data });
  }

  #answer(ask: Ask, req: Request, res: Response): unknown {
    const { tag, how } = ask;
    if (how.startsWith("up")) return this.#upload(ask, req, res);
    const body = req.text();
    if (body !== bodyOf(tag, ask.size))
      this.#scene.note(`a body that is not the one of request ${tag}`);
    const echo = `${tag} ${body}`;
    switch (how) {
      case "bare":
        return res.send(404);
      case "static":
        return res.static(this.#scene.staticBody(STATIC_TEXT));
      case "huge":
        return res.static(this.#scene.staticBody(HUGE_TEXT));
      case "large":
        return res.send(200, "text/plain", bodyOf(tag, LARGE_BYTES));
      case "pieces":
        return res.stream(200, "text/plain", piecesOf(tag));
      case "counted": {
        const pieces = piecesOf(tag);
        return res
          .header("Content-Length", pieces.join("").length)
          .stream(200, "text/plain", pieces);
      }
      case "file":
      case "file-break":
        return this.#file(ask, res);
      case "drip":
        return res.stream(200, "text/plain", drip(this.#scene, dripOf(tag)));
      case "close":
        return res.close().send(200, "text/plain", echo);
      case "later":
        return this.#wait(tag, () => {
          if (!res.sent && req.text() !== body) this.#scene.note(`request ${tag} has changed`);
          res.send(200, "text/plain", echo);
        });
      case "reject":
        return this.#wait(tag, () => this.#throw());
      case "throw":
        return this.#throw();
      case "empty":
        return this.#forget(res);
      case "break":
        return this.#break(res);
      case "die":
        this.#scene.thrown++;
        throw new ThreadEnd(AS_ASKED);
      default:
        return res.send(200, "text/plain", echo);
    }
  }

  /** Has the server read the body, where it can; elsewhere the body is yielded. */
  #file({ tag, how }: Ask, res: Response): Promise<void> {
    const scene = this.#scene;
    const fault = how === "file" ? undefined : FAULTY[tag % FAULTY.length];
    if (res instanceof ResponseImpl)
      return res.sendFrom(200, "text/plain", new FileSource(scene, tag, fault));
    if (fault) return this.#break(res);
    const file = fileOf(tag);
    const middle = Math.floor(file.length / 2);
    return res
      .header("Content-Length", file.length)
      .stream(200, "text/plain", drip(scene, [file.slice(0, middle), file.slice(middle)]));
  }

  /** Settles without a response. This is an error unless the request has ended. */
  async #forget(res: Response): Promise<void> {
    await undefined;
    if (!res.sent) this.#scene.thrown++;
  }

  async #break(res: Response): Promise<void> {
    const scene = this.#scene;
    const pieces = function* (): Generator<string> {
      yield "begun";
      scene.thrown++;
      throw new Error(AS_ASKED);
    };
    await res.stream(200, "text/plain", pieces());
  }

  async #upload({ tag, how, size }: Ask, req: Request, res: Response): Promise<void> {
    if (how === "up-early") {
      res.send(200, "text/plain", "early");
      return;
    }
    const parts: Uint8Array[] = [];
    try {
      for await (const part of req.stream()) {
        parts.push(part);
        if (how === "up-late" && parts.length === 1) await this.#wait(tag, () => undefined);
      }
    } catch (thrown) {
      if (!res.sent)
        this.#scene.note(`the body of ${tag} broke off, its request did not: ${thrown}`);
      return;
    }
    const body = latin1(Buffer.concat(parts), 0, size);
    if (body !== bodyOf(tag, size))
      this.#scene.note(`a body that is not the one of request ${tag}`);
    res.send(200, "text/plain", `${tag} ${body}`);
  }

  // ---- WebSockets --------------------------------------------------------------------------------------

  open(ws: WebSocket): unknown {
    this.#fresh();
    const client = this.#ownerOf(ws);
    const tag = ws.data as number;
    const asked = this.#scene.asks.get(tag);
    if (asked?.client !== client)
      return this.#scene.note(`${client} opens with the data of ${tag}`);
    if (this.#scene.sockets.has(client.id)) this.#scene.note(`${client} opens twice`);
    this.#scene.sockets.set(client.id, ws);
    this.#watch(client, ws);
    if (ws.kind !== (client.isStream ? "events" : "websocket")) this.#scene.note(`a ${ws.kind}`);
    if (client.isStream) this.#greet(client, ws, tag, asked.open === "" || asked.open === "later");
    switch (asked.open) {
      case "throw":
        return this.#throw();
      case "later":
        return this.#wait(tag, () => undefined);
      case "reject":
        return this.#wait(tag, () => this.#throw());
      default:
        return client.isStream ? this.#scene.opened(client) : undefined;
    }
  }

  /** The opening of an event stream. @param isGood it does not fail */
  #greet(client: Client, ws: WebSocket, tag: number, isGood: boolean): void {
    const scene = this.#scene;
    for (const topic of topicsOf(tag)) scene.joined(client, topic);
    if (!isGood || !scene.isKept) return;
    if (ws.resumed && ws.gap) scene.note(`${client} resumes with a gap`);
    if (tag % 8 === 0) scene.welcome(client, ws, tag);
    for (const topic of laterTopicsOf(tag)) scene.join(client, ws, topic);
    if (tag % 8 === 2 && !ws.resumed) scene.welcome(client, ws, tag);
  }

  message(ws: WebSocket, data: string | Uint8Array, isBinary: boolean): unknown {
    this.#fresh();
    if ((typeof data === "string") === isBinary) this.#scene.note("a message of two kinds");
    return this.#hear(ws, toBytes(data), isBinary);
  }

  fragment(ws: WebSocket, data: Uint8Array, info: FragmentInfo): unknown {
    this.#fresh();
    const client = this.#ownerOf(ws);
    const parts = info.first ? [] : this.#scene.parts.get(client);
    if (!parts) return this.#scene.note(`${client}: a piece of no message`);
    parts.push(data);
    this.#scene.parts.set(client, parts);
    if (!info.last) return undefined;
    this.#scene.parts.delete(client);
    return this.#hear(ws, Buffer.concat(parts), info.isBinary);
  }

  /** A whole message: the next that its client sent. */
  #hear(ws: WebSocket, bytes: Uint8Array, isBinary: boolean): unknown {
    const scene = this.#scene;
    const client = this.#ownerOf(ws);
    const said = client.said.shift();
    const say = said && scene.says.get(said.tag);
    if (!said || !say) return scene.note(`${client}: a message that it did not send`);
    if (said.opcode !== (isBinary ? 2 : 1) || Buffer.compare(said.payload, bytes) !== 0)
      return scene.note(`${client}: message ${said.tag} is another than was sent`);
    if (scene.isOrdered && ws.open && this.#busy.has(client))
      scene.note(`${client}: message ${said.tag} came before its turn`);
    const result = this.#reply(client, ws, say, isBinary ? bytes : utf8(bytes, 0, bytes.length));
    if (!(result instanceof Promise)) return result;
    this.#busy.add(client);
    const rest = (): void => void this.#busy.delete(client);
    result.then(rest, rest);
    return result;
  }

  #reply(client: Client, ws: WebSocket, say: Say, data: string | Uint8Array): unknown {
    const scene = this.#scene;
    switch (say.how) {
      case "echo":
        return scene.echo(client, ws, data, say.tag);
      case "burst":
        scene.burst(say.tag);
        return scene.echo(client, ws, data, say.tag);
      case "stream":
        return this.#stream(client, ws, say.tag);
      case "later":
        return this.#wait(say.tag, () => scene.echo(client, ws, data, say.tag));
      case "reject":
        return this.#wait(say.tag, () => this.#throw());
      case "throw":
        return this.#throw();
      default:
        return undefined;
    }
  }

  /** Sends a few messages as fast as the client takes them. */
  async #stream(client: Client, ws: WebSocket, tag: number): Promise<void> {
    const scene = this.#scene;
    let current: string | Uint8Array | undefined;
    const messages = function* (): Generator<string | Uint8Array> {
      for (const { tag: own, data } of streamOf(tag)) {
        current = data;
        scene.streamed.set(data, own);
        yield data;
      }
    };
    scene.streams.push(client);
    const isWhole = await ws.stream(messages());
    scene.streams.splice(scene.streams.indexOf(client), 1);
    if (!isWhole && ws.open) scene.note(`stream ${tag} has ended, and ${client} is open`);
    const isSent = current === undefined || !scene.streamed.delete(current);
    if (isWhole && !isSent) scene.note(`stream ${tag} is whole, and its last message was not sent`);
  }

  /** Reports the messages of streams to the judge when they are sent, so in the order of the calls. */
  #watch(client: Client, ws: WebSocket): void {
    const { streamed, echoed } = this.#scene;
    const send = ws.send.bind(ws);
    ws.send = (data, options) => {
      const isSent = send(data, options);
      const tag = isSent ? streamed.get(data as string | Uint8Array) : undefined;
      if (tag !== undefined) {
        streamed.delete(data as string | Uint8Array);
        echoed(client, data as string | Uint8Array, tag);
      }
      return isSent;
    };
  }

  drain(ws: WebSocket): void {
    this.#ownerOf(ws).isThirsty = false;
  }

  close(ws: WebSocket, info: CloseInfo): void {
    const client = this.#ownerOf(ws);
    // Before it has opened, its upgrade has failed, and `disconnect` follows; or it has ended.
    if (this.#scene.sockets.has(client.id)) client.ended(info.cause);
    else client.lapsed = info.cause;
    if (this.#scene.sockets.get(client.id)?.open)
      this.#scene.note(`${client} is open after its end`);
  }

  disconnect(connection: { readonly remoteAddress: string }, info: CloseInfo): void {
    this.#scene.clientAt(connection.remoteAddress).ended(info.cause);
  }
}

/** Returns a handler in the form that modules export. @param module number of its module; 0: it is the main one */
export function handlerOf(scene: Scene, version: number, module = 0): Handler {
  const doer = new Doer(scene, version, module);
  return {
    streams: (req) => doer.streams(req),
    request: (req, res) => doer.request(req, res),
    open: (ws) => doer.open(ws),
    message: (ws, data, isBinary) => doer.message(ws, data, isBinary),
    fragment: (ws, data, info) => doer.fragment(ws, data, info),
    drain: (ws) => doer.drain(ws),
    close: (ws, info) => doer.close(ws, info),
    disconnect: (connection, info) => doer.disconnect(connection, info),
  };
}
