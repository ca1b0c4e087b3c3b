// The access log: one line for each response, written when the response is queued.
//
// Invariant: no client can forge a line. Each octet of its request other than a printable ASCII character, a quote and
// a backslash is escaped. Lines wait in one half of the buffer while the other half is being written. When that half is
// full, further lines are dropped and counted, so neither a slow disk nor a flood takes memory or stops a request.

import { HEADER_ENTRY_BYTES, Method } from "../../assembly/abi";
import { NO_HEAD, type RequestHead } from "../../host/shared/request/request";
import { putLatin1 } from "../../host/shared/text/text";
import type { Clock, LineFile } from "../net/transport";

/** Bytes of each half of the buffer. */
const HALF = 524288;
/** Bytes from which on lines are written at once, and the time (ms) after which fewer are. */
const WRITE_BYTES = 65536;
const WRITE_MILLIS = 50;
/** Time (ms) that the last lines have at the end of the server. */
const END_MILLIS = 500;
/** Bytes of a line besides the address and the parts of the request, at most. */
const FIXED = 320;
/** Bytes of an escaped octet, at most. */
const ESCAPE = 6;

export type LogFormat = "combined" | "json";

/** The owner's facilities. */
interface LogOwner {
  readonly clock: Clock;
  /** Called when lines could not be written. */
  failed(error: Error): void;
}

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);
const HEX = encoder.encode("0123456789abcdef");
const REFERER = encoder.encode("referer");
const USER_AGENT = encoder.encode("user-agent");
const HOST = encoder.encode("host");

/** Octets that are copied as they are: printable ASCII without quote and backslash. */
const PLAIN = new Uint8Array(256).fill(1, 32, 127);
PLAIN[34] = 0;
PLAIN[92] = 0;

const MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec";
const two = (n: number): string => String(n).padStart(2, "0");

/** Returns a second as the combined format has it. */
function combinedTime(ms: number): string {
  const at = new Date(ms);
  const month = MONTHS.slice(at.getUTCMonth() * 3, at.getUTCMonth() * 3 + 3);
  const day = `${two(at.getUTCDate())}/${month}/${at.getUTCFullYear()}`;
  return `${day}:${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`;
}

/** A part of a request: a range of its bytes. */
class Part {
  from = 0;
  length = 0;

  set(from: number, length: number): void {
    this.from = from;
    this.length = length;
  }
}

/** Returns true when the octets at `at` are a name, whose own octets are in lower case. */
function isName(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) {
    const octet = bytes[at + i] as number;
    const lower = octet >= 65 && octet <= 90 ? octet | 32 : octet;
    if (lower !== name[i]) return false;
  }
  return true;
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export class AccessLog {
  readonly #file: LineFile;
  readonly #isJson: boolean;
  readonly #owner: LogOwner;
  #half: Uint8Array = NOTHING;
  #other: Uint8Array = NOTHING;
  #length = 0;
  #lines = 0;
  /** Length before the last line; −1: it was dropped. */
  #mark = 0;
  /** Where the last line has its status with the length of the body, and where its rest begins. */
  #statusAt = 0;
  #restAt = 0;
  #isWriting = false;
  #cancel: (() => void) | undefined;
  #ended: (() => void) | undefined;
  /** The second of `#time`. */
  #second = -1;
  #time = NOTHING;
  readonly #method = new Part();
  readonly #target = new Part();
  readonly #referer = new Part();
  readonly #agent = new Part();
  readonly #host = new Part();
  /** Lines that were dropped. */
  dropped = 0;

  constructor(file: LineFile, format: LogFormat, owner: LogOwner) {
    this.#file = file;
    this.#isJson = format === "json";
    this.#owner = owner;
  }

  /** Opens the file, or opens it again. Lines that wait are written to the new one. @throws Error */
  open(): void {
    this.#file.open();
    if (this.#half.length > 0) return;
    this.#half = new Uint8Array(HALF);
    this.#other = new Uint8Array(HALF);
  }

  /** Returns the time by the clock that durations are measured with. */
  now(): number {
    return this.#owner.clock.now();
  }

  /** Adds the line of a client whose request could not be read. */
  addUnread(address: string, status: number, length: number): void {
    this.add(NO_HEAD, NOTHING, address, status, length, -1);
  }

  /**
   * Adds a line.
   * @param at the request, in `bytes`
   * @param address the client's
   * @param length bytes of the response's body; −1: unknown
   * @param since time at which the request had arrived; −1: unknown
   */
  add(
    at: RequestHead,
    bytes: Uint8Array,
    address: string,
    status: number,
    length: number,
    since: number,
  ): void {
    if (this.#length >= WRITE_BYTES) this.#write();
    const parts = this.#find(at, bytes);
    if (this.#length + FIXED + address.length + parts * ESCAPE > this.#half.length) {
      this.#mark = -1;
      this.dropped++;
      return;
    }
    this.#mark = this.#length;
    this.#lines++;
    const isBare = at.method === Method.HEAD || status < 200 || status === 204 || status === 304;
    const body = isBare || status === 205 ? 0 : length;
    if (this.#isJson) this.#putJson(at, bytes, address, status, body, since);
    else this.#putCombined(at, bytes, address, status, body);
    this.#cancel ??= this.#owner.clock.after(WRITE_MILLIS, this.#due);
  }

  /** Removes the line that was added last, because its response was not queued. Nothing was added since. */
  undo(): void {
    if (this.#mark < 0) {
      this.dropped--;
      return;
    }
    this.#length = this.#mark;
    this.#lines--;
  }

  /** Gives the line that was added last another status, because its request was refused. Nothing was added since. */
  amend(status: number): void {
    if (this.#mark < 0) return;
    const rest = this.#half.slice(this.#restAt, this.#length);
    this.#length = this.#statusAt;
    this.#putStatus(status, -1);
    this.#bytes(rest);
  }

  /** Finds the parts of a request. @returns the sum of their lengths */
  #find(at: RequestHead, bytes: Uint8Array): number {
    this.#method.set(at.head, Math.max(0, at.target - 1));
    this.#target.set(at.head + at.target, at.targetLength);
    this.#referer.length = 0;
    this.#agent.length = 0;
    this.#host.length = 0;
    for (let i = 0; i < at.fields; i++) {
      const entry = at.table + i * HEADER_ENTRY_BYTES;
      const nameLength = u16(bytes, entry + 2);
      if (nameLength !== 4 && nameLength !== 7 && nameLength !== 10) continue;
      const name = at.head + u16(bytes, entry);
      const part =
        nameLength === 4 && isName(bytes, name, HOST)
          ? this.#host
          : nameLength === 7 && isName(bytes, name, REFERER)
            ? this.#referer
            : nameLength === 10 && isName(bytes, name, USER_AGENT)
              ? this.#agent
              : undefined;
      if (part !== undefined && part.length === 0)
        part.set(at.head + u16(bytes, entry + 4), u16(bytes, entry + 6));
    }
    const { length } = this.#method;
    const fields = this.#referer.length + this.#agent.length + this.#host.length;
    return length + this.#target.length + fields;
  }

  #text(text: string): void {
    this.#length = putLatin1(this.#half, this.#length, text);
  }

  #bytes(bytes: Uint8Array): void {
    const half = this.#half;
    let to = this.#length;
    for (let i = 0; i < bytes.length; i++) half[to++] = bytes[i] as number;
    this.#length = to;
  }

  #part(bytes: Uint8Array, { from, length }: Part): void {
    const half = this.#half;
    let to = this.#length;
    for (let i = from; i < from + length; i++) {
      const octet = bytes[i] as number;
      if (PLAIN[octet] === 1) {
        half[to++] = octet;
        continue;
      }
      half[to++] = 92;
      if (this.#isJson) {
        half[to++] = 117;
        half[to++] = 48;
        half[to++] = 48;
      } else half[to++] = 120;
      half[to++] = HEX[octet >> 4] as number;
      half[to++] = HEX[octet & 15] as number;
    }
    this.#length = to;
  }

  /** Writes the time, whose text holds for a second. */
  #putTime(): number {
    const now = this.#owner.clock.date();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      const ms = second * 1000;
      this.#time = encoder.encode(
        this.#isJson ? new Date(ms).toISOString().slice(0, 20) : combinedTime(ms),
      );
    }
    this.#bytes(this.#time);
    return now - second * 1000;
  }

  #putStatus(status: number, length: number): void {
    this.#statusAt = this.#length;
    if (this.#isJson) {
      this.#text(`,"status":${status}`);
      if (length >= 0) this.#text(`,"bytes":${length}`);
    } else this.#text(length < 0 ? ` ${status} -` : ` ${status} ${length}`);
    this.#restAt = this.#length;
  }

  #putCombined(
    at: RequestHead,
    bytes: Uint8Array,
    address: string,
    status: number,
    length: number,
  ): void {
    this.#text(address === "" ? "-" : address);
    this.#text(" - - [");
    this.#putTime();
    this.#text('] "');
    if (at.targetLength === 0) this.#text("-");
    else {
      this.#part(bytes, this.#method);
      this.#text(" ");
      this.#part(bytes, this.#target);
      this.#text(at.minor === 0 ? " HTTP/1.0" : " HTTP/1.1");
    }
    this.#text('"');
    this.#putStatus(status, length);
    for (const part of [this.#referer, this.#agent]) {
      this.#text(' "');
      if (part.length === 0) this.#text("-");
      else this.#part(bytes, part);
      this.#text('"');
    }
    this.#text("\n");
  }

  #member(name: string, bytes: Uint8Array, part: Part): void {
    if (part.length === 0) return;
    this.#text(`,"${name}":"`);
    this.#part(bytes, part);
    this.#text('"');
  }

  #putJson(
    at: RequestHead,
    bytes: Uint8Array,
    address: string,
    status: number,
    length: number,
    since: number,
  ): void {
    this.#text('{"time":"');
    const ms = Math.floor(this.#putTime());
    this.#text(`${String(ms).padStart(3, "0")}Z"`);
    if (address !== "") this.#text(`,"address":"${address}"`);
    if (at.targetLength > 0) {
      this.#member("method", bytes, this.#method);
      this.#member("target", bytes, this.#target);
      this.#text(at.minor === 0 ? ',"version":"1.0"' : ',"version":"1.1"');
    }
    this.#putStatus(status, length);
    if (since >= 0)
      this.#text(`,"ms":${Math.max(0, Math.round((this.now() - since) * 100) / 100)}`);
    this.#member("host", bytes, this.#host);
    this.#member("referer", bytes, this.#referer);
    this.#member("userAgent", bytes, this.#agent);
    this.#text("}\n");
  }

  readonly #due = (): void => {
    this.#cancel = undefined;
    this.#write();
  };

  /** Begins to write the lines that wait. While others are being written, they wait. */
  #write(): void {
    if (this.#isWriting || this.#length === 0) return;
    const lines = this.#lines;
    const full = this.#half.subarray(0, this.#length);
    [this.#half, this.#other] = [this.#other, this.#half];
    this.#length = 0;
    this.#lines = 0;
    this.#isWriting = true;
    this.#file.append(full, (error) => {
      this.#isWriting = false;
      if (error) {
        this.dropped += lines;
        this.#owner.failed(error);
      }
      if (this.#ended || this.#length >= WRITE_BYTES) this.#write();
      if (!this.#isWriting) this.#ended?.();
    });
  }

  /** Writes the last lines, and closes the file. */
  async close(): Promise<void> {
    this.#cancel?.();
    await new Promise<void>((resolve) => {
      const cancel = this.#owner.clock.after(END_MILLIS, resolve);
      this.#ended = () => {
        cancel();
        resolve();
      };
      this.#write();
      if (!this.#isWriting) this.#ended();
    });
    this.#file.close();
  }
}
