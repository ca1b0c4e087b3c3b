// What the server does: its steps, from the worker's own code and from the application.
//
// Invariant: the model is told of a publication, a message or a subscription in the order in which the worker comes
// to them: at once for its own code, when the inbox is drained for the application's.

import { Control, Param } from "../../assembly/abi";
import type { Payload } from "../../host/data";
import type { PublishOptions, WebSocket } from "../../host/handler";
import { MessageWriter } from "../../host/messages";
import { toBytes } from "../../host/text";
import { Op } from "../../host/wire";
import { configure } from "../../worker/configure";
import { bytesOf, textOfBytes } from "./content";
import type { Client } from "./model";
import { type Action, type Publish, TOPICS } from "./steps";
import type { World } from "./world";

const encoder = new TextEncoder();

export class Serving {
  readonly #world: World;
  readonly #messages: MessageWriter;
  published = 0;
  refused = 0;
  /** Publications times those they are for. */
  due = 0;
  /** Messages that were queued for single clients, at least and at most. */
  sent = 0;
  sentMost = 0;

  constructor(world: World) {
    this.#world = world;
    this.#messages = new MessageWriter(
      world.post.writer,
      world.engine.params[Param.RingBytes] as number,
      () => world.application?.outlet.isClear ?? true,
    );
  }

  /** Who gets a publication that the worker comes to now. */
  #readers(topic: number | undefined, exceptId: number): Client[] {
    return [...new Map([...this.#world.early, ...this.#world.audience()])]
      .filter(
        ([client, ws]) => ws.id !== exceptId && (topic === undefined || client.topics.has(topic)),
      )
      .map(([client]) => client);
  }

  #owePublication(readers: readonly Client[], opcode: 1 | 2, payload: Uint8Array): void {
    this.published++;
    this.due += readers.length;
    for (const client of readers) client.oweFrame(opcode, payload, "publish");
  }

  /** Bytes up to the end of the ring's lap, less the head of the frame. */
  #fill(): number {
    const ring = this.#world.engine.params[Param.RingBytes] as number;
    const left = ring - (this.#world.engine.get(Control.Committed) % ring);
    return Math.max(0, left < 128 ? left - 2 : left - 4);
  }

  #contentOf({ tag, size, text }: Publish): Payload {
    const ring = this.#world.engine.params[Param.RingBytes] as number;
    if (size === "over") return bytesOf(tag, ring);
    // Where messages of the application may be overtaken, publications are to be known from them.
    const least = this.#world.application ? 8 : 0;
    const bytes = Math.min(size === "fill" ? this.#fill() : Math.max(size, least), ring - 10);
    return text && size !== "fill" ? textOfBytes(tag, bytes) : bytesOf(tag, bytes);
  }

  publish(what: Publish): void {
    const { via, size } = what;
    const data = this.#contentOf(what);
    const exceptId =
      what.except === undefined ? 0 : (this.#world.sockets.get(what.except)?.id ?? 0);
    const options = { except: exceptId, ...(what.plain ? { compress: false } : {}) };
    try {
      const sent =
        via === "worker" && !this.#world.application
          ? this.#publishWithin(what, data, options)
          : this.#publishThrough(what, data, options);
      if (!sent) this.refused++;
      if (sent && size === "over" && what.topic === undefined)
        this.#world.note("a message larger than the ring was published");
    } catch (error) {
      if (size !== "over" || !(error instanceof RangeError)) throw error;
    }
  }

  /** From the worker's own code. */
  #publishWithin(what: Publish, data: Payload, options: PublishOptions): boolean {
    const { topic, staged } = what;
    const name = topic === undefined ? undefined : (TOPICS[topic] as string);
    const readers = this.#readers(topic, options.except ?? 0);
    const whole = toBytes(data);
    const isBinary = typeof data !== "string";
    let sent: boolean;
    if (staged && what.size !== "over") {
      const stage = this.#world.pump.stage();
      for (let at = 0; at < whole.length; at += 999) stage.bytes(whole.subarray(at, at + 999));
      const stageOptions = { ...options, binary: isBinary };
      sent = name === undefined ? stage.broadcast(stageOptions) : stage.publish(name, stageOptions);
    } else {
      sent =
        name === undefined
          ? this.#world.pump.broadcast(data, options)
          : this.#world.pump.publish(name, data, options);
    }
    if (sent) this.#owePublication(readers, isBinary ? 2 : 1, whole);
    return sent;
  }

  /** From the application, through the inbox. */
  #publishThrough(what: Publish, data: Payload, options: PublishOptions): boolean {
    const { topic } = what;
    const sent =
      topic === undefined
        ? this.#messages.broadcast(data, options)
        : this.#messages.publish(TOPICS[topic] as string, data, options);
    const payload = toBytes(data);
    const opcode = typeof data === "string" ? 1 : 2;
    if (sent) {
      this.#world.post.record(() =>
        this.#owePublication(this.#readers(topic, options.except ?? 0), opcode, payload),
      );
    }
    return sent;
  }

  publishWithin(tag: number): void {
    for (let i = 0; i < 5; i++) {
      const plain = { via: "worker", text: false, plain: false, staged: false } as const;
      this.publish({ ...plain, tag: tag + i, size: (tag * 37 + i * 211) % 700 });
    }
  }

  /** A handler sends to a client. */
  sendTo(client: Client, ws: WebSocket, data: string | Uint8Array): void {
    const opcode = typeof data === "string" ? 1 : 2;
    const payload = toBytes(data);
    const isOpen = ws.open;
    if (!ws.send(data)) {
      if (isOpen && ws.open) client.isThirsty = true;
      return;
    }
    this.sentMost++;
    const owe = (): void => {
      if (this.#world.audience().has(client)) client.oweFrame(opcode, payload, "send");
    };
    if (this.#world.application) {
      this.#world.post.operation(Op.Send, owe);
    } else {
      this.sent++;
      owe();
    }
  }

  send({ client: id, all, via }: Action & { kind: "send" }): void {
    const ws = this.#world.sockets.get(id);
    const client = this.#world.guests.at(id)?.client;
    if (!ws?.open || !client) return;
    for (const { tag, size } of all) {
      if (via === "worker" || this.#world.application) {
        this.sendTo(client, ws, textOfBytes(tag, size));
        continue;
      }
      // Long enough to be known by: it may be lost, and others come without it.
      const text = textOfBytes(tag, Math.max(8, size));
      if (this.#messages.send(ws.id, text)) {
        this.sentMost++;
        this.#world.post.record(() => {
          if (this.#world.audience().has(client))
            client.oweFrame(1, encoder.encode(text), "record");
        });
      }
    }
  }

  subscribe({
    kind,
    client: id,
    topics,
    via,
  }: Action & { kind: "subscribe" | "unsubscribe" }): void {
    const ws = this.#world.sockets.get(id);
    const client = this.#world.guests.at(id)?.client;
    if (!ws || !client) return;
    for (const topic of topics) {
      const name = TOPICS[topic] as string;
      const note = (): void => {
        if (!this.#world.audience().has(client)) {
          // Evicted by what came behind in the same batch: it may have been a reader of what came in between.
          if (kind === "subscribe" && this.#world.early.has(client)) client.topics.add(topic);
          return;
        }
        if (this.#world.pump.topics.isSubscribed(ws.id, name)) client.topics.add(topic);
        else client.topics.delete(topic);
      };
      if (this.#world.application) this.#subscribeThere(kind, ws, name, note);
      else if (via === "inbox") {
        // Whether there was room for it shows when it is the only one on its way.
        const isFirst = this.#world.post.isQuiet;
        if (isFirst && this.#messages[kind](ws.id, name)) this.#world.post.record(note);
      } else {
        if (!ws.open) return;
        try {
          const done = kind === "subscribe" ? ws.subscribe(name) : ws.unsubscribe(name);
          if (
            !done &&
            kind === "unsubscribe" &&
            client.topics.has(topic) &&
            ws.open &&
            !client.isDone
          )
            this.#world.note(`${client} does not subscribe to ${name}`);
        } catch (error) {
          if (!(error instanceof RangeError) || !/ are taken$/.test(error.message)) throw error;
        }
        note();
      }
    }
  }

  /** On the application's thread: only what changes anything there is said to the worker. */
  #subscribeThere(
    kind: "subscribe" | "unsubscribe",
    ws: WebSocket,
    name: string,
    note: () => void,
  ): void {
    const had = ws.isSubscribed(name);
    const done = kind === "subscribe" ? ws.subscribe(name) && !had : ws.unsubscribe(name);
    if (!done) return;
    const op = kind === "subscribe" ? Op.Subscribe : Op.Unsubscribe;
    const topic = TOPICS.indexOf(name);
    const gone = (): void => void this.#world.clientAt(ws.remoteAddress).topics.delete(topic);
    this.#world.post.operation(op, kind === "subscribe" ? note : gone);
  }

  serve({ client: id, how }: Action & { kind: "serve" }): void {
    const ws = this.#world.sockets.get(id);
    const client = this.#world.guests.at(id)?.client;
    if (!ws?.open || !client) return;
    if (how === "close") {
      client.mayEnd("Application", "CloseTimeout");
      if (!ws.close(4001, "enough")) return;
      const part = (): void => {
        client.farewell(4001, "Application");
        this.#world.early.delete(client);
      };
      if (this.#world.application) this.#world.post.operation(Op.Close, part);
      else part();
    } else if (how === "terminate") {
      client.mayEnd("Application");
      ws.terminate();
    } else if (how === "ping") ws.ping("are you there");
    else if (how === "pause") {
      ws.pause();
      client.isStuck = true;
    } else ws.resume();
  }

  /** What has ended takes nothing any more, whoever has its slot now. */
  stale({ client: id, tag }: Action & { kind: "stale" }): void {
    const ws = this.#world.sockets.get(id);
    if (!ws || this.#world.guests.at(id)?.client.cause === undefined) return;
    const topic = TOPICS[0] as string;
    const took = [ws.send("stale"), ws.close(), ws.ping(), ws.terminate(), ws.open];
    if (took.includes(true)) this.#world.note(`client ${id} has ended and takes ${took}`);
    if (!this.#world.application) {
      const { x } = this.#world.engine;
      if (ws.subscribe(topic) || ws.unsubscribe(topic) || this.#world.pump.send(ws.id, "stale"))
        this.#world.note(`client ${id} has ended and subscribes`);
      const [slot, generation] = [ws.id % 2 ** 20, Math.floor(ws.id / 2 ** 20)];
      x.done(slot, generation);
      x.peerEnded(slot, generation);
      x.abandon(slot, generation, -54);
      for (const put of [
        this.#messages.send(ws.id, "stale"),
        this.#messages.closeConnection(ws.id, 1000),
      ]) {
        if (put) this.#world.post.record(() => undefined);
      }
    }
    const plain = { via: "inbox", text: true, plain: false, staged: false } as const;
    this.publish({ ...plain, tag, size: 20, except: id });
  }

  configure({ name, value }: Action & { kind: "configure" }): void {
    if (name === "maxRequestsPerSocket" && value > 0) this.#world.isLimited = true;
    if ((name === "slowGrace" && value === 0) || (name === "flushInterval" && value > 0)) {
      this.#world.isHarsh = true;
      for (const client of this.#world.clients) client.mayEnd("WsClientTooSlow");
    }
    configure(this.#world.pump, { [name]: value }, Number.POSITIVE_INFINITY);
  }
}
