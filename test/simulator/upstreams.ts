// The upstreams of clients that do not speak HTTP, in memory, and the judge of the bytes between both, in both modes.
//
// Invariant, for each such client: its upstream receives the bytes that the client has sent, from the first one on,
// once and in order; the client receives the bytes of its upstream likewise. Each side's end arrives after its last
// byte. A connection ends as Ok when both sides have ended, and no byte is missing then. While both are open and read,
// nothing stays on the way. A pipe holds no more than a read in each direction.

import type { ConnectUpstream, Upstream, UpstreamSink } from "../../worker/net/transport";
import type { VirtualClock } from "../../worker/net/memory";
import type { Client } from "./client";
import { payloadOf } from "./content";
import type { Opens } from "./steps";

/** First bytes of clients that do not speak HTTP; the rest of what they send follows. */
export const OPENINGS: readonly Uint8Array[] = [
  "SSH-2.0-OpenSSH_9.2\r\n",
  "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
  "EHLO client.example\r\n",
  "\0",
  "\r\n\r\n\x01",
  "GET /\r\n",
  "GETXXXXX / HTTP/1.1\r\n\r\n",
  "\r\nSUBSCRIBED / HTTP/1.1\r\n\r\n",
  `GET /${"y".repeat(900)} HTTP\\1.1\r\n`,
].map((text) => Buffer.from(text, "latin1"));

/** Returns true for text whose first line is that of a request, whatever its method and version. */
export const isRequest = (text: string): boolean => /^[\w-]+ [!-~]+ HTTP\//.test(text);

/** Most bytes of a request line, and of empty lines before it. */
const LINE_BYTES = 1200;
/** Most bytes of one read from an upstream. */
const CHUNK_BYTES = 3000;
/** ms after which a late upstream is open, and within which it must be. */
const LATE_MILLIS = 40;
const OPEN_MILLIS = 10000;
/** ms of the shortest `writeTimeout`. */
const WRITE_MILLIS = 5000;

/** Bytes that are on their way to one side. */
class Bytes {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#parts.push(new Uint8Array(bytes));
    this.length += bytes.length;
  }

  /** Removes the next `n` bytes, at most as many as there are. */
  take(n: number): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let left = Math.min(n, this.length); left > 0; ) {
      const first = this.#parts[0] as Uint8Array;
      const part = first.subarray(0, left);
      if (part.length === first.length) this.#parts.shift();
      else this.#parts[0] = first.subarray(part.length);
      parts.push(part);
      left -= part.length;
    }
    const whole = Buffer.concat(parts);
    this.length -= whole.length;
    return whole;
  }

  /** Removes bytes that have arrived. Returns false when they are not the next ones. */
  match(bytes: Uint8Array): boolean {
    return Buffer.compare(this.take(bytes.length), bytes) === 0;
  }
}

/** The upstream of one client: the end that the server has, and the upstream's program. */
class MemoryUpstream implements Upstream {
  readonly client: Client;
  readonly opens: Opens;
  readonly #court: Upstreams;
  readonly #clock: VirtualClock;
  readonly #sink: UpstreamSink;
  /** Bytes that its kernel holds; the rest of the write that is outstanding, and since when it is. */
  readonly #kernel = new Bytes();
  #pending: Uint8Array | undefined;
  waitsSince = Number.POSITIVE_INFINITY;
  /** Bytes and the end that are on their way to the server. */
  readonly #sent = new Bytes();
  #endSent = false;
  #isPaused = false;
  #isDelivering = false;
  isOpen = false;
  /** The server has half-closed it, or closed it. */
  isEnded = false;
  gone: "" | "closed" | "reset" = "";
  /** Its program has ended its side, takes nothing more, has reset it. */
  hasEnded = false;
  hasClosed = false;
  hasReset = false;
  readonly cameAt: number;

  constructor(
    court: Upstreams,
    clock: VirtualClock,
    sink: UpstreamSink,
    client: Client,
    opens: Opens,
  ) {
    this.#court = court;
    this.#clock = clock;
    this.#sink = sink;
    this.client = client;
    this.opens = opens;
    this.cameAt = clock.now();
    if (opens === "now") clock.defer(() => this.open());
    else if (opens === "late") clock.after(LATE_MILLIS, () => this.open());
    else if (opens === "refuse") clock.defer(() => this.#lose("ECONNREFUSED"));
  }

  open(): void {
    if (this.isOpen || this.gone || this.opens === "never" || this.opens === "refuse") return;
    this.isOpen = true;
    this.#sink.opened();
    this.#clock.defer(this.#deliver);
  }

  #lose(code: string): void {
    if (this.gone) return;
    this.gone = "reset";
    this.#pending = undefined;
    this.#sink.lost(Object.assign(new Error(code), { code }));
  }

  // The server's end.

  write(bytes: Uint8Array): boolean {
    if (!this.isOpen) throw new Error("written before the upstream was open");
    if (this.isEnded || this.gone) throw new Error("written after the end");
    if (this.#pending) throw new Error("a second write to the upstream is outstanding");
    this.#court.passedOn(this, bytes);
    if (this.hasClosed) {
      this.#clock.defer(() => this.#lose("EPIPE"));
      this.#pending = bytes;
      return false;
    }
    this.#pending = bytes;
    this.#fill();
    if (this.#pending) this.waitsSince = this.#clock.now();
    if (this.#court.isPrompt) this.#clock.defer(() => this.read(Number.POSITIVE_INFINITY));
    return this.#pending === undefined;
  }

  #fill(): void {
    const pending = this.#pending;
    if (!pending) return;
    const part = pending.subarray(0, this.#court.bufferBytes - this.#kernel.length);
    this.#kernel.add(part);
    this.#pending = part.length === pending.length ? undefined : pending.subarray(part.length);
  }

  end(): void {
    if (this.isEnded) throw new Error("the upstream was half-closed twice");
    if (this.#pending) throw new Error("half-closed within a write");
    this.isEnded = true;
    this.#court.halfClosed(this);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#clock.defer(this.#deliver);
  }

  destroy(): void {
    this.#close("closed");
  }

  reset(): void {
    this.#close("reset");
  }

  #close(how: "closed" | "reset"): void {
    if (this.gone === "closed") throw new Error("the upstream was closed twice");
    if (this.gone === "") this.gone = how;
    this.isEnded = true;
    this.#pending = undefined;
  }

  readonly #deliver = (): void => {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    while (this.isOpen && !this.gone && !this.#isPaused && this.#sent.length > 0)
      this.#sink.received(this.#sent.take(CHUNK_BYTES));
    this.#isDelivering = false;
    if (!this.isOpen || this.gone || this.#sent.length > 0 || !this.#endSent) return;
    this.#endSent = false;
    this.#sink.ended();
  };

  // Its program.

  read(limit: number): void {
    if (this.hasClosed || this.hasReset || this.gone === "reset") return;
    const wasPending = this.#pending !== undefined;
    for (let left = limit; left > 0 && this.#kernel.length > 0; ) {
      const bytes = this.#kernel.take(left);
      left -= bytes.length;
      this.#court.receivedBy(this, bytes);
      this.#fill();
    }
    if (!wasPending || this.#pending) return;
    this.waitsSince = Number.POSITIVE_INFINITY;
    this.#clock.defer(() => {
      if (!this.gone) this.#sink.written();
    });
  }

  /** True when it may still send. */
  get isSending(): boolean {
    return !this.hasEnded && !this.hasReset && this.gone === "";
  }

  send(bytes: Uint8Array): void {
    this.#sent.add(bytes);
    this.#clock.defer(this.#deliver);
  }

  finish(isWhole: boolean): void {
    this.hasEnded = true;
    this.hasClosed = isWhole;
    this.#endSent = true;
    this.#clock.defer(this.#deliver);
  }

  break(): void {
    this.hasReset = true;
    this.#clock.defer(() => this.#lose("ECONNRESET"));
  }
}

/** The bytes on the way between a client and its upstream. */
class Way {
  readonly up = new Bytes();
  readonly down = new Bytes();
  /** Bytes that the upstream was not given yet. */
  left = 0;
  upstream: MemoryUpstream | undefined;
  opens: Opens = "now";
}

/** The part of the world that upstreams use. */
interface Surroundings {
  readonly clock: VirtualClock;
  /** Everything is read at once: in exact mode, and at the end. */
  readonly isPrompt: boolean;
  /** Most pipes at a time. */
  readonly most: number;
  readonly bufferBytes: number;
  readonly windowBytes: number;
  clientOf(sink: UpstreamSink): Client;
  /** Bytes that the pipe of a client holds; undefined: it has none. */
  heldFor(client: Client): { readonly forward: number; readonly back: number } | undefined;
}

export class Upstreams {
  readonly #around: Surroundings;
  readonly #ways = new Map<Client, Way>();
  /** Upstreams that could not be reached, as they were reported. */
  failures = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  get isPrompt(): boolean {
    return this.#around.isPrompt;
  }

  get bufferBytes(): number {
    return this.#around.bufferBytes;
  }

  #way(client: Client): Way {
    const way = this.#ways.get(client) ?? new Way();
    this.#ways.set(client, way);
    return way;
  }

  /** Says how the upstream of a client will open. */
  expect(client: Client, opens: Opens): void {
    this.#way(client).opens = opens;
  }

  readonly connect: ConnectUpstream = (sink) => {
    const client = this.#around.clientOf(sink);
    const way = this.#way(client);
    if (way.upstream) client.fail("it was connected with an upstream twice");
    client.beRaw();
    way.upstream = new MemoryUpstream(this, this.#around.clock, sink, client, way.opens);
    return way.upstream;
  };

  // ---- the client's side -------------------------------------------------------------------------------

  /** The client has sent bytes; until it has an answer, they may be for an upstream. */
  sent(client: Client, bytes: Uint8Array): void {
    const way = this.#way(client);
    way.up.add(bytes);
    way.left += bytes.length;
  }

  /** The client speaks HTTP. */
  forget(client: Client): void {
    this.#ways.delete(client);
  }

  received(client: Client, bytes: Uint8Array): void {
    if (!this.#way(client).down.match(bytes))
      client.fail(`${bytes.length} bytes that are not the next ones of its upstream`);
  }

  // ---- the upstream's side -----------------------------------------------------------------------------

  passedOn({ client }: MemoryUpstream, bytes: Uint8Array): void {
    this.#way(client).left -= bytes.length;
  }

  receivedBy({ client }: MemoryUpstream, bytes: Uint8Array): void {
    if (!this.#way(client).up.match(bytes))
      client.fail(`its upstream got ${bytes.length} bytes that are not the next ones`);
  }

  halfClosed({ client }: MemoryUpstream): void {
    const { left } = this.#way(client);
    if (!client.hasEnded) client.fail("its upstream was half-closed, and it has not ended");
    if (left > 0) client.fail(`its upstream was half-closed ${left} bytes too early`);
  }

  // ---- steps -------------------------------------------------------------------------------------------

  act(
    client: Client,
    act: "send" | "read" | "open" | "end" | "close" | "reset",
    tag: number,
    size: number,
  ): void {
    const way = this.#ways.get(client);
    const { upstream } = way ?? {};
    if (!way || !upstream) return;
    if (act === "open") upstream.open();
    if (act === "read") upstream.read(size);
    if (!upstream.isOpen || !upstream.isSending) return;
    if (act === "send") {
      const bytes = payloadOf(tag, 2, size);
      way.down.add(bytes);
      upstream.send(bytes);
    } else if (act === "end" || act === "close") {
      upstream.finish(act === "close");
    } else if (act === "reset") {
      upstream.break();
    }
  }

  /** Lets all upstreams read everything. */
  rest(): void {
    for (const { upstream } of this.#ways.values()) upstream?.read(Number.POSITIVE_INFINITY);
  }

  // ---- judgement ---------------------------------------------------------------------------------------

  /** Judges the cause by which a client's connection has ended. */
  ended(client: Client, cause: string): void {
    const way = this.#ways.get(client);
    const { upstream } = way ?? {};
    if (!way || !upstream) return;
    const now = this.#around.clock.now();
    const isWaiting = now - upstream.waitsSince >= WRITE_MILLIS;
    const may: Readonly<Record<string, boolean>> = {
      Ok: client.hasEnded && upstream.hasEnded && way.left === 0,
      UpstreamFailed: upstream.opens === "refuse",
      UpstreamTimeout: upstream.isOpen ? isWaiting : now - upstream.cameAt >= OPEN_MILLIS,
      UpstreamReset: upstream.hasReset || upstream.hasClosed,
      PeerReset: client.hasReset,
      NetworkError: client.hasReset,
    };
    if (may[cause] === false) client.fail(`it has ended as ${cause}`);
  }

  /** Checks the memory that pipes hold. */
  check(): void {
    let pipes = 0;
    for (const [client, { upstream }] of this.#ways) {
      const held = this.#around.heldFor(client);
      if (held) pipes++;
      if (!held || !upstream) continue;
      if (held.back > CHUNK_BYTES) client.fail(`its pipe holds ${held.back} bytes for it`);
      // Before it is open they are bytes that were not parsed, and those of a read that found no buffer.
      const { windowBytes } = this.#around;
      const most = upstream.isOpen ? windowBytes : 3 * windowBytes + LINE_BYTES;
      if (held.forward > most) client.fail(`its pipe holds ${held.forward} bytes for the upstream`);
    }
    if (pipes > this.#around.most) throw new Error(`there are ${pipes} pipes`);
  }

  /** Checks that nothing is on the way. @param isWhole also to clients that read when they like */
  checkQuiet(isWhole: boolean): void {
    for (const [client, { up, down, upstream }] of this.#ways) {
      if (!upstream?.isOpen || client.hasReset || upstream.hasReset || upstream.hasClosed) continue;
      const why = client.why ?? "Ok";
      if (why !== "Ok" || client.frozen || client.socket.gone === "reset") continue;
      if (up.length > 0) client.fail(`${up.length} bytes have not reached its upstream`);
      if (client.hasEnded && !upstream.isEnded)
        client.fail("its upstream does not know of its end");
      if (!isWhole && !client.isReading) continue;
      if (down.length > 0) client.fail(`${down.length} bytes of its upstream lack`);
      if (upstream.hasEnded && !client.socket.ended && client.socket.gone === "")
        client.fail("it does not know of its upstream's end");
    }
  }

  /** Checks that every upstream has been closed. */
  checkOver(): void {
    for (const [client, { upstream }] of this.#ways)
      if (upstream?.gone === "") client.fail("its upstream is open after its end");
  }
}
