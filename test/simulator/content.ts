// The content of messages and bodies. All of it follows from the tag, so that a byte of another message is detected.

import type { ErrorPage } from "../../host/options/site/pages";
import { byteLength, latin1 } from "../../host/shared/text/text";
import { nextNoise } from "../lib/noise";
import type { Settings } from "./steps";

const encoder = new TextEncoder();

/** Name of the subprotocol that module 1 has, which no client offers. */
export const MODULE = "module";
/** Bytes that a message needs to carry its tag. */
export const TAG_BYTES = 8;
/** Length of a static body, and of one that is larger than a block. */
export const STATIC_BYTES = 5000;
export const LARGE_BYTES = 70000;
/** Length of one whose first write, of 256 KiB, takes the slowest reader longer than a step of acknowledgements. */
export const HUGE_BYTES = 300000;

/** Returns the bytes of a binary message, with its tag first. Every third does not shrink when it is compressed. */
function bytesOf(tag: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = (tag * 2654435761) >>> 0;
  const isNoise = tag % 3 === 0;
  for (let i = 0; i < size; i++) {
    if (isNoise || i % 64 === 0) state = nextNoise(state);
    bytes[i] = (state >>> 24) + (isNoise ? 0 : i & 7);
  }
  if (size >= TAG_BYTES) new DataView(bytes.buffer).setUint32(0, tag, true);
  return bytes;
}

/** Ends of lines in texts. */
const BREAKS = ["", "\n", "\r", "\r\n", "\n\n"];

/** Returns a text of `size` bytes, as far as its characters allow: its tag, then characters of one to four bytes. */
function textOf(tag: number, size: number): string {
  const unit = `${tag} \u00e9\u20ac \u{1f98a}.${BREAKS[tag % BREAKS.length]}`;
  const whole = unit.repeat(Math.floor(size / byteLength(unit)));
  let left = size - byteLength(whole);
  let rest = "";
  for (const character of unit) {
    left -= byteLength(character);
    if (left < 0) break;
    rest += character;
  }
  return whole + rest;
}

/** Returns a message's data: a text for opcode 1. */
export function dataOf(tag: number, opcode: 1 | 2, size: number): string | Uint8Array {
  return opcode === 1 ? textOf(tag, size) : bytesOf(tag, size);
}

/** Returns a message's data as octets on the wire. */
export function payloadOf(tag: number, opcode: 1 | 2, size: number): Uint8Array {
  const data = dataOf(tag, opcode, size);
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** Returns the tag that a message carries. */
export function tagOf(opcode: number, payload: Uint8Array): number {
  if (opcode === 1) return Number.parseInt(latin1(payload, 0, Math.min(10, payload.length)), 10);
  return Buffer.from(payload).readUInt32LE(0);
}

/** Returns a body in ASCII. */
export function bodyOf(tag: number, size: number): string {
  return `${tag}.abcdefgh`.repeat(Math.ceil(size / 9)).slice(0, size);
}

/** Lengths of error pages, from one octet to several writes. */
const PAGE_BYTES: Readonly<Record<number, number>> = {
  ...{ 400: 40, 404: 900, 408: 3000, 413: 5000, 414: 20000, 426: 1, 431: 700, 500: 2500 },
  ...{ 503: 300, 505: 1000 },
};

/** Content-Type of error pages. */
export const PAGE_TYPE = "text/html";

/** Returns the error page of a status; undefined: it has none. */
export function pageOf(status: number, { isPaged }: Pick<Settings, "isPaged">): string | undefined {
  const size = PAGE_BYTES[status];
  return isPaged && size !== undefined ? bodyOf(status, size) : undefined;
}

/** Returns all error pages, as options of a pump. */
export function pagesOf(settings: Pick<Settings, "isPaged">): ErrorPage[] {
  return Object.keys(PAGE_BYTES).flatMap((key) => {
    const page = pageOf(Number(key), settings);
    if (page === undefined) return [];
    return [{ status: Number(key), type: PAGE_TYPE, body: encoder.encode(page) }];
  });
}

/** Pieces of an answer that comes in pieces. */
export function piecesOf(tag: number): string[] {
  return [1, 3000, 17, 700].map((size, i) => bodyOf(tag + i, size));
}

/** Lengths of bodies that the server reads like files: less than a piece, about one, several. */
const FILE_BYTES = [1, 5000, 65537, 150000];

/** Returns the body that a request's handler has the server read. */
export function fileOf(tag: number): string {
  return bodyOf(tag, FILE_BYTES[tag % FILE_BYTES.length] as number);
}

/** Returns the pieces of an answer that come now and then: with the head, together, larger than 64 KiB. */
export function dripOf(tag: number): string[] {
  const large = tag % 3 === 0 ? 70000 : 20000;
  return [10, 900, 0, large, 3, 16000, 2000, 1].map((size, i) => bodyOf(tag + i, size));
}

/** Tags of messages that handlers publish begin here. */
const BURST_TAGS = 1000000;

/** Returns the publications of a message's handler that is asked for a burst. */
export function burstOf(tag: number): { readonly tag: number; readonly size: number }[] {
  return [0, 1, 2, 3, 4].map((i) => {
    return { tag: BURST_TAGS + tag * 5 + i, size: (tag * 37 + i * 211) % 700 };
  });
}

/** Tags of messages that are streamed begin here. */
const STREAM_TAGS = 1 << 30;

/** Returns the messages that a message's handler streams. */
export function streamOf(
  tag: number,
): { readonly tag: number; readonly data: string | Uint8Array }[] {
  return [0, 1, 2, 3, 4, 5].map((i) => {
    const own = STREAM_TAGS + tag * 6 + i;
    const size = 12 + ((tag * 53 + i * 977) % 3000);
    return { tag: own, data: dataOf(own, i % 2 === 0 ? 1 : 2, size) };
  });
}
