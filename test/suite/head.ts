// The head of an answer as a client takes it apart. No platform.

/**
 * Parses a head.
 * @param head to its empty line
 * @returns fields by lower-case name; several of one name are joined by ", "
 */
export function readHead(head: string): { status: number; fields: Map<string, string> } {
  const [first = "", ...lines] = head.slice(0, -4).split("\r\n");
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1]), fields };
}

/**
 * Returns true for a response that has no body, whatever its fields say (RFC 9112 6.3).
 * @param method of its request
 */
export function isBare(status: number, method: string): boolean {
  return method === "HEAD" || status < 200 || status === 204 || status === 304;
}
