// A client's connection to the engine within a page: the page's end of a byte channel.
//
// Invariant: bytes leave in order, at most `BUFFER_BYTES` of them unacknowledged by the engine. The engine sends at
// most as many that `take` has not acknowledged. A line ends once.

import type { ChannelMessage } from "../../worker/net/transport";

/** Bytes in flight in each direction at most, as in a kernel's buffers. Beyond it the sender waits. */
export const BUFFER_BYTES = 262144;

/** How a connection ended: the server ended its side, or the connection was reset and bytes in flight are lost. */
export type LineEnd = "ended" | "reset";

/** The user of a line. */
export interface LineUser {
  /** Called with bytes that arrived. Each must be acknowledged with `take(n)`, now or later. */
  read(bytes: Uint8Array<ArrayBuffer>): void;
  /** Called when the engine has received `n` bytes of what was written. */
  sent(n: number): void;
  /** Called when nothing more will arrive. */
  over(end: LineEnd): void;
}

export class Line {
  readonly #port: MessagePort;
  #user: LineUser;
  readonly #queue: Uint8Array<ArrayBuffer>[] = [];
  #underWay = 0;
  #endPending = false;
  /** True when the server has ended its side, or the line is closed. */
  #over = false;
  #closed = false;
  /** Called when the line is closed. */
  readonly #left: (line: Line) => void;

  constructor(port: MessagePort, user: LineUser, left: (line: Line) => void) {
    this.#port = port;
    this.#user = user;
    this.#left = left;
    port.onmessage = ({ data }: MessageEvent<ChannelMessage>) => this.#hear(data);
  }

  /** Transfers the line to another user. */
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

  /** Closes the line after the worker's end, once its last messages have arrived. */
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

  /** Sends bytes. Their memory belongs to the line from now on. */
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

  /** Acknowledges `n` bytes, so that the engine may send as many more. */
  take(n: number): void {
    if (!this.#closed) this.#post(n);
  }

  /** Half-closes after what was written. */
  end(): void {
    if (this.#closed) return;
    this.#endPending = true;
    this.#fill();
  }

  /** Resets the line. Bytes in flight are lost, and the user gets no further calls. */
  reset(): void {
    if (this.#closed) return;
    this.#over = true;
    this.#post("reset");
    this.#close();
  }
}
