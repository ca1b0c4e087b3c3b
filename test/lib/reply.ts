// Parses responses as a client does, from the bytes of an HTTP connection.

export interface Reply {
  readonly status: number;
  readonly phrase: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
}

/** Returns the value of a field; undefined when it is missing, a list when it is repeated. */
export function fieldOf(reply: Reply, name: string): string | undefined {
  const values = reply.fields.filter(([key]) => key.toLowerCase() === name).map((f) => f[1]);
  return values.length === 0 ? undefined : values.join(" | ");
}

/**
 * Takes responses apart, strictly.
 * @param heads which of the answers are to HEAD, by index
 * @throws Error at the first octet that does not belong
 */
export function replies(text: string, heads: readonly number[] = []): Reply[] {
  const found: Reply[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end < 0) throw new Error(`a head without an end: ${JSON.stringify(text.slice(at))}`);
    const [line = "", ...rest] = text.slice(at, end).split("\r\n");
    const match = /^HTTP\/1\.1 ([1-5]\d\d) ([\x20-\x7e]*)$/.exec(line);
    if (!match) throw new Error(`not a status line: ${JSON.stringify(line)}`);
    const fields = rest.map((field): [string, string] => {
      const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)$/.exec(field);
      if (!parts) throw new Error(`not a field: ${JSON.stringify(field)}`);
      return [parts[1] as string, parts[2] as string];
    });
    const status = Number(match[1]);
    const head = { status, phrase: match[2] as string, fields, body: "" };
    const bare = status < 200 || status === 204 || status === 304 || heads.includes(found.length);
    const length = bare ? 0 : Number(fieldOf(head, "content-length") ?? 0);
    at = end + 4;
    if (at + length > text.length) throw new Error(`a body of ${length} bytes is cut`);
    found.push({ ...head, body: text.slice(at, at + length) });
    at += length;
  }
  return found;
}
