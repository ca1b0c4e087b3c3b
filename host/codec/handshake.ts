// The opening handshake of a client (RFC 6455 4.1): the fields that ask for it, and the answer that accepts it.

import { sha1 } from "./sha1";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Returns the fields of a request that asks for a WebSocket, without Host. @param key 16 random bytes in base64 */
export function upgradeFields(
  key: string,
  protocols: readonly string[] = [],
): [name: string, value: string][] {
  return [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Key", key],
    ["Sec-WebSocket-Version", "13"],
    ...(protocols.length > 0
      ? [["Sec-WebSocket-Protocol", protocols.join(", ")] as [string, string]]
      : []),
  ];
}

/** Returns the Sec-WebSocket-Accept of the response that accepts a key. */
export function acceptOf(key: string): string {
  return sha1(key + GUID);
}
