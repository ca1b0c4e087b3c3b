// The model of exact mode: the bytes that each client must receive. It knows nothing else of the server.
//
// It is this simple because memory is ample, no time limit passes, and the world waits after each step that concerns
// several clients until nothing is in flight. So all events form a list, and each entry adds bytes to the ends of
// queues. Pings and pongs are not part of it: they may be anywhere between frames (client.ts).

import { CLOSE_TABLE } from "../../host/shared/close";
import { positionText } from "../../host/shared/message/position";
import { toBytes } from "../../host/shared/text/text";
import { zlibCodec } from "../../worker/net/zlib";
import type { Client } from "./client";
import {
  type Framing,
  answerOf,
  closeOf,
  eventOf,
  farewellOf,
  frameOf,
  gapOf,
  nameOf,
  refusalOf,
  streamHeadOf,
  switchOf,
} from "./octets";
import { STREAM_OFFER } from "./wrong";
import {
  LARGE_BYTES,
  STATIC_BYTES,
  PAGE_TYPE,
  bodyOf,
  burstOf,
  dripOf,
  fileOf,
  pageOf,
  payloadOf,
  piecesOf,
  streamOf,
} from "./content";
import type { Message } from "./judge";
import type { Ask, OpenHow, Say, Settings } from "./steps";

/** The window of compression that follows from each of the offers in wrong.ts. */
const WINDOWS = [0, 0, 15, 15, 9];

/** More about a publication. */
interface Published {
  /** The window of its compressed form. */
  readonly window?: number;
  readonly position?: string;
  readonly topic?: number | undefined;
}

/** A client as the model knows it. */
export class Peer {
  /** Answers and frames that are still to arrive. */
  readonly expected: Uint8Array[] = [];
  /** Frames that answer its own messages. */
  readonly own = new Set<Uint8Array>();
  /** Inputs that it has sent and the server has not yet processed. */
  readonly inputs: (() => void)[] = [];
  readonly topics = new Set<number>();
  isOpen = false;
  isStream = false;
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
    if (!this.isOver) this.expected.push(toBytes(bytes));
  }

  /** Owes what it gets at the very end. */
  end(bytes: string | Uint8Array): void {
    this.owe(bytes);
    this.isOver = true;
  }

  close(code: number, reason = ""): void {
    if (this.isStream) this.end(farewellOf(code, reason));
    else this.end(closeOf(code, reason));
  }
}

export class Model {
  readonly #settings: Settings;
  protected readonly peers = new Map<Client, Peer>();
  readonly #waiting = new Map<number, () => void>();
  #isStopping = false;
  /** Number of publications. */
  #positions = 0;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  protected peer(client: Client): Peer {
    const peer = this.peers.get(client) ?? Object.assign(new Peer(), { isOver: this.#isStopping });
    this.peers.set(client, peer);
    return peer;
  }

  /** The next input of a client, when its turn comes. */
  #input(client: Client, input: (peer: Peer) => void): void {
    const peer = this.peer(client);
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

  asked(client: Client, ask: Ask): void {
    this.#input(client, (peer) => this.#handle(peer, ask));
  }

  /** Handles a request as the handler does. */
  #handle(peer: Peer, ask: Ask): void {
    const { how, tag, method, minor, size } = ask;
    const isHead = method === "HEAD";
    const isBare = how === "bare";
    const page = pageOf(404, this.#settings);
    const status = isBare ? 404 : 200;
    const type = isBare ? page && PAGE_TYPE : "text/plain";
    const answer = (framing: Framing, ...pieces: readonly string[]): void => {
      const isUnframed = framing === "end" && !isHead;
      const isLast = ask.close || how === "close" || isUnframed || this.#isStopping;
      peer.owe(answerOf(ask, status, framing, pieces, isLast, type ?? ""));
      if (isLast) peer.isOver = true;
    };
    const echo = (): void => answer("length", `${tag} ${bodyOf(tag, size)}`);
    const fail = (): void => this.#refuse(peer, 500, isHead);
    // The first part of a body that has none is not waited for.
    if (how === "later" || (how === "up-late" && size > 0)) this.#wait(peer, tag, true, echo);
    else if (how === "reject") this.#wait(peer, tag, true, fail);
    else if (how === "throw" || how === "empty") fail();
    else if (isBare) answer("length", page ?? "");
    else if (how === "static") answer("length", bodyOf(0, STATIC_BYTES));
    else if (how === "large") answer("length", bodyOf(tag, LARGE_BYTES));
    else if (how === "counted") answer("length", ...piecesOf(tag));
    else if (how === "file") answer("length", fileOf(tag));
    else if (how === "drip") answer(minor === 1 ? "chunks" : "end", ...dripOf(tag).filter(Boolean));
    else if (how === "pieces") answer(minor === 1 ? "chunks" : "end", ...piecesOf(tag));
    else echo();
  }

  broken(client: Client, status: number): void {
    this.#input(client, (peer) => this.#refuse(peer, status, false));
  }

  #refuse(peer: Peer, status: number, isHead: boolean): void {
    peer.end(refusalOf(status, isHead, pageOf(status, this.#settings)));
  }

  upgraded(client: Client, tag: number, offer: number, how: OpenHow): void {
    this.#input(client, (peer) => {
      // The following bytes may be for the protocol that was asked for.
      const isStream = offer >= STREAM_OFFER;
      if (how === "refuse") {
        const isLast = !isStream || this.#isStopping;
        peer.owe(answerOf({}, 403, "length", ["no"], isLast));
        if (isLast) peer.isOver = true;
        return;
      }
      // A WebSocket needs both directions.
      if (client.hasEnded) {
        peer.isOver = true;
        return;
      }
      peer.isStream = isStream;
      if (peer.isStream) peer.owe(streamHeadOf());
      else if (this.#settings.params.DeflateRingBytes !== 0) peer.window = WINDOWS[offer] as number;
      if (!peer.isStream) peer.owe(switchOf(peer.window));
      peer.isOpen = true;
      if (how === "throw") peer.close(1011, CLOSE_TABLE.HandlerError.text);
      else if (how === "later") this.#wait(peer, tag, true, () => undefined);
      else if (how === "reject")
        this.#wait(peer, tag, true, () => peer.close(1011, CLOSE_TABLE.HandlerError.text));
    });
  }

  said(client: Client, { how, tag, opcode }: Say, payload: Uint8Array): void {
    this.#input(client, (peer) => {
      const echo = (): void => {
        this.#send(peer, opcode, payload);
        peer.own.add(peer.expected.at(-1) as Uint8Array);
      };
      const fail = (): void => peer.close(1011, CLOSE_TABLE.HandlerError.text);
      for (const one of how === "burst" ? burstOf(tag) : [])
        this.#publish({ opcode: 2, payload: payloadOf(one.tag, 2, one.size), plain: false });
      if (how === "echo" || how === "burst") echo();
      else if (how === "stream") this.#stream(peer, tag);
      else if (how === "throw") fail();
      else if (how === "later") this.#wait(peer, tag, this.#settings.ordered, echo);
      else if (how === "reject") this.#wait(peer, tag, this.#settings.ordered, fail);
    });
  }

  #stream(peer: Peer, tag: number): void {
    for (const { data } of streamOf(tag)) {
      this.#send(peer, typeof data === "string" ? 1 : 2, toBytes(data));
      peer.own.add(peer.expected.at(-1) as Uint8Array);
    }
  }

  #send(
    peer: Peer,
    opcode: number,
    payload: Uint8Array,
    { window = peer.window, position, topic }: Published = {},
  ): void {
    if (peer.isStream) {
      const event = toBytes(eventOf(opcode, payload, position, nameOf(this.#settings, topic)));
      const most = this.#settings.params.EventRingBytes as number;
      peer.owe(position !== undefined && event.length > most ? gapOf(position) : event);
      return;
    }
    const isLong = payload.length >= (this.#settings.params.DeflateThreshold as number);
    const packed = window > 0 && isLong ? zlibCodec.deflate(payload, window) : payload;
    const isPacked = packed.length < payload.length;
    peer.owe(frameOf(opcode, isPacked ? packed : payload, isPacked));
  }

  skipped(): void {
    this.#positions++;
  }

  #publish({ opcode, payload, plain, topic, except }: Omit<Message, "tag" | "via">): void {
    this.#positions++;
    const position = positionText(this.#settings.params.Epoch as number, this.#positions);
    for (const [client, peer] of this.peers) {
      const isReader = peer.isOpen && (topic === undefined || peer.topics.has(topic));
      // One compressed form is for all, so it is for those with the largest window.
      const window = peer.window === 15 && !plain ? 15 : 0;
      if (isReader && client !== except)
        this.#send(peer, opcode, payload, { window, position, topic });
    }
  }

  accepted(message: Message): void {
    if (message.to) this.#send(this.peer(message.to), message.opcode, message.payload);
    else this.#publish(message);
  }

  subscribed(client: Client, topic: number, on: boolean): void {
    if (on) this.peer(client).topics.add(topic);
    else this.peer(client).topics.delete(topic);
  }

  /** A WebSocket whose client has half-closed ends when what it sent before has been handled. */
  left(client: Client): void {
    if (!this.peer(client).isOpen) return;
    this.#input(client, (peer) => {
      peer.isOver = true;
    });
  }

  released(client: Client): void {
    this.peers.delete(client);
  }

  failed(client: Client, code: number, reason: string): void {
    this.#input(client, (peer) => peer.close(code, reason));
  }

  closed(client: Client, code: number, reason: string): void {
    this.peer(client).close(code, reason);
  }

  paused(client: Client, on: boolean): void {
    const peer = this.peer(client);
    peer.isPaused = on;
    peer.run();
  }

  settled(tag: number): void {
    this.#waiting.get(tag)?.();
  }

  stopped(): void {
    this.#isStopping = true;
    for (const peer of this.peers.values()) {
      if (peer.isOpen) peer.close(1001, CLOSE_TABLE.Shutdown.text);
      else if (!peer.isHeld) peer.isOver = true;
    }
  }
}
