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
  helloOf,
  liveOf,
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
import { topicsOf } from "./handler";
import type { Message } from "./judge";
import { type Ask, type OpenHow, type Say, type Settings, TOPICS } from "./steps";

/** The window of compression that follows from each of the offers in wrong.ts. */
const WINDOWS = [0, 0, 15, 15, 9];

/** A publication, and its position. */
interface Publication {
  readonly at: number;
  readonly opcode: number;
  readonly payload: Uint8Array;
  readonly topic: number | undefined;
  readonly except: Client | undefined;
}

/** A message that a parked stream gets later, and its place among the positions. */
interface Due {
  readonly at: number;
  readonly bytes: string | Uint8Array;
  /** It is for this client alone. */
  readonly isOwn: boolean;
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
  /** Messages that it gets once its `open` has settled; undefined: it is not parked. */
  parked: Due[] | undefined;
  /** The position from which it resumes; undefined: it does not. */
  since: number | undefined;
  /** The position at which it opened. */
  liveAt = 0;
  /** Topics that it left while messages of them were due to it. */
  readonly left = new Set<number>();

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
    // Messages for it alone are sent.
    for (const { isOwn, bytes } of this.parked ?? []) if (isOwn) this.owe(bytes);
    this.parked = undefined;
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
  /** All publications, and the position from which on they are written as events. */
  readonly #all: Publication[] = [];
  #keptFrom = Number.POSITIVE_INFINITY;

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

  upgraded(client: Client, tag: number, offer: number, how: OpenHow, since?: string): void {
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
      if (isStream && this.#settings.params.History === 1) this.#greet(peer, tag, since);
      if (how === "throw") peer.close(1011, CLOSE_TABLE.HandlerError.text);
      else if (how === "later") this.#wait(peer, tag, true, () => this.#unpark(peer));
      else if (how === "reject")
        this.#wait(peer, tag, true, () => peer.close(1011, CLOSE_TABLE.HandlerError.text));
    });
  }

  #position(sequence: number): string {
    return positionText(this.#settings.params.Epoch as number, sequence);
  }

  /** Judges the position that the client of an event stream names. @returns undefined: it names none */
  #judge(since: string | undefined): number | "epoch" | "invalid" | undefined {
    if (since === undefined) return undefined;
    if (!/^[0-9a-z]{8}-[0-9a-z]{11}$/.test(since)) return "invalid";
    const sequence = Number.parseInt(since.slice(9), 36);
    if (since !== this.#position(sequence)) return "epoch";
    return sequence > this.#positions ? "invalid" : sequence;
  }

  /** Publications of a topic, or to all, after a position. */
  #missed(since: number, topic: number | undefined): Publication[] {
    return this.#all.filter((one) => one.at > since && one.topic === topic);
  }

  #isGone({ at }: Publication): boolean {
    return at <= this.#keptFrom;
  }

  /** The beginning of an event stream. */
  #greet(peer: Peer, tag: number, named: string | undefined): void {
    this.#keptFrom = Math.min(this.#keptFrom, this.#positions);
    const judged = this.#judge(named);
    const topics = [...new Set([undefined, ...topicsOf(tag)])];
    const since = typeof judged === "number" ? judged : 0;
    const missed = topics.flatMap((topic) => this.#missed(since, topic));
    const isGone = typeof judged === "number" && missed.some((one) => this.#isGone(one));
    const gap = typeof judged === "string" ? judged : isGone ? "expired" : undefined;
    if (judged !== undefined && gap === undefined) peer.since = since;
    peer.owe(helloOf(peer.since === undefined ? undefined : this.#position(since)));
    if (gap !== undefined) peer.owe(gapOf(undefined, gap));
    for (const topic of topicsOf(tag)) peer.topics.add(topic);
    peer.parked = [];
    peer.liveAt = this.#positions;
    if (peer.since !== undefined) for (const one of missed) this.#deliver(peer, one);
  }

  /** Subscribes: a stream that resumes gets the messages of the topic that it has missed, or their gap. */
  joined(client: Client, topic: number): void {
    const peer = this.peer(client);
    const { parked, since, topics } = peer;
    if (topics.has(topic)) return;
    topics.add(topic);
    if (!parked || since === undefined) return;
    const missed = this.#missed(since, topic);
    // Messages that are due since before it left the topic do not come twice.
    const isTwice = missed.length > 0 && peer.left.has(topic);
    if (isTwice || missed.some((one) => this.#isGone(one)))
      peer.owe(gapOf(undefined, "expired", TOPICS[topic] as string));
    else for (const one of missed) if (one.except !== client) this.#deliver(peer, one);
  }

  opened(client: Client): void {
    const peer = this.peer(client);
    if (!peer.isHeld) this.#unpark(peer);
  }

  /** `open` has settled. */
  #unpark(peer: Peer): void {
    const { parked, since } = peer;
    if (!parked) return;
    peer.parked = undefined;
    if (since === undefined) peer.owe(liveOf(this.#position(peer.liveAt)));
    parked.sort((a, b) => a.at - b.at || Number(a.isOwn) - Number(b.isOwn));
    for (const { bytes } of parked) peer.owe(bytes);
  }

  /** Sends a publication to an event stream. */
  #deliver(peer: Peer, { at, opcode, payload, topic }: Publication): void {
    const position = this.#position(at);
    const event = toBytes(eventOf(opcode, payload, position, nameOf(this.#settings, topic)));
    const most = this.#settings.params.EventRingBytes as number;
    const bytes = event.length > most ? gapOf(position, "large") : event;
    if (peer.parked) peer.parked.push({ at, bytes, isOwn: false, topic });
    else peer.owe(bytes);
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

  #send(peer: Peer, opcode: number, payload: Uint8Array, window = peer.window): void {
    if (peer.isStream) {
      const bytes = eventOf(opcode, payload, undefined, "");
      // It keeps its place among the publications.
      if (peer.parked && peer.since !== undefined)
        peer.parked.push({ at: this.#positions, bytes, isOwn: true });
      else peer.owe(bytes);
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
    const publication = { at: this.#positions, opcode, payload, topic, except };
    if (this.#settings.params.History === 1) this.#all.push(publication);
    for (const [client, peer] of this.peers) {
      const isReader = peer.isOpen && (topic === undefined || peer.topics.has(topic));
      // One compressed form is for all, so it is for those with the largest window.
      const window = peer.window === 15 && !plain ? 15 : 0;
      if (!isReader || client === except) continue;
      if (peer.isStream) this.#deliver(peer, publication);
      else this.#send(peer, opcode, payload, window);
    }
  }

  accepted(message: Message): void {
    if (message.to) this.#send(this.peer(message.to), message.opcode, message.payload);
    else this.#publish(message);
  }

  subscribed(client: Client, topic: number, on: boolean): void {
    if (on) this.joined(client, topic);
    else {
      const peer = this.peer(client);
      peer.topics.delete(topic);
      if (peer.parked?.some((one) => one.topic === topic)) peer.left.add(topic);
    }
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
