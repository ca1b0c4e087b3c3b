// A listener of Node's transport, the connections that it has accepted, and their clients. For tests of the transport
// itself.

import * as net from "node:net";
import type { KeepAlive, Link, Listener, Sink } from "../../worker/net/transport";
import { type NodeSettings, nodeTransport } from "../../worker/net/node";
import { until } from "./wait";

/** An event of a link: the number of bytes of a read, "written", "ended", or "lost" and the code of its error. */
export type LinkEvent = number | string;

/** A connection, seen from both ends. */
export interface Accepted {
  readonly link: Link;
  readonly client: net.Socket;
  /** The events of the link so far. */
  readonly events: LinkEvent[];
  /** Returns what the link has read. */
  readonly read: () => string;
  /** Returns what the client has received. */
  readonly received: () => string;
  /** Returns the code of the client's error; "" while there is none. */
  readonly code: () => string;
}

type Side = Pick<Accepted, "link" | "events" | "read">;

/** Where a listener listens, and what it does with its connections. */
export interface Where {
  readonly path?: string;
  readonly hostname?: string;
  /** TCP keep-alive probes. */
  readonly keepAlive?: KeepAlive;
  /** Called within `accept`. @returns false to refuse the connection */
  readonly accepting?: (link: Link) => boolean;
  /** Called within each event. */
  readonly event?: (link: Link, what: LinkEvent) => void;
  readonly failed?: (error: Error) => void;
}

/** A listener for tests. */
export class Listening {
  readonly window = new Uint8Array(65536);
  readonly #where: Where;
  readonly #sides: Side[] = [];
  readonly #clients: net.Socket[] = [];
  #listener: Listener | undefined;

  private constructor(where: Where) {
    this.#where = where;
  }

  static async open(settings: NodeSettings, where: Where = {}): Promise<Listening> {
    const self = new Listening(where);
    const { path, hostname = "127.0.0.1", keepAlive, failed = () => undefined } = where;
    const options = {
      port: 0,
      backlog: 64,
      noDelay: true,
      ipv6Only: false,
      proxied: false,
      redirects: false,
    };
    self.#listener = await nodeTransport(settings).listen(
      { ...options, path, hostname, keepAlive, handshakeTimeout: 5000 },
      self.window,
      (link) => self.#take(link),
      failed,
    );
    return self;
  }

  get transport(): Listener["transport"] {
    return this.#listener?.transport;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  #take(link: Link): Sink | undefined {
    const { accepting, event } = this.#where;
    const events: LinkEvent[] = [];
    let text = "";
    this.#sides.push({ link, events, read: () => text });
    if (accepting?.(link) === false) return undefined;
    const note = (what: LinkEvent): void => {
      events.push(what);
      event?.(link, what);
    };
    return {
      read: (n) => {
        text += Buffer.from(this.window.subarray(0, n)).toString("latin1");
        note(n);
      },
      secured: () => note("secured"),
      written: () => note("written"),
      ended: () => note("ended"),
      lost: (error) => note(`lost ${(error as NodeJS.ErrnoException | undefined)?.code ?? ""}`),
    };
  }

  /** Opens a connection, and waits until it has been accepted. */
  async connect(
    options: { readonly localAddress?: string; readonly host?: string } = {},
  ): Promise<Accepted> {
    const count = this.#sides.length;
    const { path, hostname = "127.0.0.1" } = this.#where;
    const to = path === undefined ? { port: this.port, host: hostname, ...options } : { path };
    const client = net.connect({ allowHalfOpen: true, ...to });
    this.#clients.push(client);
    const pieces: Buffer[] = [];
    let code = "";
    client.on("data", (bytes) => pieces.push(bytes));
    client.on("error", (error: NodeJS.ErrnoException) => {
      code = error.code ?? "an error";
    });
    await until("an accept", () => this.#sides.length > count && !client.connecting);
    return {
      ...(this.#sides[count] as Side),
      client,
      received: () => Buffer.concat(pieces).toString("latin1"),
      code: () => code,
    };
  }

  /** Closes both ends of each connection. */
  abandon(): void {
    for (const { link } of this.#sides) link.destroy();
    for (const client of this.#clients) client.destroy();
  }

  close(): void {
    this.#listener?.close();
  }
}
