// How a server accepts an opening handshake (RFC 6455 4.2.2).

import { createHash } from "node:crypto";

/** Returns the value of Sec-WebSocket-Accept for a key. */
export function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Returns the 101 that a server sends for a handshake. */
export function switching(request: string): string {
  const key = /^Sec-WebSocket-Key: (\S+)/im.exec(request)?.[1] ?? "";
  return (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`
  );
}
