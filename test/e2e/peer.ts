// The other end of the wire: sockets that say exactly what they got, and a server for one test.
//
// Invariant: nothing waits without a limit; `serving` ends its server whichever way the test ends.
//
// With RINGCAST_TLS=1 in the environment all of it, servers and clients, speaks TLS.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import * as net from "node:net";
import path from "node:path";
import * as nodeTls from "node:tls";
import { pathToFileURL } from "node:url";
import { type HandlerModule, type Options, type Server, serve } from "ringcast";
import { Agent, setGlobalDispatcher } from "undici";
import { pattern as bytePattern } from "../suite/bytes";
import { clientFrame as frameOctets } from "../lib/client-frame";
import { handshake } from "../lib/handshake";
import { type ServerResponse, fieldsOf, serverResponse } from "../lib/response";
import { serverFrame } from "../lib/server-frame";
import { LIMIT, within } from "../lib/wait";

export { LIMIT, sleep, standstill, until, within } from "../lib/wait";
export { handshake } from "../lib/handshake";
export { textPattern } from "../suite/bytes";

/** True when servers and clients speak TLS. */
export const SECURE = process.env.RINGCAST_TLS === "1";
/** The certificate of 127.0.0.1 is for these tests alone, and its own authority. */
export const CERTIFICATE = {
  key: readFileSync("test/e2e/tls/key.pem", "utf8"),
  cert: readFileSync("test/e2e/tls/cert.pem", "utf8"),
};
/** Options of a server for the protocol of its clients. */
export const SERVER_TLS: Options = SECURE ? { tls: CERTIFICATE } : {};
/** Options with which a client of node:tls, and so `ws`, trusts the server. */
export const TRUST = SECURE ? { ca: CERTIFICATE.cert } : {};
/** The same for an Agent or Client of undici; its `request` and `fetch` get it here. */
export const CONNECT = SECURE ? { connect: TRUST } : {};
if (SECURE) setGlobalDispatcher(new Agent(CONNECT));

export function httpUrl(port: number, target = ""): string {
  return `${SECURE ? "https" : "http"}://127.0.0.1:${port}${target}`;
}

export function wsUrl(port: number, target = "/"): string {
  return `${SECURE ? "wss" : "ws"}://127.0.0.1:${port}${target}`;
}

/** Returns the URL of a file below this folder, wherever the test was bundled to. */
export function fileUrl(name: string): URL {
  return pathToFileURL(path.resolve("test/e2e", name));
}

/** Errors the servers of this process reported, the last ones. */
export const reported: { where: string; message: string }[] = [];

/** Where the handlers of `serving` run: in the worker, or, when a test file says so, on this thread. */
export const placement = process.env.RINGCAST_HANDLER === "application" ? "application" : "worker";

/** Returns a handler module, for the worker or loaded again for this thread. */
export async function handlerOf(
  name: string,
  where = placement,
): Promise<NonNullable<Options["handler"]>> {
  const url = fileUrl(`handlers/${name}.mjs`);
  if (where === "worker") return url;
  return ((await import(`${url}?${Math.random()}`)) as { default: HandlerModule }).default;
}

/** Runs a server for the duration of one test; it is closed in any case. */
export async function serving(
  handler: string,
  options: Options,
  body: (server: Server, port: number) => Promise<void>,
): Promise<void> {
  reported.length = 0;
  const server = await within(
    serve({
      port: 0,
      handler: await handlerOf(handler),
      onError: (error, where) => reported.push({ where, message: error.message }),
      ...SERVER_TLS,
      ...options,
    }),
    "serve",
  );
  try {
    // 0 for a Unix socket.
    await body(server, server.address.port ?? 0);
  } finally {
    await within(server.close(), "close").catch((error: unknown) => {
      // Its worker would keep this process for ever.
      setTimeout(() => process.exit(1), 3 * LIMIT).unref();
      throw error;
    });
  }
}

/** A connection to a server: TCP, and the stream in it that TLS may be around. */
interface Line {
  readonly socket: net.Socket;
  readonly tcp: net.Socket;
}

function connect(port: number, allowHalfOpen: boolean): Promise<Line> {
  const opened = new Promise<Line>((resolve, reject) => {
    const tcp = net.connect({ port, host: "127.0.0.1", allowHalfOpen });
    const socket = SECURE ? nodeTls.connect({ socket: tcp, ...TRUST }) : tcp;
    socket.once("error", reject);
    socket.once(SECURE ? "secureConnect" : "connect", () => {
      socket.off("error", reject);
      resolve({ socket, tcp });
    });
  });
  return within(opened, "connect");
}

/** A client: the part that is the same for bytes and frames. */
abstract class Peer {
  readonly line: Line;
  readonly socket: net.Socket;
  ended = false;
  closed = false;
  error: Error | undefined;
  #changed: () => void = () => undefined;

  constructor(line: Line) {
    this.line = line;
    const { socket } = line;
    this.socket = socket;
    socket.on("end", () => {
      this.ended = true;
      this.changed();
    });
    socket.on("error", (error) => {
      this.error = error;
    });
    socket.on("close", () => {
      this.closed = true;
      this.changed();
    });
  }

  /** Received and untaken data, for a message. */
  protected abstract readonly here: string;

  get isOver(): boolean {
    return this.ended || this.closed;
  }

  /** Something has come, or it is over. */
  protected changed(): void {
    this.#changed();
  }

  /** Waits until a condition holds that only arriving bytes or the end can change. */
  protected async wait(what: string, holds: () => boolean): Promise<void> {
    const end = Date.now() + LIMIT;
    while (!holds()) {
      const left = end - Date.now();
      if (left <= 0) throw new Error(`${what}: not within ${LIMIT} ms, ${this.here} here`);
      const changed = new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
      await within(changed, what, left);
    }
  }

  /** Waits for the end of the stream, then closes. */
  async gone(): Promise<void> {
    await this.wait("end", () => this.isOver);
    this.destroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Sends a TCP reset: TLS has no such thing, and ends with the connection below. */
  reset(): void {
    this.line.tcp.resetAndDestroy();
  }
}

/** A client that keeps all it got. */
export class Wire extends Peer {
  #parts: Buffer[] = [];
  #length = 0;
  /** 'data' events so far. */
  reads = 0;

  constructor(line: Line) {
    super(line);
    line.tcp.setNoDelay(true);
    this.socket.on("data", (bytes: Buffer) => {
      this.reads++;
      this.#parts.push(bytes);
      this.#length += bytes.length;
      this.changed();
    });
  }

  protected override get here(): string {
    return `${this.#length} bytes`;
  }

  static async open(port: number, allowHalfOpen = true): Promise<Wire> {
    return new Wire(await connect(port, allowHalfOpen));
  }

  get length(): number {
    return this.#length;
  }

  write(data: string | Uint8Array): this {
    this.socket.write(data);
    return this;
  }

  /** All that has come and was not taken. */
  peek(): Buffer {
    const all = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    this.#parts = [all];
    return all;
  }

  /** Takes `n` bytes. */
  async take(n: number): Promise<Buffer> {
    await this.wait(`${n} bytes`, () => this.#length >= n || this.isOver);
    if (this.#length < n) throw new Error(`ended after ${this.#length} of ${n} bytes`);
    const all = this.peek();
    this.#parts = [all.subarray(n)];
    this.#length -= n;
    return all.subarray(0, n);
  }

  /** Takes all up to and with `mark`. */
  async takeThrough(mark: string): Promise<string> {
    await this.wait(JSON.stringify(mark), () => this.isOver || this.peek().includes(mark));
    const at = this.peek().indexOf(mark);
    if (at < 0) throw new Error(`ended before ${JSON.stringify(mark)}: ${this.error ?? "FIN"}`);
    return (await this.take(at + mark.length)).toString("latin1");
  }

  /** Takes one response. @throws Error when it is cut by the end */
  async response(method: string): Promise<ServerResponse<Buffer>> {
    for (;;) {
      const found = serverResponse(this.peek(), 0, { method, ended: this.isOver });
      if (typeof found !== "number") {
        await this.take(found.size);
        return found;
      }
      await this.wait("a response", () => this.#length >= found || this.isOver);
    }
  }

  /** Takes all up to the server's end of the stream. */
  async takeAll(): Promise<Buffer> {
    await this.wait("end", () => this.isOver);
    return this.take(this.#length);
  }
}

export interface Answer {
  readonly status: number;
  readonly head: string;
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** Takes one response; one to HEAD, 1xx, 204 and 304 have no body. */
export async function takeAnswer(wire: Wire, method = "GET"): Promise<Answer> {
  const found = await wire.response(method);
  const { status, head, body } = found;
  return { status, head, fields: fieldsOf(found), body: Buffer.from(body) };
}

export interface Frame {
  readonly final: boolean;
  /** Above its four bits the reserved ones: 0x40 for a compressed message. */
  readonly opcode: number;
  readonly payload: Buffer;
}

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** Bytes into frames of a server. */
export class Frames {
  #parts: Buffer[] = [];
  #length = 0;
  #needed = 2;

  /** Bytes of a frame that is not complete. */
  get rest(): Buffer {
    return Buffer.concat(this.#parts);
  }

  push(bytes: Buffer): Frame[] {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    const frames: Frame[] = [];
    if (this.#length < this.#needed) return frames;
    const all = this.#parts.length === 1 ? bytes : Buffer.concat(this.#parts);
    let at = 0;
    for (;;) {
      const found = serverFrame(all, at);
      if (typeof found === "number") {
        this.#needed = found;
        break;
      }
      frames.push({ final: found.final, opcode: found.first & 0x7f, payload: found.payload });
      at += found.size;
    }
    this.#parts = at === all.length ? [] : [all.subarray(at)];
    this.#length = all.length - at;
    return frames;
  }
}

/** Returns a client's frame, masked. */
export function clientFrame(
  opcode: number,
  data: string | Uint8Array = "",
  last: "final" | "more" = "final",
): Buffer {
  const options = { final: last === "final", mask: randomBytes(4) };
  return Buffer.from(frameOctets(opcode, Buffer.from(data), options).buffer);
}

/** A WebSocket client down to its bytes. Handles frames as they come; answers no ping by itself. */
export class WsWire extends Peer {
  /** Frames that were not taken; unless `onFrame` is set. */
  readonly frames: Frame[] = [];
  readonly parser = new Frames();
  onFrame: ((frame: Frame) => void) | undefined;

  private constructor(line: Line) {
    super(line);
    this.socket.on("data", (bytes: Buffer) => this.#feed(bytes));
  }

  protected override get here(): string {
    return `${this.frames.length} frames`;
  }

  /** Opens one; `first` is written with the handshake. @throws when it is not upgraded */
  static async open(port: number, target = "/", first?: Uint8Array, fields = ""): Promise<WsWire> {
    const wire = await Wire.open(port);
    wire.write(Buffer.concat([Buffer.from(handshake(target, fields)), first ?? Buffer.alloc(0)]));
    const { status, head } = await takeAnswer(wire);
    if (status !== 101) {
      wire.destroy();
      throw new Error(`not upgraded: ${head}`);
    }
    const rest = wire.peek();
    wire.socket.removeAllListeners("data");
    wire.socket.removeAllListeners("end");
    wire.socket.removeAllListeners("close");
    const ws = new WsWire(wire.line);
    ws.ended = wire.ended;
    ws.closed = wire.closed;
    ws.#feed(rest);
    return ws;
  }

  #feed(bytes: Buffer): void {
    for (const frame of this.parser.push(bytes)) {
      if (this.onFrame) this.onFrame(frame);
      else this.frames.push(frame);
    }
    this.changed();
  }

  /** Hands frames to `onFrame` from now on, the ones already here first. */
  listen(onFrame: (frame: Frame) => void): this {
    for (const frame of this.frames.splice(0)) onFrame(frame);
    this.onFrame = onFrame;
    return this;
  }

  send(opcode: number, data?: string | Uint8Array, last?: "final" | "more"): this {
    this.socket.write(clientFrame(opcode, data, last));
    return this;
  }

  /** Takes the next frame. */
  async next(): Promise<Frame> {
    await this.wait("frame", () => this.frames.length > 0 || this.isOver);
    const frame = this.frames.shift();
    if (!frame) throw new Error(`ended before a frame: ${this.error ?? "FIN"}`);
    return frame;
  }

  /** Takes the next frame's payload as text. */
  async text(): Promise<string> {
    return (await this.next()).payload.toString();
  }
}

/** A client whose handler tells it its id, "id N", when it opens. */
export interface Greeted {
  readonly wire: WsWire;
  readonly id: number;
}

/** Opens a client and takes its greeting. */
export async function openGreeted(port: number): Promise<Greeted> {
  const wire = await WsWire.open(port);
  return { wire, id: Number((await wire.text()).slice(3)) };
}

/** Returns code and reason of a Close frame. */
export function closeOf(frame: Frame): { code: number; reason: string } {
  if (frame.opcode !== CLOSE) throw new Error(`opcode ${frame.opcode} is not Close`);
  if (frame.payload.length === 0) return { code: 1005, reason: "" };
  return { code: frame.payload.readUInt16BE(0), reason: frame.payload.subarray(2).toString() };
}

/** Returns bytes that show their position: no run of them equals another that is shifted. */
export function pattern(n: number, seed = 1): Buffer {
  return Buffer.from(bytePattern(n, seed).buffer);
}
