// When the pump does what: one turn at the end of each turn of the event loop, passes that leave each other room, one
// timer for all deadlines, and connections that yield when a turn is late.
//
// Invariant: a turn that is scheduled comes, by the clock's `defer`; one that is overdue comes between two reads. A
// connection that has had its share of a late turn is not read until the loop has come round.

import { Control } from "../../assembly/abi";
import type { EngineLoop, LoopHooks } from "../engine/loop";
import type { Clock } from "../net/transport";
import type { Peer } from "../socket/peer";

/**
 * The part of a pass's time for which what is published afterwards waits. A pass takes the longer the more
 * clients there are, however little each gets; under saturation, and only then, the messages of several turns
 * share a pass that way.
 */
const PASS_SPACING = 1 / 8;
/** ms: what a few writes take. */
const SPACING_MIN_MILLIS = 0.05;
/** ms: for less the loop is gone round, a timer would be late. */
const TIMER_MIN_MILLIS = 2;
/** ms that a turn may be due: a loop that has much to read comes round late, then a turn comes between two reads. */
const TURN_MILLIS = 5;
/** ms without a turn after which no deadline passes until the loop has looked at its sockets. */
const STILL_MILLIS = 100;
/** Time slice (ms) per connection while the event loop is late: there may be many of them. */
const LATE_MILLIS = 0.25;
/** Of so many requests of a connection one looks at the clock, less one: a small answer costs little more than that. */
const ROUNDS_MASK = 3;
/** Bytes of a read by which a connection has taken its share of a loop that is late. */
const SHARE_BYTES = 4096;

/** What a turn does beside what the loop does. */
export interface Turn {
  readonly loop: EngineLoop<Peer>;
  /** Calls of the clock's that are running. */
  depth: number;
  /** A turn begins. @param now ms */
  began(now: number): void;
  /** Tells the handler what is to be told. */
  runLater(): void;
  /** @returns true when there is more */
  drainInboxes(): boolean;
  /** All is handed over. */
  turned(): void;
  /** Deadlines have passed. */
  ticked(): void;
  /** The turn is over. @param more another follows at once */
  rest(more: boolean): void;
  setReading(peer: Peer): void;
  /** Goes on with a connection in the next turn. */
  awaitTurn(peer: Peer): void;
}

export class Schedule implements LoopHooks<Peer> {
  readonly #turnOf: Turn;
  readonly #clock: Clock;
  /** ms between flush passes, 0: each turn has one. */
  flushInterval: number;
  #isScheduled = false;
  /** The pass that is running: when it began. */
  #passBegins = 0;
  /** The last pass that handed over what was published: when it began, and until when the next one waits. */
  #passBegan = Number.NEGATIVE_INFINITY;
  #spacedUntil = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;
  /** When it was last looked at the time for deadlines, and turns that are to come before they pass. */
  #tickedAt = Number.NEGATIVE_INFINITY;
  #turnsToTick = 0;
  #tickAt = Number.POSITIVE_INFINITY;
  /** Since when a turn is due; since when the loop has been about what comes before it. */
  #dueSince = 0;
  #loopSince = 0;
  /** Connections that are not read until it is their turn. */
  readonly #yielding: Peer[] = [];
  /** The slice of the connection that is being parsed: its end, and the rounds it has had. */
  #sliceUntil = 0;
  #rounds = 0;

  constructor(turn: Turn, clock: Clock, flushInterval: number) {
    this.#turnOf = turn;
    this.#clock = clock;
    this.flushInterval = flushInterval;
  }

  now(): number {
    return this.#clock.now();
  }

  date(): number {
    return this.#clock.date();
  }

  /** Makes a turn follow. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#dueSince = this.#clock.now();
    this.#loopSince = this.#dueSince;
    this.#clock.defer(this.#turn);
  }

  /** The next turn comes before another read. */
  hurry(): void {
    this.schedule();
    this.#dueSince = Number.NEGATIVE_INFINITY;
  }

  readonly #turn = (): void => {
    this.#turnOf.depth++;
    this.#isScheduled = false;
    // However long turns take: then it has.
    if (this.#turnsToTick > 0 && --this.#turnsToTick === 0)
      this.#tickedAt = Number.POSITIVE_INFINITY;
    this.#goRound("in turn");
    if (this.#yielding.length > 0) this.#readNext();
    this.#turnOf.depth--;
  };

  /** What a turn has to do; between reads those that were held wait for one of their own. */
  #goRound(when: "in turn" | "between reads"): void {
    const turn = this.#turnOf;
    const { loop } = turn;
    loop.time();
    this.#dueSince = loop.engine.get(Control.Now);
    turn.began(this.#dueSince);
    turn.runLater();
    let more = turn.drainInboxes();
    if (when === "in turn" && loop.hasResumes) {
      loop.resumeAll();
      // What was published meanwhile is not to wait for as long again.
      if (this.isOverdue()) more = turn.drainInboxes();
    }
    this.#tick();
    loop.handleEvents();
    this.#flushWhenDue();
    loop.handleEvents();
    turn.runLater();
    turn.turned();
    this.#arm();
    turn.rest(more);
    if (more || loop.hasResumes) this.schedule();
  }

  // ---- late turns --------------------------------------------------------------------------------------

  /** True when this turn, or the next, is later than it may be. */
  isOverdue(): boolean {
    return this.#turnOf.loop.engine.get(Control.Now) - this.#dueSince > TURN_MILLIS;
  }

  /**
   * A connection has been read. A turn that is overdue comes now. A connection that has taken much of the time is read
   * again when it is its turn, one after the other, each time the loop has come round: else each of many would be read
   * for as long as it sends, before anybody else is.
   * @param n bytes that were read
   */
  afterRead(peer: Peer, n: number): void {
    this.schedule();
    if (!this.isOverdue()) return;
    if (n >= SHARE_BYTES && !peer.dead && !peer.yields) {
      peer.yields = true;
      this.#yielding.push(peer);
      this.#turnOf.setReading(peer);
    }
    this.#goRound("between reads");
  }

  /** The loop has come round: the next of those that wait for it is read. */
  #readNext(): void {
    const peer = this.#yielding.shift();
    if (peer) {
      peer.yields = false;
      this.#turnOf.setReading(peer);
    }
    if (this.#yielding.length > 0) this.schedule();
  }

  beginSlice(fed: number): void {
    const began = this.#turnOf.loop.engine.get(Control.Now);
    const isLate = fed > 0 && this.#isScheduled && began - this.#loopSince > TURN_MILLIS;
    this.#sliceUntil = began + (isLate ? LATE_MILLIS : TURN_MILLIS);
    this.#rounds = 0;
  }

  /** What a connection sent may be little to read, and much to do: the others come in between. */
  isSliceOver(peer: Peer): boolean {
    // Messages come by the hundred.
    const isLook = peer.ws !== undefined || (++this.#rounds & ROUNDS_MASK) === 0;
    if (!isLook || peer.isHeld || this.#clock.now() <= this.#sliceUntil) return false;
    this.#turnOf.awaitTurn(peer);
    return true;
  }

  parsed(peer: Peer): void {
    this.#turnOf.setReading(peer);
  }

  isStopped(): boolean {
    return false;
  }

  goOn(peer: Peer): void {
    this.#turnOf.loop.resume(peer);
  }

  threw(thrown: unknown): void {
    throw thrown;
  }

  // ---- passes ------------------------------------------------------------------------------------------

  /** What was published waits until the pass before is far enough back; answers do not. */
  #flushWhenDue(): void {
    const { loop } = this.#turnOf;
    const due = Math.max(this.#passBegan + this.flushInterval, this.#spacedUntil);
    const wait = due - this.#clock.now();
    loop.flush(wait > 0);
    if (loop.engine.get(Control.Withheld) === 0) return;
    if (due === this.#spacedUntil && wait < TIMER_MIN_MILLIS) {
      this.schedule();
      return;
    }
    this.#cancelFlush ??= this.#clock.after(wait, () => {
      this.#cancelFlush = undefined;
      this.schedule();
    });
  }

  beginPass(): void {
    this.#passBegins = this.#clock.now();
  }

  endPass(handed: number): void {
    if (handed === 0 || this.#turnOf.loop.engine.get(Control.Withheld) !== 0) return;
    const ended = this.#clock.now();
    const spent = ended - this.#passBegins;
    // A clock that stands still has no part of a pass's time.
    const spacing = spent === 0 ? 0 : Math.max(spent * PASS_SPACING, SPACING_MIN_MILLIS);
    this.#passBegan = this.#passBegins;
    this.#spacedUntil = ended + spacing;
  }

  // ---- deadlines ---------------------------------------------------------------------------------------

  /**
   * Lets deadlines pass. Where user code, or the machine, held the loop up, not yet: what clients have sent meanwhile
   * is in the kernel, and is read between this turn and the next.
   * @returns ms to the next deadline; −1: there is none
   */
  #tick(): number {
    const { loop } = this.#turnOf;
    const now = loop.engine.get(Control.Now);
    if (now - this.#tickedAt > STILL_MILLIS) this.#turnsToTick = 2;
    this.#tickedAt = now;
    if (this.#turnsToTick === 0) return loop.tick();
    this.schedule();
    return -1;
  }

  /** One timer for all deadlines, none when there are none. */
  #arm(): void {
    const next = this.#tick();
    this.#turnOf.ticked();
    // The turn that comes arms it.
    if (this.#turnsToTick > 0) return;
    const { loop } = this.#turnOf;
    if (loop.engine.eventCount > 0) {
      loop.handleEvents();
      this.schedule();
    }
    const at = next < 0 ? Number.POSITIVE_INFINITY : this.#clock.now() + next;
    if (Math.abs(at - this.#tickAt) < 1) return;
    if (at > this.#tickAt && this.#cancelTick) return;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#tickAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.#cancelTick = this.#clock.after(Math.max(1, Math.ceil(next)), () => {
      this.#cancelTick = undefined;
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.schedule();
    });
  }

  /** Cancels the timers. */
  stop(): void {
    this.#cancelTick?.();
    this.#cancelFlush?.();
  }
}
