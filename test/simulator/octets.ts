// Octets that a server must write, for the model: responses of RFC 9112 in the order of fields that this server has,
// the opening handshake and frames of RFC 6455.

import { toBytes } from "../../host/shared/text/text";
import { PAGE_TYPE } from "./content";
import { type Ask, type Settings, TOPICS } from "./steps";

/** The Date of all answers in exact mode. */
const DATE = "Thu, 01 Jan 2026 00:00:00 GMT";

/** keepAliveTimeout of exact mode, an hour. */
const KEEP_ALIVE = "Keep-Alive: timeout=3600";

const PHRASES: Readonly<Record<number, string>> = {
  ...{ 200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found" },
  ...{ 413: "Content Too Large" },
  ...{ 414: "URI Too Long", 417: "Expectation Failed", 426: "Upgrade Required" },
  ...{ 431: "Request Header Fields Too Large", 500: "Internal Server Error" },
  ...{ 501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported" },
};

/** How the end of a body is marked. */
export type Framing = "length" | "chunks" | "end";

function lines(status: number, ...fields: readonly string[]): string {
  return [`HTTP/1.1 ${status} ${PHRASES[status]}`, ...fields.filter(Boolean), "", ""].join("\r\n");
}

/**
 * Returns a handler's response.
 * @param pieces of its body
 * @param isLast the connection ends with it
 * @param type of its body; "": none
 */
export function answerOf(
  { method }: Partial<Ask>,
  status: number,
  framing: Framing,
  pieces: readonly string[],
  isLast: boolean,
  type = "text/plain",
): string {
  const body = pieces.join("");
  const frames = {
    length: `Content-Length: ${body.length}`,
    chunks: "Transfer-Encoding: chunked",
    end: "",
  };
  const end = isLast ? ["Connection: close"] : ["Connection: keep-alive", KEEP_ALIVE];
  const typed = type && `Content-Type: ${type}`;
  const head = lines(status, typed, `Date: ${DATE}`, frames[framing], ...end);
  if (method === "HEAD") return head;
  if (framing !== "chunks") return head + body;
  const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);
  return `${head}${chunks.join("")}0\r\n\r\n`;
}

/** Returns a refusal, with which the connection ends. @param page of its status; undefined: there is none */
export function refusalOf(status: number, isHead: boolean, page?: string): string {
  const body = page ?? `${PHRASES[status]}\n`;
  const end =
    status === 426
      ? ["Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: upgrade, close"]
      : ["Connection: close"];
  const type = `Content-Type: ${page === undefined ? "text/plain" : PAGE_TYPE}`;
  const about = [type, `Content-Length: ${body.length}`];
  const fields = page === undefined ? [...about, ...end] : [...end, ...about];
  const head = lines(status, `Date: ${DATE}`, ...fields);
  return isHead ? head : head + body;
}

/**
 * Returns the 101 response of an opening handshake.
 * @param window of the compression that was agreed upon; 0 for none
 */
export function switchOf(window: number): string {
  const bits = window === 15 ? "" : `; server_max_window_bits=${window}`;
  const agreed = `permessage-deflate; server_no_context_takeover; client_no_context_takeover${bits}`;
  return [
    "HTTP/1.1 101 Switching Protocols",
    ...["Upgrade: websocket", "Connection: Upgrade"],
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ...(window > 0 ? [`Sec-WebSocket-Extensions: ${agreed}`] : []),
    ...[`Date: ${DATE}`, "", ""],
  ].join("\r\n");
}

export function frameOf(opcode: number, payload: Uint8Array, isPacked = false): Uint8Array {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
  head[0] = 0x80 | (isPacked ? 0x40 : 0) | opcode;
  head[1] = length < 126 ? length : length < 65536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

export function closeOf(code: number, reason: string): Uint8Array {
  return frameOf(8, Buffer.concat([Uint8Array.of(code >> 8, code & 255), toBytes(reason)]));
}

// ---- event streams -----------------------------------------------------------------------------------------

/** Returns the head of an event stream. */
export function streamHeadOf(): string {
  const fields = ["Content-Type: text/event-stream", "Cache-Control: no-store, no-transform"];
  return lines(200, ...fields, "X-Accel-Buffering: no", `Date: ${DATE}`, "Connection: close");
}

/** Returns the text that a reader of events gets for a message. */
export function eventDataOf(opcode: number, payload: Uint8Array): string {
  if (opcode === 2) return Buffer.from(payload).toString("base64");
  return Buffer.from(payload).toString().replace(/\r\n?/g, "\n");
}

/** Returns the name of the event of a publication; "": it has none. @param topic undefined: a broadcast */
export function nameOf({ params }: Settings, topic: number | undefined): string {
  return topic !== undefined && params.EventNames === 1 ? (TOPICS[topic] as string) : "";
}

/** Returns a message as an event. @param position undefined: it is for one client alone @param name "": none */
export function eventOf(
  opcode: number,
  payload: Uint8Array,
  position: string | undefined,
  name: string,
): string {
  const id = position === undefined ? "" : `id: ${position}\n`;
  const named = name && `event: ${name}\n`;
  const lines = eventDataOf(opcode, payload).split("\n");
  return `${id}${named}${lines.map((line) => `data: ${line}\n`).join("")}\n`;
}

/** Returns the event of a gap. @param position up to which nothing more comes; undefined: it is not known */
export function gapOf(position: string | undefined, reason: string, topic?: string): string {
  const id = position === undefined ? "" : `id: ${position}\n`;
  return `${id}event: ringcast-gap\ndata: ${JSON.stringify({ reason, topic })}\n\n`;
}

/** Returns the first event where publications are kept. @param position of a client that resumes */
export function helloOf(position: string | undefined): string {
  const id = position === undefined ? "" : `id: ${position}\n`;
  return `${id}event: ringcast-hello\ndata: ${JSON.stringify({ position })}\n\n`;
}

/** Returns the event after all that `open` has sent. */
export function liveOf(position: string): string {
  return `id: ${position}\nevent: ringcast-live\ndata: ${JSON.stringify({ position })}\n\n`;
}

/** Returns the event that ends a stream. */
export function farewellOf(code: number, reason: string): string {
  return `event: ringcast-close\ndata: ${JSON.stringify({ code, reason })}\n\n`;
}
