// The judge of exact mode: what each client must receive, byte for byte. Nothing else is known of the server.
//
// It is this simple because memory is ample, no time limit passes, and the world waits after whatever concerns several
// clients until nothing is under way. So all that happens is a list, and each entry adds bytes to the ends of queues.
// Pings and pongs are not part of it: they may stand anywhere between frames (client.ts).

import { latin1, toBytes } from "../../host/text";
import { zlibCodec } from "../../worker/net/zlib";
import type { Client } from "./client";
import { LARGE_BYTES, STATIC_BYTES, bodyOf, burstOf, payloadOf, piecesOf } from "./content";
import type { Court, Judge, Message } from "./judge";
import type { Ask, OpenHow, Say } from "./steps";
import type { Arrived, Frame } from "./stream";

/** Date of all answers. */
const DATE = "Thu, 01 Jan 2026 00:00:00 GMT";
const PHRASES: Readonly<Record<number, string>> = {
  ...{ 200: "OK", 400: "Bad Request", 403: "Forbidden", 413: "Content Too Large" },
  ...{ 414: "URI Too Long", 417: "Expectation Failed", 426: "Upgrade Required" },
  ...{ 431: "Request Header Fields Too Large", 500: "Internal Server Error" },
  ...{ 501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported" },
};
/** What the server agrees to for each of the offers in wrong.ts, and the window it compresses with. */
const AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const WINDOWS = [0, 0, 15, 15, 9];

/** A frame as servers send it (RFC 6455 5.2). */
function frameOf(opcode: number, payload: Uint8Array, isPacked = false): Uint8Array {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
  head[0] = 0x80 | (isPacked ? 0x40 : 0) | opcode;
  head[1] = length < 126 ? length : length < 65536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** A client as the model knows it. */
class Peer {
  /** Answers and frames that are still to arrive. */
  readonly owed: Uint8Array[] = [];
  /** What it has sent and the server has not come to. */
  readonly inputs: (() => void)[] = [];
  readonly topics = new Set<number>();
  isOpen = false;
  /** The window of its compression; 0 without. */
  window = 0;
  /** Handlers of it that have not settled. */
  handlers = 0;
  /** Its next input waits for one of them; its owner has paused it. */
  isHeld = false;
  isPaused = false;
  /** It gets nothing more. */
  isOver = false;

  /** Goes through what it has sent, as far as handlers let it. */
  run(): void {
    while (!this.isOver && !this.isHeld && !this.isPaused && this.inputs.length > 0)
      this.inputs.shift()?.();
  }

  owe(bytes: string | Uint8Array): void {
    if (!this.isOver) this.owed.push(toBytes(bytes));
  }

  /** The last it gets. */
  close(code: number, reason = ""): void {
    this.owe(frameOf(8, Buffer.concat([Uint8Array.of(code >> 8, code & 255), toBytes(reason)])));
    this.isOver = true;
  }
}

export class Model implements Judge {
  readonly #court: Court;
  readonly #peers = new Map<Client, Peer>();
  readonly #waiting = new Map<number, () => void>();
  #isStopping = false;

  constructor(court: Court) {
    this.#court = court;
  }

  #peer(client: Client): Peer {
    let peer = this.#peers.get(client);
    if (!peer) {
      peer = new Peer();
      peer.isOver = this.#isStopping;
      this.#peers.set(client, peer);
    }
    return peer;
  }

  /** The next input of a client, when its turn comes. */
  #input(client: Client, input: (peer: Peer) => void): void {
    const peer = this.#peer(client);
    peer.inputs.push(() => input(peer));
    peer.run();
  }

  /** A handler waits for its Settle step. */
  #wait(peer: Peer, tag: number, isHeld: boolean, go: () => void): void {
    if (isHeld) peer.isHeld = true;
    peer.handlers++;
    this.#waiting.set(tag, () => {
      peer.handlers--;
      if (isHeld) peer.isHeld = false;
      go();
      peer.run();
    });
  }

  // ---- requests --------------------------------------------------------------------------------------------

  /** An answer: status, what frames the body, and whether the connection goes on. */
  #answer(peer: Peer, ask: Partial<Ask>, status: number, framing: string, body: string): void {
    const isBare = ask.method === "HEAD";
    const isUnframed = framing === "" && !isBare;
    const isLast = ask.close || ask.how === "close" || isUnframed || this.#isStopping;
    const end = isLast
      ? "Connection: close\r\n"
      : "Connection: keep-alive\r\nKeep-Alive: timeout=3600\r\n";
    const type = "Content-Type: text/plain\r\n";
    const head = `HTTP/1.1 ${status} ${PHRASES[status]}\r\n${type}Date: ${DATE}\r\n${framing}${end}\r\n`;
    peer.owe(isBare ? head : head + body);
    if (isLast) peer.isOver = true;
  }

  #plain(peer: Peer, ask: Partial<Ask>, status: number, body: string): void {
    this.#answer(peer, ask, status, `Content-Length: ${body.length}\r\n`, body);
  }

  #refuse(peer: Peer, status: number, isHead: boolean): void {
    const body = `${PHRASES[status]}\n`;
    const upgrade =
      "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n";
    const head =
      `HTTP/1.1 ${status} ${PHRASES[status]}\r\nDate: ${DATE}\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${body.length}\r\n${status === 426 ? upgrade : "Connection: close\r\n"}\r\n`;
    peer.owe(isHead ? head : head + body);
    peer.isOver = true;
  }

  asked(client: Client, ask: Ask): void {
    this.#input(client, (peer) => {
      const { how, tag, method, minor, size } = ask;
      const echo = (): void => this.#plain(peer, ask, 200, `${tag} ${bodyOf(tag, size)}`);
      const fail = (): void => this.#refuse(peer, 500, method === "HEAD");
      // A body of no bytes has no first part, behind which it would wait.
      if (how === "later" || (how === "up-late" && size > 0)) this.#wait(peer, tag, true, echo);
      else if (how === "reject") this.#wait(peer, tag, true, fail);
      else if (how === "throw" || how === "empty") fail();
      else if (how === "static") this.#plain(peer, ask, 200, bodyOf(0, STATIC_BYTES));
      else if (how === "large") this.#plain(peer, ask, 200, bodyOf(tag, LARGE_BYTES));
      else if (how === "pieces") {
        const chunks = piecesOf(tag).map((one) => `${one.length.toString(16)}\r\n${one}\r\n`);
        if (minor === 1)
          this.#answer(
            peer,
            ask,
            200,
            "Transfer-Encoding: chunked\r\n",
            `${chunks.join("")}0\r\n\r\n`,
          );
        else this.#answer(peer, ask, 200, "", piecesOf(tag).join(""));
      } else echo();
    });
  }

  broken(client: Client, status: number): void {
    this.#input(client, (peer) => this.#refuse(peer, status, false));
  }

  upgraded(client: Client, tag: number, offer: number, how: OpenHow): void {
    this.#input(client, (peer) => {
      // What follows may be for the protocol that was asked for.
      if (how === "refuse") return this.#plain(peer, { close: true }, 403, "no");
      if (this.#court.settings.params.DeflateRingBytes !== 0)
        peer.window = WINDOWS[offer] as number;
      const bits = peer.window === 9 ? "; server_max_window_bits=9" : "";
      const field = peer.window > 0 ? `Sec-WebSocket-Extensions: ${AGREED}${bits}\r\n` : "";
      peer.owe(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n${field}Date: ${DATE}\r\n\r\n`,
      );
      peer.isOpen = true;
      if (how === "throw") peer.close(1011);
      if (how === "later") this.#wait(peer, tag, true, () => undefined);
      if (how === "reject") this.#wait(peer, tag, true, () => peer.close(1011));
    });
  }

  // ---- messages --------------------------------------------------------------------------------------------

  said(client: Client, { how, tag, opcode }: Say, payload: Uint8Array): void {
    this.#input(client, (peer) => {
      const echo = (): void => this.#send(peer, opcode, payload);
      const fail = (): void => peer.close(1011);
      const { ordered } = this.#court.settings;
      if (how === "echo") echo();
      else if (how === "throw") fail();
      else if (how === "later") this.#wait(peer, tag, ordered, echo);
      else if (how === "reject") this.#wait(peer, tag, ordered, fail);
      else if (how === "burst") {
        for (const one of burstOf(tag))
          this.#publish({ opcode: 2, payload: payloadOf(one.tag, 2, one.size), plain: false });
        echo();
      }
    });
  }

  #send(peer: Peer, opcode: number, payload: Uint8Array, window = peer.window): void {
    const isLong = payload.length >= (this.#court.settings.params.DeflateThreshold as number);
    const packed = window > 0 && isLong ? zlibCodec.deflate(payload, window) : payload;
    const isPacked = packed.length < payload.length;
    peer.owe(frameOf(opcode, isPacked ? packed : payload, isPacked));
  }

  #publish({ opcode, payload, plain, topic, except }: Omit<Message, "tag" | "via">): void {
    for (const [client, peer] of this.#peers) {
      const isReader = peer.isOpen && (topic === undefined || peer.topics.has(topic));
      // One compressed form is for all, so it is for those with the largest window.
      const window = peer.window === 15 && !plain ? 15 : 0;
      if (isReader && client !== except) this.#send(peer, opcode, payload, window);
    }
  }

  accepted(message: Message): void {
    if (message.to) this.#send(this.#peer(message.to), message.opcode, message.payload);
    else this.#publish(message);
  }

  echoed(): void {}

  subscribed(client: Client, topic: number, on: boolean): void {
    if (on) this.#peer(client).topics.add(topic);
    else this.#peer(client).topics.delete(topic);
  }

  failed(client: Client, code: number): void {
    this.#input(client, (peer) => peer.close(code));
  }

  closed(client: Client, code: number, reason: string): void {
    this.#peer(client).close(code, reason);
  }

  paused(client: Client, on: boolean): void {
    const peer = this.#peer(client);
    peer.isPaused = on;
    peer.run();
  }

  settled(tag: number): void {
    this.#waiting.get(tag)?.();
  }

  stopped(): void {
    this.#isStopping = true;
    for (const peer of this.#peers.values()) {
      if (peer.isOpen) peer.close(1001);
      else if (!peer.isHeld) peer.isOver = true;
    }
  }

  left(): void {}

  // ---- what arrives ------------------------------------------------------------------------------------------

  answer(client: Client, { bytes }: Arrived): void {
    const owed = this.#peer(client).owed.shift();
    if (owed && Buffer.compare(owed, bytes) === 0) return;
    const shown = (all: Uint8Array = bytes): string => {
      const isText = all[0] === 72;
      return isText
        ? latin1(all, 0, Math.min(300, all.length))
        : Buffer.from(all).toString("hex", 0, 20);
    };
    client.fail(
      `${shown(bytes)} of ${bytes.length} has arrived, not ${owed ? shown(owed) : 0} of ${owed?.length}`,
    );
  }

  frame(client: Client, frame: Frame): void {
    if (frame.opcode < 9) this.answer(client, frame as unknown as Arrived);
  }

  /** A client that reads at once has everything. */
  quiet(): void {
    for (const [client, peer] of this.#peers) {
      // Of a client that has left, or that paused behind its end, nobody knows when the server notices.
      if (client.hasReset || (client.hasEnded && peer.isOpen) || !client.isReading) continue;
      if (peer.owed.length > 0) client.fail(`${peer.owed.length} answers or messages lack`);
      if (client.rest > 0) client.fail(`${client.rest} bytes that are no answer and no message`);
      // Its end waits for its handlers, and for messages that were queued before.
      const isFree = peer.handlers + peer.inputs.length === 0 && !peer.isPaused;
      if (peer.isOver && isFree && !client.socket.ended)
        client.fail("its connection has not ended");
    }
    for (const [client, topics] of this.#court.readers()) {
      const { topics: known, isOver } = this.#peer(client);
      if (!isOver && [...topics].sort().join() !== [...known].sort().join())
        client.fail(`it subscribes to ${topics}, not to ${[...known]}`);
    }
  }

  delivered(): void {
    this.quiet();
  }
}
