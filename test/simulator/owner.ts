// The server's owner: its calls, from the handler's own code and from the application, and the ids that are stale.
//
// Invariant: a call is reported to the judge when it is made, in the order of the calls.

import { Control, Param } from "../../assembly/abi";
import type { Payload } from "../../host/shared/message/data";
import type { PublishOptions, WebSocket } from "../../host/handler";
import { MessageWriter } from "../../host/send/messages";
import { toBytes } from "../../host/shared/text/text";
import type { Client } from "./client";
import { sequenceOf } from "../../host/shared/message/position";
import { TAG_BYTES, burstOf, dataOf } from "./content";
import { type Call, type Of, type Publish, TOPICS, type Via } from "./steps";
import type { World } from "./world";

export class Owner {
  readonly #world: World;
  readonly #messages: MessageWriter;
  /** Clients that are not read. */
  readonly paused = new Map<Client, WebSocket>();
  published = 0;
  /** Publications that were accepted, those to topics without subscribers included. */
  positions = 0;
  refused = 0;
  /** Bytes of the events up to each position. */
  readonly #volumes = [0];

  constructor(world: World) {
    this.#world = world;
    const { params } = world.engine;
    this.#messages = new MessageWriter(
      world.post.writer,
      params[Param.RingBytes] as number,
      { backlog: params[Param.Backlog] as number, clients: params[Param.WebSockets] as number },
      () => world.application?.outlet.isClear ?? true,
    );
    world.post.onCredit = (report) => this.#messages.credited(report);
  }

  /** Clients to which messages of the application may be under way. */
  get underWay(): number {
    return this.#messages.underWay;
  }

  /** Returns true when the model knows what has left the ring since a position: in exact mode, nothing has. */
  isCertain(position: string): boolean {
    if (!this.#world.isExact) return true;
    const sequence = sequenceOf(position);
    if (Number.isNaN(sequence) || sequence >= this.#volumes.length) return true;
    const bytes = (this.#volumes.at(-1) as number) - (this.#volumes[sequence] as number);
    return bytes < (this.#world.settings.params.EventRingBytes as number) * 0.7;
  }

  /** In stress mode each message carries its tag. */
  #least(size: number): number {
    return this.#world.isExact ? size : Math.max(TAG_BYTES, size);
  }

  async calls({ via, calls }: Of<"calls">): Promise<void> {
    for (const call of calls) {
      // The handler sees what the client has sent meanwhile.
      const isAlone = call.call === "resume" && this.#world.isExact;
      if (isAlone) await this.#world.untilQuiet();
      this.#call(call, via);
      if (isAlone) await this.#world.untilQuiet();
    }
  }

  #call(call: Call, via: Via): void {
    if (call.call === "publish") this.publish(call, via);
    else {
      const ws = this.#world.sockets.get(call.client);
      const client = this.#world.clients.get(call.client);
      if (ws?.open && client) this.#concern(client, ws, call, via);
    }
  }

  /** A call that is about one client. */
  #concern(client: Client, ws: WebSocket, call: Exclude<Call, Publish>, via: Via): void {
    switch (call.call) {
      case "send":
        this.#send(client, ws, call, via);
        break;
      case "subscribe":
      case "unsubscribe":
        this.#subscribe(client, ws, call.call, call.topic, via);
        break;
      case "close":
        this.#close(client, ws, via);
        break;
      case "pause":
      case "resume":
        this.pause(client, ws, call.call === "pause");
        break;
      case "ping":
        ws.ping("are you there");
        break;
      default:
        ws.terminate();
    }
  }

  #send(
    client: Client,
    ws: WebSocket,
    { tag, size, text }: Extract<Call, { call: "send" }>,
    via: Via,
  ): void {
    const opcode = text ? 1 : 2;
    const data = dataOf(tag, opcode, this.#least(size));
    if (via === "handler") this.send(client, ws, data, tag, false);
    else if (this.#messages.send(ws.id, data)) {
      const message = { tag, opcode, payload: toBytes(data), plain: false } as const;
      this.#world.judge.accepted({ ...message, via, to: client });
    } else this.#refused();
  }

  #close(client: Client, ws: WebSocket, via: Via): void {
    // It is not defined whether the handler still receives waiting messages.
    if (this.#world.isExact && client.said.length > 0) return;
    const isClosed =
      via === "handler"
        ? ws.close(4001, "enough")
        : this.#messages.closeConnection(ws.id, 4001, "enough");
    if (isClosed) this.#world.judge.closed(client, 4001, "enough");
  }

  pause(client: Client, ws: WebSocket, on: boolean): void {
    if (client.isStream) {
      // It has no messages, and its end must be noticed.
      if (on) ws.pause();
      else ws.resume();
      return;
    }
    // Messages that were read before are still handled.
    if (on && this.#world.isExact && client.said.length > 0) return;
    if (on) ws.pause();
    else ws.resume();
    if (on) this.paused.set(client, ws);
    else this.paused.delete(client);
    this.#world.judge.paused(client, on);
  }

  #refused(): void {
    this.refused++;
    if (this.#world.isExact) this.#world.note("a message was refused");
  }

  /** Sends from the handler's code. @param isEcho the judge may know of it already */
  send(client: Client, ws: WebSocket, data: Payload, tag: number, isEcho: boolean): void {
    const wasOpen = ws.open;
    if (!ws.send(data)) {
      if (wasOpen && ws.open) {
        client.isThirsty = true;
        this.#refused();
      }
      return;
    }
    const opcode = typeof data === "string" ? 1 : 2;
    const payload = new Uint8Array(toBytes(data));
    const message = { tag, opcode, payload, plain: false, via: "handler", to: client } as const;
    if (isEcho) this.#world.judge.echoed(message);
    else this.#world.judge.accepted(message);
  }

  /** An event stream subscribes in `open`. @returns false: there is no room for it */
  join(ws: WebSocket, topic: number): boolean {
    try {
      return ws.subscribe(TOPICS[topic] as string);
    } catch (error) {
      if (error instanceof RangeError && / are taken$/.test(error.message)) return false;
      throw error;
    }
  }

  #subscribe(
    client: Client,
    ws: WebSocket,
    what: "subscribe" | "unsubscribe",
    topic: number,
    via: Via,
  ): void {
    const name = TOPICS[topic] as string;
    try {
      if (via === "handler" || this.#world.application) ws[what](name);
      else if (!this.#messages[what](ws.id, name)) return;
    } catch (error) {
      if (!(error instanceof RangeError) || !/ are taken$/.test(error.message)) throw error;
    }
    this.#world.judge.subscribed(client, topic, what === "subscribe");
  }

  // ---- publications --------------------------------------------------------------------------------------

  /** Bytes up to the end of the ring's lap, less the head of the frame. */
  #fill(ring: number): number {
    const left = ring - (this.#world.engine.get(Control.Committed) % ring);
    return Math.max(0, left < 128 ? left - 2 : left - 4);
  }

  #dataOf({ tag, size, text }: Publish): string | Uint8Array {
    const ring = this.#world.engine.params[Param.RingBytes] as number;
    if (size === "over") return dataOf(tag, 2, ring);
    const bytes = Math.min(this.#least(size === "fill" ? this.#fill(ring) : size), ring - 10);
    return dataOf(tag, text && size !== "fill" ? 1 : 2, bytes);
  }

  /** @param isOwn the judge may know of it already */
  publish(what: Publish, via: Via, isOwn = false): void {
    const { judge, sockets, clients, application } = this.#world;
    const { tag, topic, plain } = what;
    const data = this.#dataOf(what);
    const left = what.except === undefined ? undefined : sockets.get(what.except);
    const except = left && clients.get(what.except as number);
    const options = { except: left?.id ?? 0, ...(plain ? { compress: false } : {}) };
    const isHere = via === "handler" && !application;
    let isAccepted = false;
    try {
      isAccepted = isHere
        ? this.#publishHere(what, data, options)
        : this.#put(topic, data, options);
    } catch (error) {
      if (what.size !== "over" || !(error instanceof RangeError)) throw error;
      return;
    }
    if (!isAccepted) {
      this.#refused();
      return;
    }
    this.positions++;
    // Only its own code knows the position.
    const position = isHere ? sequenceOf(this.#world.pump.position()) : undefined;
    const length = typeof data === "string" ? data.length * 4 : data.length * 1.4;
    this.#volumes.push((this.#volumes.at(-1) as number) + length + 200);
    if (what.size === "over") {
      judge.skipped(position);
      if (topic === undefined) this.#world.note("a message larger than the ring was published");
      return;
    }
    this.published++;
    const opcode = typeof data === "string" ? 1 : 2;
    const payload = toBytes(data);
    const readers = { ...(topic === undefined ? {} : { topic }), ...(except ? { except } : {}) };
    const placed = position === undefined ? {} : { position };
    const message = { tag, opcode, payload, plain, via, ...readers, ...placed } as const;
    if (isOwn) judge.echoed(message);
    else judge.accepted(message);
  }

  /** From the worker's own code. The position directly afterwards is the publication's, or is unchanged. */
  #publishHere(what: Publish, data: Payload, options: PublishOptions): boolean {
    const { pump } = this.#world;
    const before = sequenceOf(pump.position());
    const isAccepted = this.#publishIn(what, data, options);
    const moved = sequenceOf(pump.position()) - before;
    if (moved !== Number(isAccepted)) this.#world.note(`a publication moved ${moved} positions`);
    return isAccepted;
  }

  #publishIn({ topic, staged, size }: Publish, data: Payload, options: PublishOptions): boolean {
    const { pump } = this.#world;
    const name = topic === undefined ? undefined : (TOPICS[topic] as string);
    if (!staged || size === "over")
      return name === undefined ? pump.broadcast(data, options) : pump.publish(name, data, options);
    const whole = toBytes(data);
    const stage = pump.stage();
    for (let at = 0; at < whole.length; at += 999) stage.bytes(whole.subarray(at, at + 999));
    const all = { ...options, binary: typeof data !== "string" };
    return name === undefined ? stage.broadcast(all) : stage.publish(name, all);
  }

  /** From the application, through the inbox. */
  #put(topic: number | undefined, data: Payload, options: PublishOptions): boolean {
    return topic === undefined
      ? this.#messages.broadcast(data, options)
      : this.#messages.publish(TOPICS[topic] as string, data, options);
  }

  /** A message's handler publishes to all. */
  burst(from: number): void {
    const plain = { call: "publish", text: false, plain: false, staged: false } as const;
    for (const { tag, size } of burstOf(from))
      this.publish({ ...plain, tag, size }, "handler", true);
  }

  // ---- stale ids -----------------------------------------------------------------------------------------

  /** A WebSocket that has ended takes nothing any more, whichever client has its slot now. */
  stale({ client: id, tag }: Of<"stale">): void {
    const { application, clients, engine, pump, sockets } = this.#world;
    const ws = sockets.get(id);
    if (!ws || clients.get(id)?.cause === undefined) return;
    const topic = TOPICS[0] as string;
    const took = [ws.send("stale"), ws.close(), ws.ping(), ws.terminate(), ws.open];
    if (!application) {
      const { x } = engine;
      took.push(ws.subscribe(topic), ws.unsubscribe(topic), pump.send(ws.id, "stale"));
      const [slot, generation] = [ws.id % 2 ** 20, Math.floor(ws.id / 2 ** 20)];
      x.done(slot, generation);
      x.peerEnded(slot, generation);
      x.abandon(slot, generation, -54);
      this.#messages.send(ws.id, "stale");
      this.#messages.closeConnection(ws.id, 1000);
    }
    if (took.includes(true)) this.#world.note(`client ${id} has ended and takes ${took}`);
    const plain = { call: "publish", text: true, plain: false, staged: false } as const;
    this.publish({ ...plain, tag, size: 20, except: id }, "inbox");
  }
}
