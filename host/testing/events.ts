// A scripted client of server-sent events: the events of one stream, parsed as a browser does (WHATWG HTML 9.2.6).

import { concat } from "../shared/text/bytes";
import { show } from "../shared/text/show";
import { TOKEN } from "../shared/text/token";
import { checkGroup } from "./check";
import type { Network } from "./network";
import { type SocketOptions, TestSocket } from "./socket";

/** Options of `events`. */
export interface EventsClientOptions extends SocketOptions {
  /** Further fields of the request; Host is "ringcast.test" by default. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** An event that has arrived. */
export interface TestEvent {
  /** The position of a publication; undefined for a message to this client alone. */
  readonly id: string | undefined;
  /** Its name; "message" when it has none. */
  readonly event: string;
  /** Its lines, joined by LF. */
  readonly data: string;
}

/** A scripted client of an event stream. */
export class TestEvents extends TestSocket {
  /** @internal */
  static override readonly name = "TestEvents";
  /** Status of the response; undefined until its head has arrived. */
  status: number | undefined;
  /** Fields of the response, by lower-case names. */
  readonly fields = new Map<string, string>();
  /** Events that have arrived, those named "ringcast-…" included. */
  readonly events: TestEvent[] = [];
  /** Comments that have arrived. */
  comments = 0;
  /** Time in ms after which a browser would reconnect; undefined: the server has stated none. */
  retry: number | undefined;
  readonly #decoder = new TextDecoder();
  #head: Uint8Array = new Uint8Array(0);
  #line = "";
  #id: string | undefined;
  #event = "";
  #data: string[] = [];

  /** @internal */
  constructor(network: Network, path: string, options: EventsClientOptions = {}) {
    super(network, options);
    if (typeof path !== "string" || !/^\/[!-~]*$/.test(path))
      throw new TypeError(`events: ${show(path)} is not a path such as "/events"`);
    const fields: Record<string, string> = { Host: "ringcast.test", Accept: "text/event-stream" };
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      if (!TOKEN.test(name) || /[\r\n\0]/.test(value))
        throw new TypeError(`headers: ${show(name)}: ${show(value)} is not a field`);
      fields[name] = value;
    }
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    this.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  }

  /** @internal */
  protected override check(options: EventsClientOptions): void {
    checkGroup("events", options);
  }

  /** @internal */
  protected override arrived(bytes: Uint8Array): void {
    if (this.status !== undefined) {
      this.#push(bytes);
      return;
    }
    this.#head = concat([this.#head, bytes]);
    const text = new TextDecoder("latin1").decode(this.#head);
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const [first = "", ...lines] = text.slice(0, end).split("\r\n");
    this.status = Number(first.split(" ")[1]);
    for (const line of lines) {
      const colon = line.indexOf(":");
      this.fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    this.#push(this.#head.subarray(end + 4));
  }

  #push(bytes: Uint8Array): void {
    if (this.fields.get("content-type") !== "text/event-stream") return;
    this.#line += this.#decoder.decode(bytes, { stream: true });
    // The server ends lines by LF alone.
    const lines = this.#line.split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) this.#take(line);
  }

  #take(line: string): void {
    if (line === "") {
      const { length } = this.#data;
      if (length > 0)
        this.events.push({
          ...{ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") },
        });
      this.#id = undefined;
      this.#event = "";
      this.#data = [];
      return;
    }
    const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === "") this.comments++;
    else if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "retry") this.retry = Number(value);
  }

  override describe(): string[] {
    const head = this.status === undefined ? [] : [`${this.status}`];
    const lines = this.events.map(({ event, data }) => `${event}: ${JSON.stringify(data)}`);
    return [...head, ...lines, this.state];
  }
}
