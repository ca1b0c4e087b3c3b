// The pump's reaction to each event of the engine: requests, messages and ends on their way to the handler.
//
// Invariant: user code runs during an event only where no event in the table can be lost by it. The handler is notified
// of an end later, once no events are being handled.

import { type CloseReason, Control, EventKind, Outcome, Shut } from "../../assembly/abi";
import type { CloseInfo, FragmentInfo, Handler, WebSocket } from "../../host/handler";
import type { Eviction } from "../../host/options/types";
import { CLOSE_TABLE, EVICTIONS, reasonName } from "../../host/shared/close";
import type { EngineLoop, LoopEvents, OtherEvents } from "../engine/loop";
import type { Raw } from "../pipe/raw";
import type { Requests } from "../request/dispatch";
import type { Messages } from "../socket/messages";
import type { Peer } from "../socket/peer";

/** The part of the pump that events need. */
interface EventsOwner {
  readonly loop: EngineLoop<Peer>;
  /** The main handler. */
  readonly handler: Handler;
  readonly requests: Requests;
  readonly messages: Messages;
  /** Takes connections that are not HTTP; undefined where each must be. */
  readonly raw: Raw | undefined;
  /** Returns the handler of a connection's request or WebSocket. */
  handlerOf(peer: Peer): Handler;
  isForwarder(address: string): boolean;
  tellConnect(peer: Peer): void;
  setReading(peer: Peer): void;
  /** Reports the end of a WebSocket to inboxes. */
  ended(id: number): void;
  guard(where: string, fn: () => unknown): unknown;
  /** Runs `fn` in this turn, once no events are being handled. */
  later(fn: () => void): void;
}

export class Events implements LoopEvents<Peer> {
  readonly #pump: EventsOwner;
  readonly #evicted: ((evictions: Eviction[]) => void) | undefined;
  #evictions: Eviction[] = [];
  readonly others: OtherEvents<Peer> = {
    [EventKind.Inflate]: (peer, { pointer, length, value }) =>
      this.#pump.messages.takePacked(peer, pointer, length, value),
    [EventKind.Proxied]: (peer, { pointer, length }) => this.#proxied(peer, pointer, length),
    [EventKind.EndWaits]: (peer) => this.#pump.messages.awaitAnswers(peer),
    [EventKind.Foreign]: (peer) => this.#pump.raw?.take(peer),
    [EventKind.Refused]: (peer, { value, length, pointer }) =>
      this.#pump.requests.logRefusal(peer, value, length === 1, pointer),
  };

  /** @param evicted called with the evicted clients, once a turn */
  constructor(pump: EventsOwner, evicted: ((evictions: Eviction[]) => void) | undefined) {
    this.#pump = pump;
    this.#evicted = evicted;
  }

  request(peer: Peer, hasBodyToCome: boolean): void {
    if (hasBodyToCome) this.#pump.requests.askForBody(peer);
    else this.#pump.requests.ask(peer);
  }

  bodyChunk(peer: Peer, pointer: number, length: number): void {
    peer.upload?.push(this.#pump.loop.engine.copy(pointer, length));
  }

  bodyEnd(peer: Peer, reason: number): void {
    this.#pump.requests.endBody(peer, reason);
  }

  message(peer: Peer, pointer: number, length: number, opcode: number): void {
    this.#pump.messages.take(peer, pointer, length, opcode);
  }

  fragment(peer: Peer, pointer: number, length: number, info: FragmentInfo): void {
    this.#pump.messages.takeFragment(peer, this.#pump.loop.engine.copy(pointer, length), info);
  }

  ping(peer: Peer, pointer: number, length: number): void {
    this.#pump.messages.takeControl(peer, "ping", pointer, length);
  }

  pong(peer: Peer, pointer: number, length: number): void {
    this.#pump.messages.takeControl(peer, "pong", pointer, length);
  }

  peerClose(peer: Peer, _code: number, pointer: number, length: number): void {
    peer.closing = true;
    peer.closeText = this.#pump.loop.engine.text(pointer, length);
  }

  drain(peer: Peer, wasRefused: boolean): void {
    const ws = peer.ws;
    peer.response?.wake();
    if (!ws) {
      if (peer.pipe) peer.pipe.drain();
      else this.#pump.loop.resumeLater(peer);
      return;
    }
    // mutant drain-notify: ;
    peer.notify();
    if (!wasRefused) return;
    const handler = this.#pump.handlerOf(peer);
    const { drain } = handler;
    if (drain) this.#pump.guard("drain", () => drain.call(handler, ws));
  }

  buffer(peer: Peer): void {
    peer.response?.wake();
    this.#pump.loop.resumeLater(peer);
  }

  /** Takes the client's address from a PROXY header. @param length 0: it names no address */
  #proxied(peer: Peer, pointer: number, length: number): void {
    peer.isProxied = false;
    if (length > 0) {
      const address = this.#pump.loop.engine.addressAt(pointer);
      peer.peerAddress = address;
      peer.remoteAddress = address;
      peer.forwards = this.#pump.isForwarder(address);
      if (!peer.forwards && this.#pump.loop.setAddress(peer, address) !== Outcome.Ok) return;
    }
    this.#pump.tellConnect(peer);
  }

  end(peer: Peer, reason: CloseReason): void {
    peer.closing = true;
    peer.unparsed = 0;
    this.#leavePipe(peer, Shut.Destroy, reason);
    peer.link.end();
    // Bytes that found no buffer are dropped, and further bytes are read, so that the peer's end is seen.
    if (peer.rest) this.#pump.loop.resumeLater(peer);
    this.#pump.setReading(peer);
  }

  #leavePipe(peer: Peer, how: Shut, reason: CloseReason): void {
    peer.pipe?.close(how, reason);
    peer.pipe = undefined;
  }

  shut(peer: Peer, how: Shut, reason: CloseReason): void {
    if (how === Shut.Reset) peer.link.reset();
    else peer.link.destroy();
    this.#leavePipe(peer, how, reason);
    const { response } = peer;
    peer.response = undefined;
    response?.request.detach();
    this.#pump.requests.leaveBody(peer, reason);
    response?.lose();
    peer.bodies = undefined;
    peer.supply?.close();
    peer.supply = undefined;
  }

  closed(peer: Peer, reason: CloseReason, lagBytes: number, code: number): void {
    const { ws } = peer;
    if (ws) this.#pump.ended(peer.id);
    // mutant inflate-gone (inflater): ;
    this.#pump.messages.inflater.drop(peer);
    const cause = reasonName(reason);
    if (EVICTIONS.has(cause) && this.#evicted) {
      const { id, remoteAddress } = peer;
      const age = this.#pump.loop.engine.get(Control.Now) - peer.since;
      this.#evictions.push({ id, remoteAddress, cause, lagBytes, age });
    }
    peer.closing = true;
    const row = CLOSE_TABLE[cause];
    const info: CloseInfo = {
      code: ws ? code : row.status,
      reason: peer.closeText || row.text,
      cause,
      lagBytes,
    };
    if (ws) this.#tellClose(peer, ws, info);
    else this.#tellDisconnect(peer, info);
  }

  /** Calls the handler's `close`, after the handler of the current message has settled. */
  #tellClose(peer: Peer, ws: WebSocket, info: CloseInfo): void {
    const handler = this.#pump.handlerOf(peer);
    const { close } = handler;
    if (!close) return;
    const tell = (): void => void this.#pump.guard("close", () => close.call(handler, ws, info));
    if (!this.#pump.messages.awaitEnd(peer, tell)) this.#pump.later(tell);
  }

  #tellDisconnect(peer: Peer, info: CloseInfo): void {
    const { handler } = this.#pump;
    const { disconnect } = handler;
    if (!disconnect || !peer.isReported) return;
    this.#pump.later(() =>
      this.#pump.guard("disconnect", () => disconnect.call(handler, peer, info)),
    );
  }

  write(peer: Peer, bytes: Uint8Array): boolean {
    return peer.link.write(bytes);
  }

  writeSome(peer: Peer, bytes: Uint8Array): number | undefined {
    return peer.link.writeSome?.(bytes);
  }

  /** Reports the clients that were evicted since the last report. */
  tellEvictions(): void {
    if (this.#evictions.length === 0) return;
    const evictions = this.#evictions;
    this.#evictions = [];
    this.#evicted?.(evictions);
  }
}
