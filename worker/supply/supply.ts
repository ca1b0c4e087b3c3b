// The body of one response on its way from its source to the engine, which asks for one piece at a time.
//
// Invariant: the source is asked for bytes only when the engine has asked. It is closed once: at its end, when it
// fails, or when the connection ends. The memory of a piece is not changed or released before the engine asks for the
// next one, recalls it, or the connection has ended.

import { Outcome } from "../../assembly/abi";
import type { PieceSource } from "../../host/shared/request/pieces";
import { isThenable, whenSettled } from "../../host/shared/result";
import { show } from "../../host/shared/text/show";
import type { Slot } from "../engine/calls";
import type { SuppliedBody } from "../engine/loop";
import type { ReadSource } from "./source";

/** The part of the loop that a supply calls. */
export interface SupplyLoop {
  give(slot: Slot, length: number, held: number, keeps: 0 | 1): Outcome;
  keepRoom(slot: Slot, bytes: number): void;
  streamWrite(slot: Slot, bytes: Uint8Array): Outcome;
  /** Calls `give` of the supply before the next pieces are written. */
  awaitPass(supply: SuppliedBody): void;
}

type Closable = Pick<PieceSource, "close" | "failsLate">;

const NOTHING = new Uint8Array(0);

/** Checks the result of a source. @throws TypeError */
export function checkBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`body: its source has ${show(value)}, not a Uint8Array`);
}

export abstract class Supply implements SuppliedBody {
  piece: Uint8Array = NOTHING;
  protected readonly loop: SupplyLoop;
  protected readonly slot: Slot;
  readonly #source: Closable;
  /** Bytes of the piece that the engine has asked for; 0: it has asked for none. */
  protected wanted: number;
  /** True while a call of the source is pending. */
  protected isPending = false;
  #isClosed = false;
  #ended: ((isWhole: boolean) => void) | undefined;
  #failed: ((thrown: unknown) => void) | undefined;

  /** @param wanted size of the first piece in bytes; 0: `want` follows */
  constructor(loop: SupplyLoop, slot: Slot, source: Closable, wanted: number) {
    this.loop = loop;
    this.slot = slot;
    this.#source = source;
    this.wanted = wanted;
  }

  /**
   * Supplies the body. One of two functions is called once, maybe before it returns.
   * @param ended called with true when all bytes have left and the response may end, with false when the connection has
   * ended first
   * @param failed called with the error of the source
   */
  run(ended: (isWhole: boolean) => void, failed: (thrown: unknown) => void): void {
    this.#ended = ended;
    this.#failed = failed;
    if (this.wanted > 0) this.fill();
  }

  #end(isWhole: boolean): void {
    const ended = this.#ended;
    this.#ended = undefined;
    this.#failed = undefined;
    ended?.(isWhole);
  }

  /** Takes the next bytes of the source, when a piece is wanted. */
  protected abstract fill(): void;

  want(bytes: number): void {
    this.piece = NOTHING;
    this.wanted = bytes;
    if (!this.#isClosed && !this.isPending) this.fill();
  }

  recall(_bytes: number): void {
    this.piece = NOTHING;
  }

  give(): void {}

  /** True when nothing more is to be asked of the source. */
  protected get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Gives a piece.
   * @param held bytes of memory that it takes
   * @param keeps 1: the next piece is in that memory, too
   */
  protected hand(bytes: Uint8Array, held: number, keeps: 0 | 1): void {
    this.wanted = 0;
    this.piece = bytes;
    const outcome = this.loop.give(this.slot, bytes.length, held, keeps);
    if (outcome !== Outcome.Ok) this.piece = NOTHING;
    if (outcome === Outcome.TooLarge) this.refuseLong();
  }

  /** Ends the body, because the source has more bytes than the response states. */
  protected refuseLong(): void {
    this.fail(new RangeError("body: its source has more bytes than its Content-Length"));
  }

  /** Calls the source, and `take` with its result. */
  protected ask(call: () => unknown, take: (result: unknown) => void): void {
    const took = (result: unknown): void => {
      this.isPending = false;
      if (this.#isClosed) {
        this.#end(false);
        return;
      }
      try {
        take(result);
      } catch (thrown) {
        this.fail(thrown);
      }
    };
    let result: unknown;
    try {
      result = call();
    } catch (thrown) {
      this.fail(thrown);
      return;
    }
    if (!isThenable(result)) {
      took(result);
      return;
    }
    this.isPending = true;
    whenSettled(result, took, (thrown) => {
      this.isPending = false;
      // A source may fail because it was closed.
      if (this.#isClosed && !this.#source.failsLate) this.#end(false);
      else this.fail(thrown);
    });
  }

  /** Ends the body, all of whose bytes have left. */
  protected end(): void {
    this.#closeSource();
    this.#end(true);
  }

  /** Ends the body with an error. */
  protected fail(thrown: unknown): void {
    this.#closeSource();
    const failed = this.#failed;
    this.#ended = undefined;
    this.#failed = undefined;
    failed?.(thrown);
  }

  #closeSource(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#source.close();
  }

  /** Ends the supply, because the connection has ended. */
  close(): void {
    this.piece = NOTHING;
    this.#closeSource();
    if (!this.isPending) this.#end(false);
  }
}

/** Supplies a body of a known length that can be read again. */
export class ReadSupply extends Supply {
  readonly #from: ReadSource;
  /** Offset of the next byte to read. */
  #offset = 0;

  constructor(loop: SupplyLoop, slot: Slot, source: ReadSource, wanted: number) {
    super(loop, slot, source, wanted);
    this.#from = source;
  }

  protected override fill(): void {
    const { size } = this.#from;
    const start = this.#offset;
    if (start === size) {
      this.end();
      return;
    }
    const end = Math.min(size, start + this.wanted);
    this.ask(
      () => this.#from.read(start, end),
      (result) => this.#take(checkBytes(result), end - start),
    );
  }

  #take(bytes: Uint8Array, most: number): void {
    const { length } = bytes;
    if (length === 0)
      throw new RangeError(`body: its source ends at ${this.#offset} of ${this.#from.size} bytes`);
    if (length > most)
      throw new RangeError(`body: its source has ${length} bytes where ${most} were asked for`);
    this.#offset += length;
    this.hand(bytes, length, 0);
  }

  override recall(bytes: number): void {
    super.recall(bytes);
    // mutant supply-rewind: ;
    this.#offset -= bytes;
  }
}
