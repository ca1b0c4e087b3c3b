// A server whose messages have positions, as simple as can be: a list, read from a position on, as an event stream or a
// numbered WebSocket. It shares no code with Ringcast.
//
// Invariant: a reader gets what was published after its position, each message once and in order, or a gap.

import { type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

/** Time between two comments of a stream, in ms. */
const COMMENT_MILLIS = 100;

interface Published {
  readonly position: string;
  readonly data: string | Buffer;
}

/** Writes to one reader. @param control name of the control message; undefined: it is a message */
type Write = (data: string | Buffer, position?: string, control?: string) => void;

export class NumberedServer {
  epoch = "k2v9x0aa";
  /** Oldest messages that are gone. */
  expired = 0;
  /** False: upgrades are answered without the subprotocol. */
  knows = true;
  /** Number of streams and WebSockets that were opened. */
  opened = 0;
  readonly list: Published[] = [];
  readonly #readers = new Set<Write>();
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: () => (this.knows ? "ringcast.1" : false),
  });

  constructor() {
    this.#server = createServer(({ headers, url }, response) => {
      const since = new URL(url ?? "", "http://a").searchParams.get("since");
      this.#stream(
        response,
        (headers["last-event-id"] as string | undefined) ?? since ?? undefined,
      );
    });
    this.#server.on("upgrade", (request, socket, head) => {
      const since = new URL(request.url ?? "", "http://a").searchParams.get("since") ?? undefined;
      this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#webSocket(ws, since));
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const ws of this.#sockets.clients) ws.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  position(sequence: number): string {
    return `${this.epoch}-${sequence.toString(36).padStart(11, "0")}`;
  }

  publish(data: string | Buffer): void {
    const position = this.position(this.list.length + 1);
    this.list.push({ position, data });
    for (const write of this.#readers) write(data, position);
  }

  /** Starts a new order, as a server that was started again. */
  restart(epoch: string): void {
    this.epoch = epoch;
    this.list.length = 0;
    this.expired = 0;
  }

  /** Sends what a reader has missed, and all that follows. @returns a function that ends it */
  #open(write: Write, since: string | undefined): () => void {
    this.opened++;
    const [epoch = "", digits = ""] = since?.split("-") ?? [];
    const from = Number.parseInt(digits, 36);
    const reason = epoch === this.epoch ? from < this.expired && "expired" : "epoch";
    if (since === undefined || reason) {
      write("{}", undefined, "hello");
      if (since !== undefined) write(JSON.stringify({ reason }), undefined, "gap");
      write(`snapshot ${this.list.length}`);
      write("{}", this.position(this.list.length), "live");
    } else {
      write("{}", since, "hello");
      for (const { data, position } of this.list.slice(from)) write(data, position);
    }
    this.#readers.add(write);
    return () => this.#readers.delete(write);
  }

  #stream(response: ServerResponse, since: string | undefined): void {
    response.writeHead(200, { "Content-Type": "text/event-stream", Connection: "close" });
    // A stream without a byte is lost for its client.
    const comments = setInterval(() => response.write(":\n\n"), COMMENT_MILLIS);
    const close = this.#open((data, position, control) => {
      const id = position === undefined ? "" : `id: ${position}\n`;
      const name = control === undefined ? "" : `event: ringcast-${control}\n`;
      const text = typeof data === "string" ? data : data.toString("base64");
      const lines = text.split("\n").map((line) => `data: ${line}\n`);
      response.write(`${id}${name}${lines.join("")}\n`);
    }, since);
    response.on("close", () => {
      clearInterval(comments);
      close();
    });
  }

  #webSocket(ws: WebSocket, since: string | undefined): void {
    ws.on("error", () => undefined);
    if (ws.protocol !== "ringcast.1") {
      this.#readers.add((data) => ws.send(data));
      return;
    }
    const close = this.#open((data, position = "", control) => {
      if (control !== undefined) {
        const json = { type: control, ...(JSON.parse(String(data)) as object) };
        ws.send(`${position}!\n${JSON.stringify(json)}`);
      } else if (typeof data === "string") ws.send(`${position}\n${data}`);
      else ws.send(Buffer.concat([Buffer.from(`${position}\n`), data]));
    }, since);
    ws.on("close", close);
  }
}
