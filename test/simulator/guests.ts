// What clients do: their steps, carried out over sockets in memory.
//
// Invariant: whatever a client says is noted in its model first, with what it is owed for it.

import { CLOSE_TABLE } from "../../host/close";
import type { MemorySocket } from "../../worker/net/memory";
import { zlibCodec } from "../../worker/net/zlib";
import { closeFrame, frame } from "../frame";
import { bodyOf, contentOf } from "./content";
import { STATIC_TEXT, largeOf, piecesOf } from "./handler";
import { type Answer, Client } from "./model";
import type { Action, Ask, Cut, Say } from "./steps";
import type { World } from "./world";
import { BROKEN, FAULTS, OFFERS, PHRASES } from "./wrong";

const encoder = new TextEncoder();

/** Causes by which a WebSocket fails for what its client sent. */
const FAILURES = Object.keys(CLOSE_TABLE).filter((name) => /^Ws(?!Client)/.test(name));
const REFUSALS = Object.entries(CLOSE_TABLE)
  .filter(([, row]) => row.status >= 400 && row.status < 500 && row.status !== 408)
  .map(([name]) => name)
  .concat("UnknownMethod", "UnsupportedTransferEncoding", "UnsupportedVersion");

/** A client's end of a connection, beside its model. */
interface Guest {
  readonly client: Client;
  readonly socket: MemorySocket;
  readonly isPolite: boolean;
  hasEnded: boolean;
  hasAsked: boolean;
  isNoted: boolean;
}

export class Guests {
  #pings = 0;
  readonly #world: World;
  readonly #all = new Map<number, Guest>();
  /** How many have been let in. */
  connected = 0;

  constructor(world: World) {
    this.#world = world;
  }

  [Symbol.iterator](): Iterator<Guest> {
    return this.#all.values();
  }

  at(id: number): Guest | undefined {
    return this.#all.get(id);
  }

  /** A client that may still say something. */
  #guest(id: number): Guest | undefined {
    const guest = this.#all.get(id);
    if (!guest || guest.client.isDone || guest.hasEnded || guest.socket.gone !== "")
      return undefined;
    return guest;
  }

  connect({ client: id, buffer, prompt, polite }: Action & { kind: "connect" }): void {
    const client = new Client(id, prompt, this.#world.rules);
    if (this.#world.isHarsh) client.mayEnd("WsClientTooSlow");
    const guest = { client, isPolite: polite, hasEnded: false, hasAsked: false, isNoted: false };
    const socket = this.#world.net.connect(buffer, `#${id}`);
    if (!socket) return;
    const whole: Guest = { ...guest, socket };
    this.#all.set(id, whole);
    this.connected++;
    socket.notify = () => {
      if (whole.isNoted || !this.#isReading(whole)) return;
      whole.isNoted = true;
      this.#world.clock.defer(() => {
        whole.isNoted = false;
        this.read(whole, Number.POSITIVE_INFINITY);
      });
    };
  }

  /** It reads what comes: always, or for as long as it waits to be let in. */
  #isReading({ client, hasAsked }: Guest): boolean {
    return this.#world.isEnding || client.isPrompt || (hasAsked && client.phase === "http");
  }

  read(guest: Guest, limit: number): void {
    const { client, socket } = guest;
    const bytes = socket.read(limit);
    client.take(bytes, socket.ended);
    if (!guest.isPolite || guest.hasEnded || client.hasReset) return;
    if (client.phase === "closed" && !client.isDone) {
      client.isDone = true;
      client.mayEnd("PeerClosed");
      socket.send(closeFrame(1000));
    }
    if (socket.ended) this.#end(guest);
  }

  #end(guest: Guest): void {
    guest.hasEnded = true;
    guest.client.isDone = true;
    guest.client.mayEnd("PeerClosed", "PeerEnded");
    guest.socket.end();
  }

  async #say(guest: Guest, bytes: Uint8Array, { at, turns }: Cut): Promise<void> {
    let from = 0;
    for (const part of [...at, 1]) {
      const to = Math.floor(part * bytes.length);
      if (to > from) guest.socket.send(bytes.subarray(from, to));
      from = Math.max(from, to);
      if (turns && part < 1) await this.#world.runner.settle();
    }
    if (bytes.length > 0) guest.client.spokeAt = this.#world.clock.now();
  }

  /** An answer, as the handler will give it. */
  #answerTo({ tag, method, how, size, minor, close }: Ask): Answer {
    const isHead = method === "HEAD";
    const isPool = this.#world.settings.place === "pool";
    const hurries = isPool && this.#world.settings.pool.handlerTimeout > 0;
    const end = close ? "end" : "next";
    const good = { status: 200, isHead, end } as const;
    const text = (body: string): string => (isHead ? "" : body);
    const failed = {
      status: 500,
      body: text("Internal Server Error\n"),
      isHead,
      end: "end",
    } as const;
    switch (how) {
      case "static":
        return { ...good, body: text(STATIC_TEXT) };
      case "large":
        return { ...good, body: text(largeOf(tag)) };
      case "pieces":
        return {
          ...{
            ...good,
            body: text(piecesOf(tag).join("")),
            end: minor === 0 && !isHead ? "end" : end,
          },
          ...(hurries ? { but: "fails" } : {}),
        };
      case "close":
        return { ...good, body: text(`${tag} ${bodyOf(tag, size)}`), end: "end" };
      case "up-early":
        return { ...good, body: "early", end: close ? "end" : "either" };
      case "never":
        return hurries ? failed : { ...good, body: "", but: "never" };
      case "break":
        return { ...good, body: "", end: "either", but: "breaks" };
      case "throw":
      case "empty":
      case "reject":
      case "die":
        return failed;
      default: {
        const waits = hurries && (how === "later" || how === "up-late");
        const body = text(`${tag} ${bodyOf(tag, size)}`);
        return { ...good, body, ...(waits ? { but: "fails" } : {}) };
      }
    }
  }

  #textOf(client: Client, ask: Ask): string {
    const { tag, method, how, size, framing, minor, close, expect } = ask;
    const body = bodyOf(tag, size);
    let text = `${method} /${client.id}?${how} HTTP/1.${minor}\r\nHost: sim\r\nX-Tag: ${tag}\r\n`;
    if (close) text += "Connection: close\r\n";
    else if (minor === 0) text += "Connection: keep-alive\r\n";
    if (expect) text += "Expect: 100-continue\r\n";
    if (method !== "POST") return `${text}\r\n`;
    if (framing === "length") return `${text}Content-Length: ${size}\r\n\r\n${body}`;
    text += "Transfer-Encoding: chunked\r\n\r\n";
    for (let at = 0; at < size; at += 700) {
      const piece = body.slice(at, at + 700);
      text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
    }
    return `${text}0\r\n${framing === "trailers" ? "X-Trailer: x\r\n" : ""}\r\n`;
  }

  async request({ client: id, asks, cut }: Action & { kind: "request" }): Promise<void> {
    const guest = this.#guest(id);
    if (!guest || guest.hasAsked) return;
    const { client } = guest;
    let text = "";
    for (const ask of asks) {
      if (client.isDone) break;
      text += this.#textOf(client, ask);
      if (ask.expect) client.expects = true;
      this.#world.asks.set(ask.tag, { client, ask, isHandled: false });
      client.oweAnswer(this.#answerTo(ask));
    }
    await this.#say(guest, encoder.encode(text), cut);
  }

  async stub({ client: id, ask, part }: Action & { kind: "stub" }): Promise<void> {
    const guest = this.#guest(id);
    if (!guest || guest.hasAsked) return;
    const text = this.#textOf(guest.client, ask);
    // At least one octet is missing.
    const cut = text.slice(0, Math.floor(part * text.length));
    if (ask.expect) guest.client.expects = true;
    this.#world.asks.set(ask.tag, { client: guest.client, ask, isHandled: false });
    guest.client.oweAnswer({
      status: 0,
      body: "",
      isHead: /^HEAD /.test(cut),
      end: "end",
      but: "stub",
    });
    await this.#say(guest, encoder.encode(cut), { at: [], turns: false });
  }

  async broken({ client: id, which, cut }: Action & { kind: "broken" }): Promise<void> {
    const guest = this.#guest(id);
    const broken = BROKEN[which];
    if (!guest || guest.hasAsked || !broken) return;
    const { client } = guest;
    client.oweAnswer({
      status: broken.status,
      body: PHRASES[broken.status] ?? "",
      isHead: false,
      end: "end",
    });
    client.mayEnd(...REFUSALS);
    await this.#say(guest, encoder.encode(broken.text), cut);
  }

  async upgrade({ client: id, tag, offer, how, cut }: Action & { kind: "upgrade" }): Promise<void> {
    const guest = this.#guest(id);
    if (!guest || guest.hasAsked) return;
    const { client } = guest;
    this.#world.asks.set(tag, { client, open: how, isHandled: false });
    if (how === "refuse") {
      client.oweAnswer({ status: 403, body: "no", isHead: false, end: "next" });
    } else {
      client.oweAnswer({ status: 101, body: "", isHead: false, end: "next" });
      guest.hasAsked = true;
    }
    const text =
      `GET /${id} HTTP/1.1\r\nHost: sim\r\nX-Tag: ${tag}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
      `${OFFERS[offer] ?? ""}\r\n`;
    await this.#say(guest, encoder.encode(text), cut);
    if (guest.hasAsked) this.read(guest, Number.POSITIVE_INFINITY);
  }

  /** A client whose WebSocket is open, as it knows. */
  #open(id: number): Guest | undefined {
    const guest = this.#guest(id);
    return guest?.client.phase === "frames" ? guest : undefined;
  }

  #framesOf(client: Client, say: Say): Uint8Array[] {
    const { tag, opcode, size, frames, pings, deflate } = say;
    const payload = contentOf(tag, opcode, size);
    const packed = deflate && client.deflates;
    const wire = packed ? zlibCodec.deflate(payload, 15) : payload;
    const out: Uint8Array[] = [];
    const mask = [tag & 255, (tag >> 8) & 255, 7, 0];
    for (let i = 0; i < frames; i++) {
      const part = wire.subarray((wire.length * i) / frames, (wire.length * (i + 1)) / frames);
      const final = i === frames - 1 ? 1 : 0;
      const reserved = packed && i === 0 ? 4 : 0;
      out.push(frame(i === 0 ? opcode : 0, part, { final, reserved, mask }));
      if (pings && final === 0) out.push(this.#ping(client, `${tag}.${i}`));
    }
    this.#world.says.set(tag, say);
    client.said.push({ tag, opcode, payload });
    return out;
  }

  #ping(client: Client, text: string): Uint8Array {
    client.owePong(text);
    return frame(9, text);
  }

  async ping({ client: id, count, cut }: Action & { kind: "ping" }): Promise<void> {
    const guest = this.#open(id);
    if (!guest) return;
    const { client } = guest;
    // No two alike: a pong tells by its text which ping it answers.
    const pings = Array.from({ length: count }, () => this.#ping(client, `ping ${this.#pings++}`));
    await this.#say(guest, Buffer.concat(pings), cut);
  }

  readStep({ client: id, limit }: Action & { kind: "read" }): void {
    const guest = this.#all.get(id);
    if (guest && guest.socket.gone !== "reset") this.read(guest, limit);
  }

  async talk({ client: id, says, cut }: Action & { kind: "say" }): Promise<void> {
    const guest = this.#open(id);
    if (!guest) return;
    const frames = says.flatMap((say) => this.#framesOf(guest.client, say));
    await this.#say(guest, Buffer.concat(frames), cut);
  }

  async fault({ client: id, which, cut }: Action & { kind: "fault" }): Promise<void> {
    const guest = this.#open(id);
    const fault = FAULTS[which];
    if (!guest || !fault) return;
    const { client } = guest;
    if (fault.deflated && !client.deflates) return;
    if (fault.whole && this.#world.settings.params.Pieces === 1) return;
    client.farewell(fault.code, FAILURES[0] as string);
    client.mayEnd(...FAILURES);
    client.isDone = true;
    await this.#say(guest, fault.bytes, cut);
  }

  leave({ client: id, how }: Action & { kind: "leave" }): void {
    const guest = this.#all.get(id);
    if (guest?.socket.gone !== "" || guest.hasEnded) return;
    const { client, socket } = guest;
    if (how === "reset") {
      client.hasReset = true;
      client.isDone = true;
      client.mayEnd("PeerReset");
      socket.reset();
    } else if (how === "close" && this.#open(id)) {
      client.farewell(1000, "PeerClosed");
      client.isDone = true;
      socket.send(closeFrame(1000));
    } else {
      this.#end(guest);
    }
  }
}
