// Violations of clients, and their offers: bytes that must be refused, and how.

import type { CLOSE_TABLE } from "../../host/shared/close";
import { zlibCodec } from "../../worker/net/zlib";
import { closeFrame, frame } from "../lib/frame";

/** A request that is refused, and the status. */
interface Broken {
  readonly text: string;
  readonly status: number;
}

const HOST = "Host: sim\r\n";

export const BROKEN: readonly Broken[] = [
  { text: "NONSENSE\r\n\r\n", status: 400 },
  { text: `GET / HTTP/2.0\r\n${HOST}\r\n`, status: 505 },
  { text: `BREW / HTTP/1.1\r\n${HOST}\r\n`, status: 501 },
  { text: "GET / HTTP/1.1\r\n\r\n", status: 400 },
  { text: `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, status: 400 },
  { text: `GET / HTTP/1.1\r\n${HOST} folded\r\n\r\n`, status: 400 },
  { text: `GET /${"x".repeat(1100)} HTTP/1.1\r\n${HOST}\r\n`, status: 414 },
  { text: `GET / HTTP/1.1\r\n${HOST}X: ${"x".repeat(5000)}\r\n\r\n`, status: 431 },
  { text: `GET / HTTP/1.1\r\n${HOST}${"X: x\r\n".repeat(40)}\r\n`, status: 431 },
  { text: `POST / HTTP/1.1\r\n${HOST}Content-Length: 999999\r\n\r\n`, status: 413 },
  { text: `POST / HTTP/1.1\r\n${HOST}Content-Length: 1, 1\r\n\r\n`, status: 400 },
  {
    text: `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    status: 400,
  },
  { text: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n`, status: 501 },
  { text: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, status: 400 },
  {
    text: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh`,
    status: 400,
  },
  { text: `GET / HTTP/1.1\r\n${HOST}Expect: 200-maybe\r\n\r\n`, status: 417 },
  {
    text: `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n`,
    status: 426,
  },
];

/** A frame that fails its WebSocket; the code of the Close, and the cause that gives its text. */
interface Fault {
  readonly bytes: Uint8Array;
  readonly code: number;
  readonly cause: keyof typeof CLOSE_TABLE;
  /** Only where compression was agreed upon. */
  readonly deflated?: true;
  /** Only where messages are handed out whole. */
  readonly whole?: true;
}

const BOMB = zlibCodec.deflate(new Uint8Array(1 << 20), 15);

export const FAULTS: readonly Fault[] = [
  { bytes: frame(3), code: 1002, cause: "WsUnknownOpcode" },
  { bytes: frame(11), code: 1002, cause: "WsUnknownOpcode" },
  { bytes: frame(1, "", { reserved: 1 }), code: 1002, cause: "WsReservedBits" },
  { bytes: frame(0, "", { final: true }), code: 1002, cause: "WsExpectedText" },
  { bytes: frame(1, "x", { masked: false }), code: 1002, cause: "WsBadMask" },
  { bytes: frame(9, "x", { final: false }), code: 1002, cause: "WsFragmentedControl" },
  { bytes: frame(9, "x".repeat(126)), code: 1002, cause: "WsControlFrameTooLarge" },
  { bytes: frame(1, "x", { form: 2 }), code: 1002, cause: "WsBadLength" },
  { bytes: frame(2, "x", { form: 8 }), code: 1002, cause: "WsBadLength" },
  {
    bytes: Buffer.concat([frame(1, "x", { final: false }), frame(1, "x")]),
    code: 1002,
    cause: "WsExpectedCont",
  },
  { bytes: frame(8, "x"), code: 1002, cause: "WsBadClosePayload" },
  { bytes: closeFrame(1005), code: 1002, cause: "WsBadClosePayload" },
  { bytes: closeFrame(999), code: 1002, cause: "WsBadClosePayload" },
  { bytes: closeFrame(1000, Uint8Array.of(0xc3)), code: 1007, cause: "WsBadUtf8" },
  { bytes: frame(1, Uint8Array.of(0x61, 0xff)), code: 1007, cause: "WsBadUtf8" },
  { bytes: frame(1, Uint8Array.of(0xf0, 0x9f, 0xa6)), code: 1007, cause: "WsBadUtf8" },
  {
    bytes: Buffer.concat([
      frame(1, Uint8Array.of(0xf0, 0x9f), { final: false }),
      frame(0, Uint8Array.of(0x41)),
    ]),
    code: 1007,
    cause: "WsBadUtf8",
  },
  { bytes: frame(2, "", { length: 40000n }), code: 1009, cause: "WsOversizeFrame", whole: true },
  {
    bytes: Buffer.concat([
      frame(2, "x".repeat(20000), { final: false }),
      frame(0, "", { length: 20000n }),
    ]),
    code: 1009,
    cause: "WsMessageTooLarge",
    whole: true,
  },
  {
    bytes: Buffer.concat(
      Array.from({ length: 60 }, (_, i) => frame(i === 0 ? 2 : 0, "", { final: false })),
    ),
    code: 1008,
    cause: "WsTooManyFragments",
  },
  {
    bytes: frame(1, "not deflate", { reserved: 4 }),
    code: 1007,
    cause: "WsBadDeflate",
    deflated: true,
  },
  {
    bytes: frame(2, BOMB, { reserved: 4 }),
    code: 1009,
    cause: "WsMessageTooLarge",
    deflated: true,
  },
];

/** The extensions that a client offers with its upgrade. */
export const OFFERS: readonly string[] = [
  "",
  "",
  "Sec-WebSocket-Extensions: permessage-deflate\r\n",
  "Sec-WebSocket-Extensions: permessage-deflate\r\n",
  "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
];

/** Offers from this number on are none: the client asks for an event stream. */
export const STREAM_OFFER = OFFERS.length;
