// The opening handshake (RFC 6455 4) as the clients of the tests send it. It runs in pages, too, so it imports nothing.

/** A key, and the value that accepts it (RFC 6455 1.3). */
export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
export const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/** Returns the fields that make a request a handshake, each with its CR LF. */
export function upgradeFields(key = KEY): string {
  return (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n`
  );
}

/** Returns an opening handshake. @param fields further ones, each with its CR LF */
export function handshake(target = "/", fields = "", key = KEY): string {
  return `GET ${target} HTTP/1.1\r\nHost: a\r\n${upgradeFields(key)}${fields}\r\n`;
}

/** The opening handshake of RFC 6455 1.3. */
export const HANDSHAKE = `GET /chat HTTP/1.1\r\nHost: server.example.com\r\n${upgradeFields()}\r\n`;
