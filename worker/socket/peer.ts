// One connection as the pump keeps it: its slot, its link, and the state of its handler.

import type { CloseReason, Shut } from "../../assembly/abi";
import type { Connection, WebSocket } from "../../host/handler";
import { type Greeting, NO_GREETING } from "../../host/shared/message/gap";
import { idOf } from "../../host/shared/message/id";
import { Waiters } from "../../host/shared/message/waiters";
import type { Ordered } from "../../host/shared/order";
import { SECURE_TRAIT } from "../../host/shared/request/request";
import type { LoopConnection } from "../engine/loop";
import { lossOf } from "../net/loss";
import type { Link, Sink } from "../net/transport";
import type { Supply } from "../supply/supply";

/** The part of the pump that a connection's link needs. */
interface PeerOwner {
  /** Number of the transport's calls that are running. */
  depth: number;
  read(peer: Peer, n: number): void;
  written(peer: Peer): void;
  peerEnded(peer: Peer): void;
  secured(peer: Peer, how?: "plain"): void;
  failHandshake(peer: Peer, error: Error | undefined): void;
  terminate(peer: Peer, reason: CloseReason): boolean;
}

/** The response to the pending request. */
export interface PeerResponse {
  readonly request: { detach(): void };
  /** Reports that the client has gone, or that the response breaks off. */
  lose(): void;
  /** Reports that there is room in the client's queue again. */
  wake(): void;
  /** Reports that the client ended its side. */
  clientEnded(): void;
}

/** The streamed body of the pending request. */
export interface PeerUpload {
  /** True when the reader has too many bytes to take. The socket is not read then. */
  readonly full: boolean;
  push(piece: Uint8Array): void;
  end(): void;
  fail(reason: CloseReason): void;
}

/** The pipe of a connection that was taken out of HTTP. */
export interface PeerPipe {
  /** True when no more bytes of the client can be taken for now. The socket is not read then. */
  readonly isFull: boolean;
  /** True when both sides of the link have ended in order, so that its loss is none. */
  readonly isClosing: boolean;
  /** Bytes that it holds for the upstream, and for the client. */
  readonly held: { readonly forward: number; readonly back: number };
  /** Takes bytes of the client. They belong to the pipe. */
  take(bytes: Uint8Array): void;
  /** Notes that the client has ended its side. */
  endClient(): void;
  /** Notes that the outstanding write to the client is complete. */
  wrote(): void;
  /** Notes that the responses before the pipe's bytes have left. */
  drain(): void;
  /** Closes the upstream, because the connection ends. */
  close(how: Shut, reason: CloseReason): void;
}

/** Reasons for which the worker keeps a connection from being parsed: bits of `Peer.held`. */
export enum Hold {
  /** `open` has not settled. */
  Open = 1,
  /** The handler of a message has not settled. */
  Order = 2,
  /** The application has the largest allowed number of bytes of all WebSockets. */
  Flow = 4,
  /** It has used its share of this turn. It is not read either. */
  Turn = 8,
  /** Its end waits until its messages have been handled. */
  End = 16,
  /** The application has the largest allowed number of bytes of this WebSocket. */
  Lane = 32,
  /** A message is being inflated. */
  Inflate = 64,
}

/** Flags of a connection: bits of one number, because an idle connection's memory is mostly fields. */
enum Flag {
  Paused = 1,
  Reading = 2,
  Yields = 4,
  Closing = 8,
  Relayed = 16,
  Dead = 32,
  Forwards = 64,
  Proxied = 128,
  Unsecured = 256,
  Reported = 512,
  Secure = 1024,
  Redirects = 2048,
  Misplaced = 4096,
  Stream = 8192,
}

/** The lowest bits of `Peer.listener` and `Peer.module` among the flags. */
const LISTENER_SHIFT = 16;
const MODULE_SHIFT = 21;
/** Most listeners of a server. */
const LISTENERS = 32;

/** State that few connections have, or for a moment only. */
class Rare {
  upload: PeerUpload | undefined = undefined;
  pipe: PeerPipe | undefined = undefined;
  bodies: Map<number, Uint8Array> | undefined = undefined;
  supply: Supply | undefined = undefined;
  rest: Uint8Array | undefined = undefined;
  skip: (() => void) | undefined = undefined;
  atEnd: (() => void) | undefined = undefined;
  refused: CloseReason | undefined = undefined;
  closeText = "";
  peerAddress: string | undefined = undefined;
  waiters: Waiters | undefined = undefined;
  greeting: Greeting | undefined = undefined;
}

/** One connection, from accept to free. It moves from an HTTP slot to a WebSocket slot when it is upgraded. */
export class Peer implements LoopConnection, Ordered, Sink, Connection {
  static readonly name = "Connection";
  slot: number;
  generation: number;
  readonly link: Link;
  readonly #pump: PeerOwner;
  response: PeerResponse | undefined;
  ws: WebSocket | undefined;
  /** Reasons of the worker's own why nothing is parsed (bits of `Hold`). */
  held = 0;
  /** Number of bytes that are not parsed yet. */
  unparsed = 0;
  /** Limit (bytes) of a message from this client. */
  payloadBytes = 0;
  /** Window size of compressed messages to this client; 0: none are compressed. */
  windowBits = 0;
  /** Time (whole ms) at which it was accepted, by the engine's clock. */
  readonly since: number;
  /** Bits of `Flag`, the number of its listener, and that of its module. */
  #flags = Flag.Reading;
  #rare: Rare | undefined;
  /** Address of the client when it is not that of the peer. */
  #clientAddress: string | undefined;

  constructor(pump: PeerOwner, link: Link, slot: number, generation: number, since: number) {
    this.#pump = pump;
    this.link = link;
    this.slot = slot;
    this.generation = generation;
    this.since = Math.floor(since);
  }

  #is(flag: Flag): boolean {
    return (this.#flags & flag) !== 0;
  }

  #set(flag: Flag, on: boolean): void {
    this.#flags = on ? this.#flags | flag : this.#flags & ~flag;
  }

  #makeRare(): Rare {
    this.#rare ??= new Rare();
    return this.#rare;
  }

  /** A pause by user code, during which nothing is parsed. */
  get paused(): boolean {
    return this.#is(Flag.Paused);
  }

  set paused(on: boolean) {
    this.#set(Flag.Paused, on);
  }

  get reading(): boolean {
    return this.#is(Flag.Reading);
  }

  set reading(on: boolean) {
    this.#set(Flag.Reading, on);
  }

  /** True when it has more to read, and waits for other connections' turns. */
  get yields(): boolean {
    return this.#is(Flag.Yields);
  }

  set yields(on: boolean) {
    this.#set(Flag.Yields, on);
  }

  get closing(): boolean {
    return this.#is(Flag.Closing);
  }

  set closing(on: boolean) {
    this.#set(Flag.Closing, on);
    if (on) this.notify();
  }

  /** Functions that wait for room in its queue, or its end. */
  get waiters(): Waiters {
    const rare = this.#makeRare();
    rare.waiters ??= new Waiters();
    return rare.waiters;
  }

  /** Notifies the waiters, because there is room in its queue or it ends. */
  notify(): void {
    this.#rare?.waiters?.notify();
  }

  /** True when its messages are handled on another thread. */
  get relayed(): boolean {
    return this.#is(Flag.Relayed);
  }

  set relayed(on: boolean) {
    this.#set(Flag.Relayed, on);
  }

  get dead(): boolean {
    return this.#is(Flag.Dead);
  }

  set dead(on: boolean) {
    this.#set(Flag.Dead, on);
  }

  /** True when the peer is a proxy whose forwarding fields are trusted. */
  get forwards(): boolean {
    return this.#is(Flag.Forwards);
  }

  set forwards(on: boolean) {
    this.#set(Flag.Forwards, on);
  }

  /** True when its listener redirects requests without TLS to the same URL over TLS. */
  get redirects(): boolean {
    return this.#is(Flag.Redirects);
  }

  set redirects(on: boolean) {
    this.#set(Flag.Redirects, on);
  }

  /** True when it is an event stream. */
  get isStream(): boolean {
    return this.#is(Flag.Stream);
  }

  set isStream(on: boolean) {
    this.#set(Flag.Stream, on);
  }

  /** True when it sends requests without TLS to a listener that has TLS. None reaches the handler. */
  get isMisplaced(): boolean {
    return this.#is(Flag.Misplaced);
  }

  set isMisplaced(on: boolean) {
    this.#set(Flag.Misplaced, on);
  }

  /** True when it uses TLS, even before TLS is established. */
  get isSecure(): boolean {
    return this.#is(Flag.Secure);
  }

  set isSecure(on: boolean) {
    this.#set(Flag.Secure, on);
  }

  /** Traits of its requests that the engine does not know. */
  get hostTraits(): number {
    return this.isSecure ? SECURE_TRAIT : 0;
  }

  /** True while the PROXY header has not arrived. */
  get isProxied(): boolean {
    return this.#is(Flag.Proxied);
  }

  set isProxied(on: boolean) {
    this.#set(Flag.Proxied, on);
  }

  /** True while TLS is not established. */
  get isUnsecured(): boolean {
    return this.#is(Flag.Unsecured);
  }

  set isUnsecured(on: boolean) {
    this.#set(Flag.Unsecured, on);
  }

  /** True when the handler has been notified of the connection. */
  get isReported(): boolean {
    return this.#is(Flag.Reported);
  }

  set isReported(on: boolean) {
    this.#set(Flag.Reported, on);
  }

  /** Number of its listener, from 0 on. */
  get listener(): number {
    return (this.#flags >>> LISTENER_SHIFT) & (LISTENERS - 1);
  }

  set listener(number: number) {
    const others = this.#flags & ~((LISTENERS - 1) << LISTENER_SHIFT);
    this.#flags = others | (number << LISTENER_SHIFT);
  }

  /** Number of the module that handles its request or WebSocket; 0: the main handler does. */
  get module(): number {
    return this.#flags >>> MODULE_SHIFT;
  }

  set module(number: number) {
    this.#flags = (this.#flags & ((1 << MODULE_SHIFT) - 1)) | (number << MODULE_SHIFT);
  }

  /** How it opened as an event stream with history. */
  get greeting(): Greeting {
    return this.#rare?.greeting ?? NO_GREETING;
  }

  set greeting(greeting: Greeting) {
    this.#makeRare().greeting = greeting;
  }

  /** The streamed body of its request, until its end. */
  get upload(): PeerUpload | undefined {
    return this.#rare?.upload;
  }

  set upload(upload: PeerUpload | undefined) {
    if (upload !== undefined) this.#makeRare().upload = upload;
    else if (this.#rare) this.#rare.upload = undefined;
  }

  /** Its pipe, when it was taken out of HTTP. */
  get pipe(): PeerPipe | undefined {
    return this.#rare?.pipe;
  }

  set pipe(pipe: PeerPipe | undefined) {
    if (pipe !== undefined) this.#makeRare().pipe = pipe;
    else if (this.#rare) this.#rare.pipe = undefined;
  }

  /** Bodies of this connection's responses outside of the engine, by number. */
  get bodies(): Map<number, Uint8Array> | undefined {
    return this.#rare?.bodies;
  }

  set bodies(bodies: Map<number, Uint8Array> | undefined) {
    if (bodies !== undefined) this.#makeRare().bodies = bodies;
    else if (this.#rare) this.#rare.bodies = undefined;
  }

  /** The body that is supplied to its response piece by piece. */
  get supply(): Supply | undefined {
    return this.#rare?.supply;
  }

  set supply(supply: Supply | undefined) {
    if (supply !== undefined) this.#makeRare().supply = supply;
    else if (this.#rare) this.#rare.supply = undefined;
  }

  /** Bytes that the engine has not consumed, because they wait for a buffer. */
  get rest(): Uint8Array | undefined {
    return this.#rare?.rest;
  }

  set rest(rest: Uint8Array | undefined) {
    if (rest !== undefined) this.#makeRare().rest = rest;
    else if (this.#rare) this.#rare.rest = undefined;
  }

  /** Continues without waiting for a handler of a message that has not settled; undefined: there is none. */
  get skip(): (() => void) | undefined {
    return this.#rare?.skip;
  }

  set skip(skip: (() => void) | undefined) {
    if (skip !== undefined) this.#makeRare().skip = skip;
    else if (this.#rare) this.#rare.skip = undefined;
  }

  /** Called when that handler has settled, because the connection has ended meanwhile. */
  get atEnd(): (() => void) | undefined {
    return this.#rare?.atEnd;
  }

  set atEnd(atEnd: (() => void) | undefined) {
    if (atEnd !== undefined) this.#makeRare().atEnd = atEnd;
    else if (this.#rare) this.#rare.atEnd = undefined;
  }

  /**
   * Reason for which the connection ends, after a message that could not be inflated or handled. Later messages are
   * dropped.
   */
  get refused(): CloseReason | undefined {
    return this.#rare?.refused;
  }

  set refused(reason: CloseReason | undefined) {
    if (reason !== undefined) this.#makeRare().refused = reason;
    else if (this.#rare) this.#rare.refused = undefined;
  }

  /** Reason text of the client's Close frame. */
  get closeText(): string {
    return this.#rare?.closeText ?? "";
  }

  set closeText(text: string) {
    if (text !== this.closeText) this.#makeRare().closeText = text;
  }

  /** Address of the peer that connected. */
  get peerAddress(): string {
    return this.#rare?.peerAddress ?? this.link.remoteAddress;
  }

  set peerAddress(address: string) {
    this.#makeRare().peerAddress = address;
  }

  /** Address of the client: `peerAddress`, or for a WebSocket through a trusted proxy that of the proxy's client. */
  get remoteAddress(): string {
    return this.#clientAddress ?? this.peerAddress;
  }

  set remoteAddress(address: string) {
    this.#clientAddress = address === this.peerAddress ? undefined : address;
  }

  /** True when its bytes are not parsed now. */
  get isHeld(): boolean {
    return this.paused || this.held !== 0;
  }

  /** True when its request is pending, or it is held. */
  get isOut(): boolean {
    // mutant http-keep: return this.isHeld;
    return this.response !== undefined || this.isHeld;
  }

  get id(): number {
    return idOf(this.slot, this.generation);
  }

  read(n: number): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.read(this, n);
    pump.depth--;
  }

  written(): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.written(this);
    pump.depth--;
  }

  ended(): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.peerEnded(this);
    pump.depth--;
  }

  secured(how?: "plain"): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    pump.secured(this, how);
    pump.depth--;
  }

  lost(error: Error | undefined, why?: "handshake"): void {
    if (this.dead) return;
    const pump = this.#pump;
    pump.depth++;
    if (why === "handshake" || this.isUnsecured) pump.failHandshake(this, error);
    else if (error || !this.pipe?.isClosing) pump.terminate(this, lossOf(error));
    pump.depth--;
  }
}
