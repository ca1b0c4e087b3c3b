// The judge of stress mode. It predicts nothing; each message carries its tag, so the judge recognises events that must
// never happen.
//
// Invariant, for each client: a message is one that was accepted for it, is whole, and comes once, in the order of the
// calls, messages for it alone and publications together. A response is the one to its oldest request, or a refusal.
// Accepted messages have arrived when all clients have read everything, or the connection has ended. A request that the
// handler was called with is answered before the server half-closes; one that arrives later need not be (RFC 9112 9.5).

import type { Client } from "./client";
import {
  bodyOf,
  dripOf,
  fileOf,
  HUGE_BYTES,
  LARGE_BYTES,
  STATIC_BYTES,
  pageOf,
  piecesOf,
  tagOf,
} from "./content";
import type { Court, Judge, Message } from "./judge";
import { type Ask, type OpenHow, type Settings, TOPICS } from "./steps";
import { eventDataOf, eventOf, nameOf } from "./octets";
import { Positions, Return } from "./positions";
import { type Arrived, type Frame, HELLO, LIVE } from "./stream";
import { STREAM_OFFER } from "./wrong";
import { positionText, sequenceOf } from "../../host/shared/message/position";
import { toBytes } from "../../host/shared/text/text";
import { zlibCodec } from "../../worker/net/zlib";

/** Statuses with which a server under stress refuses any request. */
const REFUSALS: readonly number[] = [408, 500, 503];
/** Readers of broadcasts, among those of topics. */
const ALL = -1;

/** A message that was accepted, and its place in the order of all. */
interface Entry extends Message {
  readonly order: number;
}

/** A response that is pending. */
interface Expected {
  /** The request's. */
  readonly tag: number;
  readonly status: number;
  readonly body: string;
  /** The client is an EventSource, which any refusal but 200 would end. */
  readonly isSource?: boolean;
}

/** The tag of a request that no handler is called with. */
const UNHANDLED = -1;

interface Book {
  readonly answers: Expected[];
  /** Messages that must arrive. */
  readonly expected: Set<Entry>;
  /** Topics that it has ever subscribed to. */
  readonly topics: Set<number>;
  /** The last message that arrived, by producer. */
  readonly last: Map<string, number>;
  expects: boolean;
  /** The last position that arrived. */
  position: string;
  /** Place of the first message after the client asked for its WebSocket. */
  since: number;
  /** Knowledge of its event stream, where publications are kept. */
  back: Return | undefined;
}

/** Returns the response to a request that is handled. */
function answerTo({ tag, method, how, size }: Ask, settings: Settings): Expected {
  const text = (body: string): Expected => {
    return { tag, status: 200, body: method === "HEAD" ? "" : body };
  };
  switch (how) {
    case "bare":
      return { ...text(pageOf(404, settings) ?? ""), status: 404 };
    case "static":
      return text(bodyOf(0, STATIC_BYTES));
    case "huge":
      return text(bodyOf(0, HUGE_BYTES));
    case "large":
      return text(bodyOf(tag, LARGE_BYTES));
    case "pieces":
    case "counted":
      return text(piecesOf(tag).join(""));
    case "file":
      return text(fileOf(tag));
    case "drip":
      return text(dripOf(tag).join(""));
    case "up-early":
      return text("early");
    case "throw":
    case "empty":
    case "reject":
    case "die":
      return { tag, status: 500, body: "" };
    // The head of a broken answer arrives, and to HEAD that is all.
    default:
      return text(`${tag} ${bodyOf(tag, size)}`);
  }
}

export class Ledger implements Judge {
  readonly #court: Court;
  readonly #books = new Map<Client, Book>();
  readonly #entries = new Map<number, Entry>();
  /** Positions of publications that readers of events have received, by tag. */
  readonly #positions = new Map<number, string>();
  #order = 0;
  readonly #list = new Positions();
  /** Publications until the first stream had opened, at most. */
  #keptFrom = Number.POSITIVE_INFINITY;
  /** Clients that certainly read each topic, as of the last quiet moment. */
  #readers = new Map<number, Set<Client>>();
  /** The first message after that moment. */
  #quietAt = 0;

  constructor(court: Court) {
    this.#court = court;
  }

  #book(client: Client): Book {
    let book = this.#books.get(client);
    if (!book) {
      const lists = { answers: [], expected: new Set<Entry>(), topics: new Set<number>() };
      book = { ...lists, last: new Map(), expects: false, position: "", since: 0, back: undefined };
      this.#books.set(client, book);
    }
    return book;
  }

  // ---- requests --------------------------------------------------------------------------------------------

  asked(client: Client, ask: Ask, isWhole: boolean): void {
    const book = this.#book(client);
    if (ask.expect) book.expects = true;
    // A handler that does not wait for the body answers a part of a request, too.
    const isAnswered = isWhole || ask.how === "up-early";
    book.answers.push(
      isAnswered ? answerTo(ask, this.#court.settings) : { tag: UNHANDLED, status: 0, body: "" },
    );
  }

  broken(client: Client, status: number): void {
    this.#book(client).answers.push({ tag: UNHANDLED, status, body: "" });
  }

  upgraded(client: Client, tag: number, offer: number, how: OpenHow, since?: string): void {
    const book = this.#book(client);
    if (offer >= STREAM_OFFER && this.#court.settings.params.History === 1)
      book.back = new Return(since);
    book.since = this.#order;
    const isRefused = how === "refuse";
    const status = isRefused ? 403 : offer >= STREAM_OFFER ? 200 : 101;
    const isSource = offer >= STREAM_OFFER;
    book.answers.push({ tag, status, body: isRefused ? "no" : "", isSource });
  }

  answer(client: Client, { status, phrase, body }: Arrived): void {
    const book = this.#book(client);
    if (status === 100) {
      if (!book.expects) client.fail("a 100 (Continue) that it does not expect");
      return;
    }
    const expected = book.answers.shift();
    if (expected?.status === status && expected.body === body) return;
    if (expected?.isSource && status === 200 && /^(?:retry: \d+\n\n)?$/.test(body)) return;
    // Of a refusal the body is the error page, or the phrase.
    const isRefusal = REFUSALS.includes(status) || (expected?.status === status && status >= 400);
    const refusal = pageOf(status, this.#court.settings) ?? `${phrase}\n`;
    if (isRefusal && (body === "" || body === refusal)) return;
    const wanted = expected ? `${expected.status} ${expected.body.slice(0, 60)}` : "nothing";
    client.fail(`${status} ${body.slice(0, 60)} has arrived, ${wanted} is expected`);
  }

  finished(client: Client): void {
    if (client.phase !== "http" || client.hasEnded) return;
    const { length } = this.#book(client).answers.filter(({ tag }) => this.#court.isHandled(tag));
    if (length > 0) client.fail(`the server has half-closed, ${length} answers lack`);
  }

  // ---- messages --------------------------------------------------------------------------------------------

  accepted(message: Message): void {
    const entry = { ...message, order: this.#order++ };
    if (!message.to) this.#list.add(message, message.position);
    this.#entries.set(message.tag, entry);
    if (message.to) this.#book(message.to).expected.add(entry);
    for (const client of message.to ? [] : (this.#readers.get(message.topic ?? ALL) ?? [])) {
      if (client === message.except) continue;
      if (!client.isStream || !this.#isGap(message)) this.#book(client).expected.add(entry);
    }
  }

  skipped(position?: number): void {
    this.#list.add(undefined, position);
  }

  joined(client: Client, topic: number): void {
    this.#book(client).back?.initial.add(topic);
    this.#mayRead(client, topic);
  }

  opened(): void {}

  /** Returns true for a publication whose event does not fit into its ring. */
  #isGap({ opcode, payload, topic }: Message): boolean {
    const { settings } = this.#court;
    const event = eventOf(opcode, payload, positionText(0, 0), nameOf(settings, topic));
    return toBytes(event).length > (settings.params.EventRingBytes as number);
  }

  /** Returns the message of an event: a text, or binary as base64. */
  #ofEvent(client: Client, { id, name, data }: NonNullable<Frame["event"]>): Entry {
    const isText = /^\d+(?: |$)/.test(data);
    const tag = tagOf(isText ? 1 : 2, isText ? toBytes(data) : Buffer.from(data, "base64"));
    const entry = this.#entries.get(tag);
    if (!entry || eventDataOf(entry.opcode, entry.payload) !== data)
      client.fail(`an event that nobody has sent: ${data.slice(0, 60)}`);
    if (name !== nameOf(this.#court.settings, entry.topic))
      client.fail(`message ${tag} is named ${name}`);
    if ((entry.to === undefined) !== (id !== undefined))
      client.fail(`message ${tag} has the position ${id}`);
    if (id === undefined) return entry;
    this.#passes(client, id);
    this.#book(client).back?.arrived(sequenceOf(id));
    const known = this.#positions.get(tag) ?? id;
    if (known !== id) client.fail(`message ${tag} has the positions ${known} and ${id}`);
    this.#positions.set(tag, id);
    return entry;
  }

  /** Positions of one client grow. */
  #passes(client: Client, id: string): void {
    const book = this.#book(client);
    if (id <= book.position) client.fail(`the position ${id} comes after ${book.position}`);
    book.position = id;
  }

  echoed(message: Message): void {
    this.accepted(message);
  }

  subscribed(client: Client, topic: number): void {
    const { back } = this.#book(client);
    back?.touched.add(topic);
    back?.topics.delete(topic);
    this.#mayRead(client, topic);
  }

  /** From now on, up to the next quiet moment, it is not known whether the client reads the topic. */
  #mayRead(client: Client, topic: number): void {
    const book = this.#book(client);
    book.topics.add(topic);
    this.#readers.get(topic)?.delete(client);
    for (const entry of book.expected) {
      if (entry.topic === topic && entry.order >= this.#quietAt) book.expected.delete(entry);
    }
  }

  quiet(): void {
    this.#quietAt = this.#order;
    this.#list.place(this.#court.published);
    this.#readers = new Map([[ALL, new Set()]]);
    for (const [client, topics] of this.#court.readers()) {
      const { back } = this.#book(client);
      // It reads topics that it subscribed to when it opened from the beginning.
      for (const topic of topics)
        if (back?.initial.has(topic) && !back.touched.has(topic)) back.topics.add(topic);
      for (const topic of [ALL, ...topics]) {
        const readers = this.#readers.get(topic) ?? new Set();
        this.#readers.set(topic, readers.add(client));
      }
    }
  }

  frame(client: Client, frame: Frame): void {
    if (frame.opcode >= 8) return;
    if (frame.event && frame.opcode > 1) {
      this.#judgeControl(client, frame.opcode, frame.event);
      return;
    }
    if (frame.event) {
      this.#judgeEntry(client, this.#ofEvent(client, frame.event));
      return;
    }
    if (frame.packed && !client.deflates) client.fail("a compressed message without an agreement");
    const payload = frame.packed ? zlibCodec.inflate(frame.payload, 1 << 20) : frame.payload;
    if (typeof payload === "string") client.fail(`a compressed message that is ${payload}`);
    const entry = this.#entries.get(tagOf(frame.opcode, payload));
    if (entry?.opcode !== frame.opcode || Buffer.compare(entry.payload, payload) !== 0)
      client.fail(`a message of ${payload.length} bytes that nobody has sent`);
    this.#judgeEntry(client, entry);
  }

  /** Judges an event that is no message. */
  #judgeControl(client: Client, opcode: number, event: NonNullable<Frame["event"]>): void {
    const { id } = event;
    const data = JSON.parse(event.data) as { position?: string; reason?: string; topic?: string };
    const { back } = this.#book(client);
    if (!back) {
      // Without history a gap replaces a publication.
      this.#passes(client, id ?? "");
      return;
    }
    if (data.position !== undefined && data.position !== id) client.fail("two positions");
    if (opcode === HELLO) {
      if (back.isGreeted) client.fail("a second hello");
      back.isGreeted = true;
      this.#keptFrom = Math.min(this.#keptFrom, this.#court.published);
      back.resumed = id !== undefined;
      if (id === undefined) return;
      if (id !== back.since) client.fail(`it resumes from ${id}, not from ${back.since}`);
      this.#book(client).position = id;
      back.base = sequenceOf(id);
      back.arrived(back.base);
      return;
    }
    if (!back.isGreeted) client.fail("an event before its hello");
    if (opcode === LIVE) {
      if (back.resumed || back.isLive || id === undefined) client.fail("a live of no use");
      back.isLive = true;
      this.#passes(client, id);
      back.base = sequenceOf(id);
      back.arrived(back.base);
      return;
    }
    this.#judgeGap(client, back, id, data);
  }

  #judgeGap(
    client: Client,
    back: Return,
    id: string | undefined,
    { reason = "", topic }: { reason?: string; topic?: string },
  ): void {
    if (reason === "large" || reason === "lapped") {
      if (id === undefined) client.fail(`a gap (${reason}) without a position`);
      this.#passes(client, id);
      if (reason === "large") back.arrived(sequenceOf(id));
      else this.#lapse(client, back, sequenceOf(id));
      return;
    }
    const { since = "" } = back;
    const isForm = /^[0-9a-z]{8}-[0-9a-z]{11}$/.test(since);
    const epoch = positionText(this.#court.settings.params.Epoch as number, 0).slice(0, 9);
    const isOwn = isForm && since.startsWith(epoch);
    const isFuture = isOwn && sequenceOf(since) > this.#court.published;
    const wanted = !isForm || isFuture ? "invalid" : isOwn ? "expired" : "epoch";
    if (id !== undefined || back.since === undefined || reason !== wanted)
      client.fail(`a gap: ${reason}, not ${wanted}`);
    if (topic !== undefined) {
      back.touched.add(TOPICS.indexOf(topic));
      back.topics.delete(TOPICS.indexOf(topic));
    }
    if (reason === "expired") this.#judgeExpired(client, sequenceOf(since));
  }

  /** Missing publications must be old, unless the topic was forgotten or no stream had read events before. */
  #judgeExpired(client: Client, since: number): void {
    const { params } = this.#court.settings;
    if (since >= this.#court.published) client.fail("it has missed nothing");
    const isKept = this.#court.forgotten === 0 && params.Topics === 16 && since > this.#keptFrom;
    if (!isKept || this.#list.placed < this.#court.published) return;
    let bytes = 0;
    for (let at = since + 1; at <= this.#list.placed; at++)
      bytes += 200 + (this.#list.at(at)?.payload.length ?? 0) * 7;
    const isShort = this.#list.placed - since < (params.QueuedFrames as number) / 4;
    if (isShort && bytes < (params.EventRingBytes as number) / 4)
      client.fail(`what came after ${since} is not gone`);
  }

  /** A client has missed publications, and got the gap. */
  #lapse(client: Client, back: Return, position: number): void {
    back.skip(position, this.#list, client);
    const { expected } = this.#book(client);
    for (const entry of expected) if (!entry.to) expected.delete(entry);
  }

  /** Judges a message that has arrived. */
  #judgeEntry(client: Client, entry: Entry): void {
    const book = this.#book(client);
    const isReader = entry.topic === undefined || book.topics.has(entry.topic);
    if (entry.to ? entry.to !== client : !isReader || entry.except === client)
      client.fail(`message ${entry.tag} is for ${entry.to ?? "others"}`);
    // The worker publishes at once, so a client gets no publication from before its upgrade request.
    const isAtOnce = entry.via === "handler" && this.#court.settings.place !== "application";
    if (isAtOnce && entry.order < book.since && !book.back?.resumed)
      client.fail(`message ${entry.tag} was published before it asked for its WebSocket`);
    this.#judgeOrder(client, book, entry);
    book.expected.delete(entry);
  }

  /** Messages of one producer come in order. */
  #judgeOrder(client: Client, book: Book, entry: Entry): void {
    const { place } = this.#court.settings;
    // On the application's thread its handlers and its other code are one producer.
    const producer = place === "application" ? "inbox" : entry.via;
    // Messages sent to a stream before its `live` are not ordered among publications.
    if (entry.to && book.back && !book.back.resumed && !book.back.isLive) return;
    if ((book.last.get(producer) ?? -1) >= entry.order)
      client.fail(`message ${entry.tag} is repeated, or comes after a later one`);
    book.last.set(producer, entry.order);
  }

  delivered(mayWait: boolean): void {
    const open = this.#court.readers();
    for (const [client, { back }] of this.#books) {
      const isWhole = open.has(client) && client.socket.gone === "" && !client.frozen;
      const isOpen = isWhole && client.phase === "frames" && client.why === undefined;
      back?.verify(this.#list, client, isOpen ? this.#list.placed : undefined);
    }
    for (const client of this.#court.readers().keys()) {
      const { expected } = this.#book(client);
      if (client.phase !== "frames" || client.socket.gone !== "" || client.why !== undefined)
        continue;
      if (client.frozen) continue;
      const [first] = expected;
      if (first) client.fail(`${expected.size} messages lack, the first ${first.tag}`);
    }
    if (mayWait) return;
    for (const [client, { answers }] of this.#books) {
      const { ended, gone } = client.socket;
      const isOpen = gone === "" && !ended && !client.hasEnded && client.why === undefined;
      if (isOpen && client.phase === "http" && !client.isDone && answers.length > 0)
        client.fail(`${answers.length} answers lack`);
    }
  }

  released(client: Client): void {
    this.#books.delete(client);
  }

  said(): void {}
  failed(): void {}
  left(): void {}
  closed(): void {}
  paused(): void {}
  settled(): void {}
  stopped(): void {}
}
