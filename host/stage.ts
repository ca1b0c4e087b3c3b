// A message built piece by piece on the application's thread, in a buffer of its own.

import { bytesOf, dataOf } from "./data";
import { checkPublish, checkSend } from "./flags";
import type { Data, PublishOptions, SendOptions, Stage } from "./handler";

/** Where a finished message goes. */
interface StageTarget {
  broadcast(data: Data, options?: PublishOptions): boolean;
  publish(topic: string, data: Data, options?: PublishOptions): boolean;
  send(id: number, data: Data, options?: SendOptions): boolean;
}

const encoder = new TextEncoder();

export class BufferStage implements Stage {
  readonly #out: StageTarget;
  readonly #limit: number;
  #bytes = new Uint8Array(256);
  #length = 0;
  #failed = false;
  #done = false;

  /** @param limit bytes of the ring: a larger message fails */
  constructor(out: StageTarget, limit: number) {
    this.#out = out;
    this.#limit = limit - 10;
  }

  #room(n: number): boolean {
    if (this.#done) throw new Error("stage: it is finished");
    if (this.#failed || this.#length + n > this.#limit) {
      this.#failed = true;
      return false;
    }
    if (this.#length + n > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + n));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    return true;
  }

  text(value: string | number | boolean | bigint): this {
    const bytes = encoder.encode(String(value));
    return this.bytes(bytes);
  }

  bytes(data: Exclude<Data, string>): this {
    const bytes = bytesOf(dataOf("stage.bytes", data));
    if (this.#room(bytes.length)) {
      this.#bytes.set(bytes, this.#length);
      this.#length += bytes.length;
    }
    return this;
  }

  reserve(n: number, fill: (view: Uint8Array) => number): this {
    if (!Number.isInteger(n) || n < 0)
      throw new RangeError(`reserve: ${n} is not a number of bytes`);
    if (!this.#room(n)) return this;
    const view = new Uint8Array(n);
    const used = fill(view);
    if (!Number.isInteger(used) || used < 0 || used > n) {
      throw new RangeError(`reserve: ${used} is not a whole number from 0 to ${n}`);
    }
    return this.bytes(view.subarray(0, used));
  }

  get length(): number {
    return this.#length;
  }

  truncate(n: number): this {
    if (!Number.isInteger(n) || n < 0)
      throw new RangeError(`truncate: ${n} is not a number of bytes`);
    this.#length = Math.min(this.#length, n);
    return this;
  }

  discard(): void {
    this.#done = true;
  }

  #take(): Uint8Array | undefined {
    if (this.#done) throw new Error("stage: it is finished");
    this.#done = true;
    return this.#failed ? undefined : this.#bytes.subarray(0, this.#length);
  }

  broadcast(options?: PublishOptions): boolean {
    checkPublish(options);
    const bytes = this.#take();
    return bytes !== undefined && this.#out.broadcast(bytes, { binary: false, ...options });
  }

  publish(topic: string, options?: PublishOptions): boolean {
    checkPublish(options);
    const bytes = this.#take();
    return bytes !== undefined && this.#out.publish(topic, bytes, { binary: false, ...options });
  }

  send(id: number, options?: SendOptions): boolean {
    checkSend(options);
    const bytes = this.#take();
    return bytes !== undefined && this.#out.send(id, bytes, { binary: false, ...options });
  }
}
