// The binding. It instantiates the engine's wasm, sizes its memory once, and is the only TypeScript that touches that
// memory. No I/O, no timers: bytes, time and writability go in, events and rows come out.
//
// Invariant: the memory grows exactly once, in the constructor, before the first view is made.

import { CLOSE_TABLE } from "../../host/shared/close";
import { positionText } from "../../host/shared/message/position";
import { checkTopic } from "../../host/shared/message/topic";
import {
  ABI_VERSION,
  CONN_BACKLOG,
  CONN_BODY,
  CONN_BODY_LENGTH,
  CONN_BYTES,
  CONN_FLAGS,
  CONN_HEAD,
  CONN_HEADER_COUNT,
  CONN_HEAD_LENGTH,
  CONN_METHOD,
  CONN_MINOR,
  CONN_TABLE,
  CONN_TARGET,
  CONN_TARGET_LENGTH,
  CONN_TRAITS,
  CloseReason,
  Control,
  FLAG_CLOSE_QUEUED,
  FLAG_DEAF,
  FLAG_MESSAGE_OUT,
  FLAG_WAITING,
  NONE,
  Param,
  REASON_BYTES,
  REASON_CODE,
  REASON_LENGTH,
  REASON_STATUS,
  REASON_TEXT,
  TOPIC_NAME_BYTES,
} from "../../assembly/abi";
import type { RequestHead } from "../../host/shared/request/request";
import type { Field } from "../../host/shared/request/response";
import { type WasmMemory, type WasmModule, noMemory } from "../../host/shared/webassembly";
import { formatAddress } from "../../host/shared/text/address";
import { show } from "../../host/shared/text/show";
import { copyBytes, latin1, putLatin1, putUtf8, utf8, viewOf } from "../../host/shared/text/text";
import { encodeFields } from "../../host/shared/message/wire";
import { EventCursor, RowCursor } from "./cursors";

export { byteLength, putUtf8, toBytes, utf8 } from "../../host/shared/text/text";

/** The functions of the wasm module. `assembly/index.ts` documents each. */
export interface EngineExports {
  memory: WasmMemory;
  abi(): number;
  base(): number;
  params(): number;
  align(): number;
  footprint(): number;
  refused(): number;
  leastOf(param: number): number;
  mostOf(param: number): number;
  isPower(param: number): number;
  isZeroAllowed(param: number): number;
  isInRange(param: number, value: number): number;
  "new"(base: number): number;
  join(base: number): number;
  leave(): number;
  delete(base: number): number;
  method(index: number): number;
  reasons(): number;
  accept(addressLength?: number, flags?: number): number;
  decline(reason: number): number;
  secured(slot: number, generation: number): void;
  addressText(): number;
  setAddress(slot: number, generation: number, length: number): number;
  feed(slot: number, generation: number, n: number): number;
  resume(slot: number, generation: number): number;
  parseKept(slot: number, generation: number): number;
  retain(slot: number, generation: number): number;
  hold(slot: number, generation: number, held: number, from: number): void;
  packed(slot: number, generation: number): number;
  relay(slot: number, generation: number, relayed: number): void;
  peerEnded(slot: number, generation: number): void;
  acknowledged(slot: number, generation: number, queued: number, answers: number): void;
  measures(can: number): void;
  watched(from: number): number;
  terminate(slot: number, generation: number, reason: number): number;
  abandon(slot: number, generation: number, reason: number): number;
  upgrade(slot: number, generation: number, fieldsLength: number, deflate: number): number;
  openStream(slot: number, generation: number, fieldsLength: number, since: number): number;
  greet(slot: number, generation: number): number;
  begin(slot: number, generation: number): void;
  settled(slot: number, generation: number): void;
  release(slot: number, generation: number, opens: number): number;
  piping(slot: number, generation: number, report: number): void;
  pour(slot: number, generation: number, length: number): number;
  finish(slot: number, generation: number, reason: number): number;
  respond(
    slot: number,
    generation: number,
    status: number,
    flags: number,
    fieldsLength: number,
    bodyLength: number,
  ): number;
  respondStatic(
    slot: number,
    generation: number,
    status: number,
    flags: number,
    fieldsLength: number,
    body: number,
    length: number,
  ): number;
  streamBegin(
    slot: number,
    generation: number,
    status: number,
    flags: number,
    fieldsLength: number,
    length: number,
  ): number;
  streamWrite(slot: number, generation: number, length: number): number;
  streamNext(slot: number, generation: number): void;
  streamEnd(slot: number, generation: number): number;
  give(slot: number, generation: number, length: number, held: number, keeps: number): number;
  keepRoom(slot: number, generation: number, bytes: number): void;
  server(length: number): number;
  page(status: number, fieldsLength: number, length: number): number;
  streams(wanted: number): void;
  refusals(wanted: number): void;
  collect(slot: number, generation: number): number;
  stream(slot: number, generation: number): number;
  pull(slot: number, generation: number): void;
  send(slot: number, generation: number, flags: number, from: number, length: number): number;
  sendBegin(slot: number, generation: number, first: number, length: number): number;
  sendBytes(from: number, length: number): void;
  ping(slot: number, generation: number, from: number, length: number): number;
  close(
    slot: number,
    generation: number,
    code: number,
    text: number,
    textLength: number,
    reason: number,
  ): number;
  limit(slot: number, generation: number, idle: number, payload: number): void;
  configure(param: number, value: number): number;
  dismiss(slot: number, generation: number): void;
  stop(): void;
  free(slot: number, generation: number): void;
  publish(
    flags: number,
    payload: number,
    length: number,
    deflate: number,
    deflateLength: number,
    topic: number,
    except: number,
    exceptGeneration: number,
  ): number;
  publishToNone(): void;
  deflateCount(topic: number): number;
  findTopic(name: number, length: number): number;
  topicFor(name: number, length: number): number;
  subscribe(slot: number, generation: number, name: number, length: number): number;
  unsubscribe(slot: number, generation: number, name: number, length: number): number;
  isSubscribed(slot: number, generation: number, name: number, length: number): number;
  nextTopic(slot: number, generation: number, after: number): number;
  subscriberCount(name: number, length: number): number;
  checkUtf8(from: number, length: number, state: number): number;
  stageReserve(n: number): number;
  stageAppend(n: number): void;
  stageDiscard(): void;
  stagePublish(
    flags: number,
    deflate: number,
    deflateLength: number,
    topic: number,
    except: number,
    exceptGeneration: number,
  ): number;
  awaitRoom(slot: number, generation: number): number;
  drain(from: number, to: number): number;
  flush(withhold: number): number;
  flushPieces(bytes: number): number;
  done(slot: number, generation: number): void;
  tick(until: number): number;
  gauge(): void;
  lag(slot: number, generation: number): number;
  check(): number;
}

/** Header fields of a response, either checked or already encoded. */
export type Fields = readonly (readonly [string, string])[] | Uint8Array;

/** Returns a length as the engine takes it. A length beyond u32 becomes the largest u32, and is refused there. */
export function lengthOf(bytes: number): number {
  return Math.min(bytes, NONE);
}

/** Parameters by the names of `Param`. A missing one is 0. */
export type EngineParams = Partial<Record<keyof typeof Param, number>>;

/** Number of views that are cached, a power of two. */
const VIEWS = 1024;
/** Instantiates a module. @throws TypeError when it is not the engine, or one of another version of the ABI */
function instantiate(module: WebAssembly.Module): EngineExports {
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  const isEngine = WebAssembly.Module.imports(module).length === 0 && names.has("footprint");
  if (!isEngine) throw new TypeError("wasm: the module is not Ringcast's engine");
  let x: EngineExports;
  try {
    x = new WebAssembly.Instance(module).exports as unknown as EngineExports;
  } catch (thrown) {
    return noMemory("maxMemory", 65536, thrown);
  }
  // Nothing else is called or read before the version is known.
  const version = names.has("abi") ? x.abi() : "an older one";
  if (version === ABI_VERSION) return x;
  throw new TypeError(
    `wasm: the engine's ABI version is ${version}, this package's ${ABI_VERSION}`,
  );
}

/** Returns an error for a parameter that is out of its range. @param frames the value of Param.Frames */
function outOfRange(x: EngineExports, param: Param, given: unknown, frames: number): RangeError {
  const most = param === Param.QueuedFrames ? frames : x.mostOf(param);
  const zero = x.isZeroAllowed(param) ? "0 or " : "";
  const what = x.isPower(param) ? "a power of two" : "a whole number";
  const range = `${zero}${what} from ${x.leastOf(param)} to ${most}`;
  return new RangeError(`params.${Param[param]}: ${show(given)} is not ${range}`);
}

/** The part of a stack that names a wasm module, on runtimes that include it, such as V8. */
const MODULE = /wasm:\/\/wasm\/[^:\s)]+/;

/** Returns the name of the module that a frame of an error's stack belongs to, by default the innermost frame. */
function moduleOf({ stack = "" }: Error, frame = 0): string | undefined {
  const frames = stack.match(/^.*(?:@|\bat ).*$/gm);
  return MODULE.exec(frames?.[frame] ?? "")?.[0];
}

/** An engine with its memory. */
export class Engine {
  /** @internal */
  static readonly name = "Engine";
  /** The functions of the wasm module. */
  readonly x: EngineExports;
  /** The whole memory, as a Buffer where the platform has it, so that slices of it are cheap to write. */
  readonly u8: Uint8Array;
  /** The whole memory as a plain Uint8Array, whose slices are copies. */
  readonly bytes: Uint8Array;
  /** The memory as u16. */
  readonly u16: Uint16Array;
  /** The memory as u32. */
  readonly u32: Uint32Array;
  /** The memory as i32. */
  readonly i32: Int32Array;
  /** The control table, by `Control`. */
  readonly control: Float64Array;
  /** Address of the receive window. */
  readonly window: number;
  /** Address of the scratch region. */
  readonly scratch: number;
  /** Index into `u32` of the event table. */
  readonly events: number;
  /** Index into `u32` of the write table. */
  readonly rows: number;
  /** Address of the slots. */
  readonly slots: number;
  /** Bytes of the window. */
  readonly windowBytes: number;
  /** Bytes of the scratch region. */
  readonly scratchBytes: number;
  /** Bytes of all regions. */
  readonly footprint: number;
  /** The parameters, by `Param`. `configure` changes them. */
  readonly params: Float64Array;
  readonly #methods: string[] = [];
  readonly #views: Uint8Array[];
  readonly #addressText: number;

  /**
   * @param module the engine's wasm
   * @param params region sizes, limits and times; a missing one is 0
   * @throws RangeError when a parameter is out of its range, or the memory is not available; TypeError when the module
   * is not this package's engine
   */
  constructor(module: WasmModule, params: EngineParams) {
    const x = instantiate(module);
    this.x = x;
    const table = new Float64Array(x.memory.buffer, x.params(), Param.COUNT);
    for (const [name, value] of Object.entries(params)) {
      table[Param[name as keyof typeof Param]] = value;
    }
    const refused = x.refused();
    if (refused !== Param.COUNT) {
      const given = params[Param[refused] as keyof typeof Param] ?? table[refused];
      throw outOfRange(x, refused, given, table[Param.Frames] as number);
    }
    const base = x.base();
    this.footprint = x.footprint();
    const pages = Math.ceil((base + this.footprint) / 65536);
    if (pages > 65536) throw new RangeError(`the engine needs ${this.footprint} bytes, over 4 GiB`);
    const grow = pages - x.memory.buffer.byteLength / 65536;
    try {
      if (grow > 0) x.memory.grow(grow);
    } catch (thrown) {
      noMemory("maxMemory", base + this.footprint, thrown);
    }
    const buffer = x.memory.buffer;
    const address = x.new(base);
    if (address === 0 || x.join(address) === 0) {
      throw new Error("the engine's memory could not be formatted");
    }
    this.u8 = viewOf(buffer);
    this.#views = new Array<Uint8Array>(VIEWS).fill(this.u8);
    this.bytes = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.control = new Float64Array(buffer, address, Control.COUNT);
    this.params = new Float64Array(buffer, x.params(), Param.COUNT).slice();
    this.window = this.get(Control.WindowAddress);
    this.scratch = this.get(Control.ScratchAddress);
    this.events = this.get(Control.EventsAddress) >>> 2;
    this.rows = this.get(Control.RowsAddress) >>> 2;
    this.slots = this.get(Control.SlotsAddress);
    this.#addressText = x.addressText();
    this.windowBytes = this.param(Param.WindowBytes);
    this.scratchBytes = this.param(Param.ScratchBytes);
    this.#putReasons();
    for (let i = 0; ; i++) {
      const at = x.method(i);
      const length = this.u8[at] as number;
      if (length === 0) break;
      this.#methods.push(latin1(this.u8, at + 1, length));
    }
  }

  /**
   * Returns true for a trap of this engine, or a call stack that overflowed within it. Then none of its state can be
   * trusted. A trap of another module, such as a handler's own, does not count. Where the runtime does not distinguish
   * modules, no trap counts.
   */
  isTrap(thrown: unknown): thrown is Error {
    let module: string | undefined;
    try {
      if (!(thrown instanceof WebAssembly.RuntimeError || thrown instanceof RangeError))
        return false;
      // A stack that was full when the engine was called has not changed its state.
      module = moduleOf(thrown, thrown instanceof RangeError ? 1 : 0);
    } catch {
      // A value of the handler's may throw when it is inspected, such as a revoked proxy.
      return false;
    }
    return module !== undefined && module === this.#module();
  }

  /** Returns the name of this module in stacks. It causes a trap that reads beyond all memory and changes nothing. */
  #module(): string | undefined {
    try {
      this.x.checkUtf8(0xffffff00, 64, 0);
      return undefined;
    } catch (trap) {
      return moduleOf(trap as Error);
    }
  }

  /** Copies the status, code and text of each close reason into the engine's table. */
  #putReasons(): void {
    const table = this.x.reasons();
    for (const [name, { text, status, code }] of Object.entries(CLOSE_TABLE)) {
      const at = table - CloseReason[name as keyof typeof CloseReason] * REASON_BYTES;
      this.u16[(at + REASON_STATUS) >>> 1] = status;
      this.u16[(at + REASON_CODE) >>> 1] = code;
      if (code === 0) continue;
      this.u8[at + REASON_LENGTH] = text.length;
      putLatin1(this.u8, at + REASON_TEXT, text);
    }
  }

  /** Returns a parameter. */
  param(index: Param): number {
    return this.params[index] as number;
  }

  /** Returns a u32 of the memory. @param address a multiple of 4 */
  word(address: number): number {
    return this.u32[address >>> 2] as number;
  }

  /** Generation of the slot that the last call returned. */
  get generation(): number {
    return this.control[Control.Generation] as number;
  }

  /** Number of events in the table. */
  get eventCount(): number {
    return this.control[Control.EventCount] as number;
  }

  /** Returns a cursor over the event table. */
  eventCursor(): EventCursor {
    return new EventCursor(this.u32, this.i32, this.events);
  }

  /** Returns a cursor over the write table. */
  rowCursor(): RowCursor {
    return new RowCursor(this.u32, this.rows);
  }

  /** Copies bytes into the scratch region. @param at offset in it */
  put(bytes: Uint8Array, at = 0): void {
    this.u8.set(bytes, this.scratch + at);
  }

  /** Writes a text into the scratch region as UTF-8. @param most bytes at most @returns its bytes; −1: it is longer */
  putString(text: string, most: number, at = 0): number {
    return putUtf8(this.u8, this.scratch + at, most, text);
  }

  /** Returns a view of bytes of the memory, which is valid until the next call of the engine. */
  bytesAt(pointer: number, length: number): Uint8Array {
    return this.u8.subarray(pointer, pointer + length);
  }

  /** Returns the text of a client's address in an event. */
  addressAt(pointer: number): string {
    return formatAddress(this.u8, pointer);
  }

  /** Returns a copy of bytes of the memory. */
  copy(pointer: number, length: number): Uint8Array<ArrayBuffer> {
    return copyBytes(this.u8, pointer, length);
  }

  /** Returns a text of the memory. */
  text(pointer: number, length: number): string {
    return utf8(this.u8, pointer, length);
  }

  /** Returns a value of the control table. */
  get(index: Control): number {
    return this.control[index] as number;
  }

  /** Position of the latest publication; before the first one, that of the start. */
  get position(): string {
    const count = this.get(Control.FramesPublished) + this.get(Control.PublishedToNone);
    return positionText(this.param(Param.Epoch), count);
  }

  /** Sets a value of the control table. */
  set(index: Control, value: number): void {
    this.control[index] = value;
  }

  /** Writes an address where the engine reads it. @returns its length */
  #putAddress(address: string): number {
    const text = address.slice(0, 64);
    return putLatin1(this.u8, this.#addressText, text) - this.#addressText;
  }

  /**
   * Accepts a connection.
   * @param address the peer's; "": it is counted under none
   * @param flags bits of Arrival
   * @returns its slot, or NONE: see `accept` of assembly/engine/accept.ts
   */
  accept(address: string, flags = 0): number {
    return this.x.accept(this.#putAddress(address), flags) >>> 0;
  }

  /** Counts a connection under its client's address. @returns an Outcome: see `setAddress` of assembly/engine */
  setAddress(slot: number, generation: number, address: string): number {
    return this.x.setAddress(slot, generation, this.#putAddress(address));
  }

  /** Returns a view of the receive window, into which a socket is read. */
  windowView(): Uint8Array {
    return this.u8.subarray(this.window, this.window + this.windowBytes);
  }

  /**
   * Returns a view of bytes to write. One view serves all clients of a run, and later responses of the same length at
   * the same place, because making a view costs more than the rest of a row.
   */
  view(offset: number, length: number): Uint8Array {
    const at = (offset >>> 8) & (VIEWS - 1);
    const kept = this.#views[at] as Uint8Array;
    if (kept.byteOffset === offset && kept.length === length) return kept;
    const view = this.u8.subarray(offset, offset + length);
    this.#views[at] = view;
    return view;
  }

  /** Returns a u32 field of a slot's record. */
  #word(slot: number, field: number): number {
    return this.u32[(this.slots + slot * CONN_BYTES + field) >>> 2] as number;
  }

  /** Returns the number of bytes queued for one client. */
  backlog(slot: number): number {
    return this.#word(slot, CONN_BACKLOG);
  }

  /** Returns true when `resume` must be called although nothing is left to parse. */
  isMessageOut(slot: number): boolean {
    return (this.#word(slot, CONN_FLAGS) & FLAG_MESSAGE_OUT) !== 0;
  }

  /** Returns true when a connection waits for a pooled buffer. */
  isWaiting(slot: number): boolean {
    return (this.#word(slot, CONN_FLAGS) & FLAG_WAITING) !== 0;
  }

  /** Returns true when a WebSocket's Close is queued, for any reason. */
  isClosing(slot: number): boolean {
    return (this.#word(slot, CONN_FLAGS) & FLAG_CLOSE_QUEUED) !== 0;
  }

  /** Returns true when a connection has ended and must not be read any more. */
  isDeaf(slot: number): boolean {
    return (this.#word(slot, CONN_FLAGS) & FLAG_DEAF) !== 0;
  }

  /** Returns true for bytes that are valid UTF-8. */
  isUtf8(bytes: Uint8Array): boolean {
    return this.utf8State(bytes, 0) === 0;
  }

  /**
   * Continues the check of a text that comes in pieces. It copies them through the scratch region.
   * @param state 0 at the start of the text, then the result of the previous call
   * @returns 0 at the end of a valid text, −1 when it is invalid
   */
  utf8State(bytes: Uint8Array, state: number): number {
    const { scratch, scratchBytes } = this;
    let result = state;
    for (let at = 0; at < bytes.length && result !== -1; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      this.u8.set(part, scratch);
      result = this.x.checkUtf8(scratch, part.length, result);
    }
    return result;
  }

  /** Returns a compressed message that was taken back, until the next call of the engine. undefined: there is none. */
  packed(slot: number, generation: number): Uint8Array | undefined {
    const pointer = this.x.packed(slot, generation) >>> 0;
    return pointer === 0 ? undefined : this.bytesAt(pointer, this.get(Control.Result));
  }

  /** Returns the name of a method by its number; undefined when the number is unused. */
  methodName(index: number): string | undefined {
    return this.#methods[index];
  }

  /**
   * Writes field records for `respond` and `upgrade` at the start of the scratch region.
   * @returns bytes written, −1 when they do not fit
   */
  putFields(fields: Fields): number {
    let at = this.scratch;
    const encoded = fields.length === 1 ? encodeFields(fields as readonly Field[]) : fields;
    if (encoded instanceof Uint8Array) {
      if (encoded.length > this.scratchBytes >>> 2) return -1;
      this.u8.set(encoded, at);
      return encoded.length;
    }
    const limit = this.scratch + (this.scratchBytes >>> 2);
    for (const [name, value] of encoded) {
      const end = at + 4 + name.length + value.length;
      if (end > limit || name.length > 65535 || value.length > 65535) return -1;
      this.u8[at] = name.length & 255;
      this.u8[at + 1] = name.length >> 8;
      this.u8[at + 2] = value.length & 255;
      this.u8[at + 3] = value.length >> 8;
      at += 4;
      at = putLatin1(this.u8, at, name);
      at = putLatin1(this.u8, at, value);
    }
    return at - this.scratch;
  }

  /** Changes a parameter that sizes no region. @throws RangeError for one that does, or a value out of its range */
  configure(param: Param, value: number): void {
    if (this.x.configure(param, value) === 0) {
      const frames = this.param(Param.Frames);
      const isWrong = !this.x.isInRange(param, value) || param === Param.QueuedFrames;
      if (isWrong) throw outOfRange(this.x, param, value, frames);
      throw new RangeError(`params.${Param[param]}: it is fixed`);
    }
    this.params[param] = value;
  }

  /**
   * Writes a topic's name at the start of the scratch region.
   * @returns its bytes
   * @throws TypeError, RangeError for what is not a name
   */
  putTopic(name: string): number {
    checkTopic(name);
    return putUtf8(this.u8, this.scratch, TOPIC_NAME_BYTES, name);
  }

  /** Writes the text of a Close frame, at most 123 bytes, at the start of the scratch region. @returns its bytes */
  putText(text: string): number {
    return putUtf8(this.u8, this.scratch, 123, text);
  }

  /**
   * Sets the Server field of all later responses; "" for none.
   * @throws RangeError when it is no field value, or too long
   */
  setServer(text: string): void {
    putLatin1(this.u8, this.scratch, text);
    if (this.x.server(text.length) === 0) {
      throw new RangeError(`serverHeader: ${JSON.stringify(text)} cannot be sent`);
    }
  }

  /** Returns the traits of a slot's pending request: bits of `Trait`. */
  traits(slot: number): number {
    return this.#word(slot, CONN_TRAITS);
  }

  /** Returns the address of a slot's pending request. */
  headAddress(slot: number): number {
    return this.#word(slot, CONN_HEAD);
  }

  /**
   * Returns a slot's pending request as offsets into the memory.
   * @param hostTraits traits that the engine does not know
   */
  head(slot: number, hostTraits = 0): RequestHead {
    const at = this.slots + slot * CONN_BYTES;
    const { u16, u8 } = this;
    return {
      head: this.#word(slot, CONN_HEAD),
      headLength: u16[(at + CONN_HEAD_LENGTH) >>> 1] as number,
      table: this.#word(slot, CONN_TABLE),
      fields: u16[(at + CONN_HEADER_COUNT) >>> 1] as number,
      body: this.#word(slot, CONN_BODY),
      bodyLength: this.#word(slot, CONN_BODY_LENGTH),
      method: u8[at + CONN_METHOD] as number,
      minor: u8[at + CONN_MINOR] as number,
      target: u16[(at + CONN_TARGET) >>> 1] as number,
      targetLength: u16[(at + CONN_TARGET_LENGTH) >>> 1] as number,
      traits: this.traits(slot) | hostTraits,
    };
  }
}
