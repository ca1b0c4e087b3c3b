// Parses an event stream (WHATWG HTML 9.2.6), whatever the borders of its chunks.
//
// Invariant: an event is taken when its blank line has arrived, never in part. The end of the stream drops the rest.

/** An event, or a block that has only an id. */
export interface ParsedEvent {
  /** The id; undefined: the block has none, so the last one still holds. */
  readonly id: string | undefined;
  /** The name; "" for none. */
  readonly name: string;
  /** The lines, joined by LF; undefined: there are none, so that the block is no event. */
  readonly data: string | undefined;
}

/** Receives what was parsed. */
export interface EventTaker {
  event(event: ParsedEvent): void;
  /** @param ms the time after which to reconnect, in ms */
  retry(ms: number): void;
}

/** Returns a parser, a function that takes the next bytes of the stream. */
export function eventParser(taker: EventTaker): (bytes: Uint8Array) => void {
  // It removes a byte order mark at the start.
  const decoder = new TextDecoder();
  /** The start of a line whose end has not arrived. */
  let rest = "";
  /** True after a CR at the end of a chunk: an LF that follows belongs to it. */
  let isHalf = false;
  let id: string | undefined;
  let name = "";
  let data: string | undefined;

  function take(line: string): void {
    if (line === "") {
      const event = { id, name, data };
      id = data = undefined;
      name = "";
      if (event.id !== undefined || event.data !== undefined) taker.event(event);
      return;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) as RegExpExecArray;
    if (field === "data") data = data === undefined ? value : `${data}\n${value}`;
    else if (field === "event") name = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d+$/.test(value)) taker.retry(+value);
  }

  return (bytes) => {
    const text = decoder.decode(bytes, { stream: true });
    if (text === "") return;
    const ends = /\r\n?|\n/g;
    let at = isHalf && text[0] === "\n" ? 1 : 0;
    ends.lastIndex = at;
    isHalf = text[text.length - 1] === "\r";
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      const line = rest + text.slice(at, end.index);
      rest = "";
      at = ends.lastIndex;
      take(line);
    }
    rest += text.slice(at);
  };
}
