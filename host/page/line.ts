// A client's connection to the engine within a page: the page's end of a byte channel.
//
// Invariant: bytes leave in order, at most `bufferBytes` of them not taken in by the engine; of what comes, as
// many may wait here until `take` says that they are done with. It ends once.

import type { ChannelMessage } from "../../worker/net/transport";

/** Bytes that a channel holds each way, as a kernel's buffers would. */
export const BUFFER_BYTES = 262144;

/** How a connection came to its end: the server ended its side; it went away, with what was under way. */
export type LineEnd = "ended" | "reset";

/** Who uses a line. */
export interface LineUser {
  /** Bytes came; `take(n)` follows for each of them, now or later. */
  read(bytes: Uint8Array<ArrayBuffer>): void;
  /** The engine has taken in so many bytes of what was written. */
  sent(n: number): void;
  /** Nothing more comes. */
  over(end: LineEnd): void;
}

export class Line {
  readonly #port: MessagePort;
  #user: LineUser;
  readonly #queue: Uint8Array<ArrayBuffer>[] = [];
  #underWay = 0;
  #endPending = false;
  /** The server has ended its side, or the line is gone. */
  #over = false;
  #closed = false;
  /** Told when the line is closed. */
  readonly #left: (line: Line) => void;

  constructor(port: MessagePort, user: LineUser, left: (line: Line) => void) {
    this.#port = port;
    this.#user = user;
    this.#left = left;
    port.onmessage = ({ data }: MessageEvent<ChannelMessage>) => this.#hear(data);
  }

  /** Hands the line to somebody else. */
  set user(user: LineUser) {
    this.#user = user;
  }

  get isOver(): boolean {
    return this.#over;
  }

  #hear(message: ChannelMessage): void {
    if (message instanceof ArrayBuffer) {
      this.#user.read(new Uint8Array(message));
    } else if (typeof message === "number") {
      this.#underWay -= message;
      this.#fill();
      this.#user.sent(message);
    } else if (message === "end") {
      this.#end("ended");
    } else {
      this.#close();
      this.#end(message === "close" ? "ended" : "reset");
    }
  }

  #end(end: LineEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#user.over(end);
  }

  /** The worker is gone, and what it said last has come. */
  lost(): void {
    this.#close();
    this.#end("reset");
  }

  #post(message: ChannelMessage): void {
    this.#port.postMessage(message);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#port.onmessage = null;
    this.#port.close();
    this.#left(this);
  }

  /** Sends bytes, which are the line's from now on. */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#closed || bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#fill();
  }

  #fill(): void {
    const queue = this.#queue;
    for (;;) {
      const first = queue[0];
      const room = BUFFER_BYTES - this.#underWay;
      if (!first || room <= 0) break;
      const n = Math.min(first.length, room);
      if (n === first.length) queue.shift();
      else queue[0] = first.subarray(n);
      this.#underWay += n;
      const whole = n === first.buffer.byteLength;
      const part = whole ? first.buffer : first.slice(0, n).buffer;
      this.#port.postMessage(part, [part]);
    }
    if (this.#endPending && queue.length === 0) {
      this.#endPending = false;
      this.#post("end");
    }
  }

  /** Lets the engine send so many bytes more. */
  take(n: number): void {
    if (!this.#closed) this.#post(n);
  }

  /** Half-closes behind what was written. */
  end(): void {
    if (this.#closed) return;
    this.#endPending = true;
    this.#fill();
  }

  /** Ends at once; what is under way is lost. Its user hears nothing more. */
  reset(): void {
    if (this.#closed) return;
    this.#over = true;
    this.#post("reset");
    this.#close();
  }
}
