// A message built piece by piece, straight in the ring.
//
// Invariant: at most one stage is open, and nothing else is published while it is. Errors are sticky:
// after one, calls do nothing, and publishing reports it once.

import { Control, FrameFlag, NONE, Outcome, SLOT_LIMIT } from "../assembly/abi";
import { bytesOf, dataOf } from "../host/data";
import { checkId, checkPublish, checkSend } from "../host/flags";
import type { Data, PublishOptions, SendOptions, Stage } from "../host/handler";
import { byteLength, lengthOf, putUtf8 } from "./engine";
import type { Pump } from "./server";

export class StageImpl implements Stage {
  readonly #pump: Pump;
  readonly #finished: () => void;
  #done = false;
  #error: Outcome = Outcome.Ok;

  constructor(pump: Pump, finished: () => void) {
    this.#pump = pump;
    this.#finished = finished;
  }

  /** Makes room; the address to write at, 0 when staging has failed. */
  #room(n: number): number {
    if (this.#done) throw new Error("stage: it is finished");
    if (this.#error !== Outcome.Ok) return 0;
    const { engine } = this.#pump;
    this.#error = this.#pump.outgoing.publishing(() => engine.x.stageReserve(lengthOf(n)));
    return this.#error === Outcome.Ok ? engine.get(Control.Result) : 0;
  }

  text(value: string | number | boolean | bigint): this {
    const text = String(value);
    const { engine } = this.#pump;
    const limit = text.length < 1024 ? text.length * 3 : byteLength(text);
    const at = this.#room(limit);
    if (at !== 0) engine.x.stageAppend(putUtf8(engine.u8, at, limit, text));
    return this;
  }

  bytes(data: Exclude<Data, string>): this {
    const bytes = bytesOf(dataOf("stage.bytes", data));
    const at = this.#room(bytes.length);
    if (at !== 0) {
      this.#pump.engine.u8.set(bytes, at);
      this.#pump.engine.x.stageAppend(bytes.length);
    }
    return this;
  }

  reserve(n: number, fill: (view: Uint8Array) => number): this {
    if (!Number.isInteger(n) || n < 0)
      throw new RangeError(`reserve: ${n} is not a number of bytes`);
    const at = this.#room(n);
    if (at === 0) return this;
    // A copy goes in, so that a view that outlives the call cannot reach the ring.
    const view = new Uint8Array(n);
    const used = fill(view);
    if (!Number.isInteger(used) || used < 0 || used > n) {
      throw new RangeError(`reserve: ${used} is not a whole number from 0 to ${n}`);
    }
    this.#pump.engine.u8.set(view.subarray(0, used), at);
    this.#pump.engine.x.stageAppend(used);
    return this;
  }

  get length(): number {
    return this.#done ? 0 : this.#pump.engine.x.stageLength();
  }

  truncate(n: number): this {
    if (!Number.isInteger(n) || n < 0)
      throw new RangeError(`truncate: ${n} is not a number of bytes`);
    if (!this.#done) this.#pump.engine.x.stageTruncate(n);
    return this;
  }

  discard(): void {
    if (this.#done) return;
    this.#pump.engine.x.stageDiscard();
    this.#finish();
  }

  #finish(): void {
    this.#done = true;
    this.#finished();
  }

  #publish(fn: () => number): boolean {
    if (this.#done) throw new Error("stage: it is finished");
    const failed = this.#error;
    const { x } = this.#pump.engine;
    if (failed !== Outcome.Ok) x.stageDiscard();
    const outcome = failed === Outcome.Ok ? this.#pump.outgoing.publishing(fn) : failed;
    this.#finish();
    this.#pump.schedule();
    return outcome === Outcome.Ok;
  }

  broadcast(options?: PublishOptions): boolean {
    return this.#publishTo(0, options);
  }

  publish(topic: string, options?: PublishOptions): boolean {
    const { engine } = this.#pump;
    const number = engine.x.findTopic(engine.scratch, engine.putTopic(topic));
    // A number that there is not: nobody gets it.
    return this.#publishTo(number === 0 ? NONE : number, options);
  }

  #publishTo(topic: number, options: PublishOptions | undefined): boolean {
    checkPublish(options);
    const { binary = false, compress = true, except = 0 } = options ?? {};
    const flags = (binary ? FrameFlag.Binary : 0) | (compress ? 0 : FrameFlag.Plain);
    const slot = except % SLOT_LIMIT;
    const generation = Math.floor(except / SLOT_LIMIT);
    return this.#publish(() => this.#pump.outgoing.publishStage(flags, topic, slot, generation));
  }

  send(id: number, options?: SendOptions): boolean {
    checkId(id);
    checkSend(options);
    const flags = options?.binary ? FrameFlag.Binary : 0;
    const slot = id % SLOT_LIMIT;
    const generation = Math.floor(id / SLOT_LIMIT);
    return this.#publish(() => this.#pump.engine.x.stageSend(slot, generation, flags));
  }
}
