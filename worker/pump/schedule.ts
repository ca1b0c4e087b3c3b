// Decides when the pump acts: one turn at the end of each turn of the event loop, spacing between passes, one timer for
// all deadlines, and connections that yield when a turn is late.
//
// Invariant: a scheduled turn is run by the clock's `defer`; an overdue turn is run between two reads. A connection
// that has used its share of a late turn is not read until the event loop has completed a round. A deadline passes only
// when the event loop has polled its sockets after it, so bytes that a client sent in time are handled however late the
// loop is.

import { Control } from "../../assembly/abi";
import type { OptionValues } from "../../host/options/table";
import type { EngineLoop, LoopHooks } from "../engine/loop";
import type { Clock } from "../net/transport";
import type { Peer } from "../socket/peer";

/**
 * The share of a pass's time for which later publications wait. A pass takes longer the more clients there are, however
 * little each gets. Under saturation, and only then, this makes the messages of several turns share a pass.
 */
const PASS_SPACING = 1 / 8;
/** Least spacing (ms): the time that a few writes take. */
const SPACING_MIN_MILLIS = 0.05;
/** Waits (ms) below this are spent by another round of the event loop, because a timer would fire late. */
const TIMER_MIN_MILLIS = 2;
/**
 * Time (ms) that a turn may be due. An event loop with much to read takes longer; then a turn is run between two reads.
 */
const TURN_MILLIS = 5;
/**
 * The same (ms) while connections are being accepted. libuv accepts one connection in each round of the event loop, so
 * the last of many waits for as many rounds.
 */
const ACCEPT_MILLIS = 1;
/** Time (ms) without a turn after which no deadline passes until the event loop has polled its sockets. */
const STILL_MILLIS = 100;
/** Time slice (ms) for each connection while the event loop is late, because there may be many connections. */
const LATE_MILLIS = 0.25;
/**
 * Mask: every fourth request of a connection reads the clock, because a small response costs little more than a
 * reading.
 */
const ROUNDS_MASK = 3;
/** Bytes of one read by which a connection has used its share of a late event loop. */
const SHARE_BYTES = 4096;

/** The work of a turn in addition to the loop's. */
export interface Turn {
  readonly loop: EngineLoop<Peer>;
  readonly values: Readonly<OptionValues>;
  /** Number of the clock's calls that are running. */
  depth: number;
  /** Called when a turn begins. @param now ms */
  began(now: number): void;
  /** Makes the deferred calls of the handler. */
  runLater(): void;
  /** Inflates the share of large messages that one turn may. */
  inflate(): void;
  /** Drains the inboxes. @returns true when there is more */
  drainInboxes(): boolean;
  /** Called when all rows have been written. */
  turned(): void;
  /** Called when deadlines have been checked. */
  ticked(): void;
  /** Called at the end of the turn. @param more another follows at once */
  endTurn(more: boolean): void;
  setReading(peer: Peer): void;
  /** Continues a connection in the next turn. */
  awaitTurn(peer: Peer): void;
}

export class Schedule implements LoopHooks<Peer> {
  readonly #turnOf: Turn;
  readonly #clock: Clock;
  #isScheduled = false;
  /** Time (ms) at which the running pass began. */
  #passBegins = 0;
  /** Time at which the last pass that wrote publications began, and time until which the next one waits. */
  #passBegan = Number.NEGATIVE_INFINITY;
  #spacedUntil = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;
  /** Time at which deadlines were last due to be checked, and turns to run before they are checked. */
  #tickedAt = Number.NEGATIVE_INFINITY;
  #turnsToTick = 0;
  /** Time (ms) at which the timer of deadlines last fired, and time up to which deadlines may pass. */
  #firedAt = Number.NEGATIVE_INFINITY;
  #tickUntil = Number.NEGATIVE_INFINITY;
  #tickAt = Number.POSITIVE_INFINITY;
  /** Time since when a turn has been due, and time since when the event loop has been busy before it. */
  #dueSince = 0;
  #loopSince = 0;
  /** Time (ms) that a turn may be due now, and whether a connection was accepted since the last turn. */
  #turnMillis = TURN_MILLIS;
  #accepted = false;
  /** Connections that are not read until their turn. */
  readonly #yielding: Peer[] = [];
  /** The slice of the connection that is being parsed: its end, and its requests so far. */
  #sliceUntil = 0;
  #rounds = 0;

  constructor(turn: Turn, clock: Clock) {
    this.#turnOf = turn;
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  date(): number {
    return this.#clock.date();
  }

  /** Schedules a turn. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#dueSince = this.#clock.now();
    this.#loopSince = this.#dueSince;
    this.#clock.defer(this.#turn);
  }

  /** Notes that a connection was accepted: others may wait after it. */
  accepted(): void {
    this.#accepted = true;
  }

  /** Runs the turn that is scheduled before another read. */
  hurry(): void {
    this.#dueSince = Number.NEGATIVE_INFINITY;
  }

  readonly #turn = (): void => {
    this.#turnOf.depth++;
    this.#isScheduled = false;
    // Since the timer fired the event loop has polled its sockets.
    this.#tickUntil = this.#firedAt;
    // The delay counts turns, however long they take. When it ends, deadlines are checked.
    if (this.#turnsToTick > 0 && --this.#turnsToTick === 0)
      this.#tickedAt = Number.POSITIVE_INFINITY;
    this.#goRound("in turn");
    if (this.#yielding.length > 0) this.#readNext();
    this.#turnMillis = this.#accepted ? ACCEPT_MILLIS : TURN_MILLIS;
    this.#accepted = false;
    this.#turnOf.depth--;
  };

  /** Does the work of a turn. Between reads, held connections wait for a turn of their own. */
  #goRound(when: "in turn" | "between reads"): void {
    const turn = this.#turnOf;
    const { loop } = turn;
    loop.time();
    this.#dueSince = loop.engine.get(Control.Now);
    turn.began(this.#dueSince);
    turn.runLater();
    let more = turn.drainInboxes();
    if (when === "in turn") turn.inflate();
    if (when === "in turn" && loop.hasResumes) {
      loop.resumeAll();
      // Messages published meanwhile must not wait as long again.
      if (this.isOverdue()) more = turn.drainInboxes();
    }
    this.#tick();
    loop.handleEvents();
    this.#flushWhenDue();
    // Supplied bodies are last. While the event loop is late they do not delay its reads.
    if (when === "in turn" && loop.flushPieces()) this.schedule();
    loop.handleEvents();
    turn.runLater();
    turn.turned();
    this.#arm();
    turn.endTurn(more);
    if (more || loop.hasResumes) this.schedule();
  }

  // ---- late turns --------------------------------------------------------------------------------------

  /** True when this turn, or the next one, is overdue. */
  isOverdue(): boolean {
    return this.#turnOf.loop.engine.get(Control.Now) - this.#dueSince > this.#turnMillis;
  }

  /** True when the event loop has been busy for long since the last turn, whatever was done between its reads. */
  #isLoopLate(): boolean {
    return this.#turnOf.loop.engine.get(Control.Now) - this.#loopSince > this.#turnMillis;
  }

  /**
   * Handles a completed read. An overdue turn is run now. A connection that has sent much is read again when it is its
   * turn, one connection for each round of the event loop. Otherwise each of many would be read as long as it sends,
   * before any other is.
   * @param n bytes that were read
   */
  afterRead(peer: Peer, n: number): void {
    this.schedule();
    if (n >= SHARE_BYTES && this.#isLoopLate() && !peer.dead && !peer.yields) {
      peer.yields = true;
      this.#yielding.push(peer);
      this.#turnOf.setReading(peer);
    }
    if (!this.isOverdue()) return;
    this.#goRound("between reads");
  }

  /** Reads the next waiting connection, after the event loop has completed a round. */
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
    const isLate = fed > 0 && this.#isScheduled && this.#isLoopLate();
    this.#sliceUntil = began + (isLate ? LATE_MILLIS : this.#turnMillis);
    this.#rounds = 0;
  }

  /**
   * Returns true when a connection has used its slice. Few bytes may cause much work, and then other connections are
   * served in between.
   */
  isSliceOver(peer: Peer): boolean {
    // Messages arrive by the hundred, so each one reads the clock.
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

  /** Flushes. Publications wait until the previous pass is long enough ago; responses do not wait. */
  #flushWhenDue(): void {
    const { loop, values } = this.#turnOf;
    const due = Math.max(this.#passBegan + values.flushInterval, this.#spacedUntil);
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
    // A pass of a clock that does not advance takes no time, so it needs no spacing.
    const spacing = spent === 0 ? 0 : Math.max(spent * PASS_SPACING, SPACING_MIN_MILLIS);
    this.#passBegan = this.#passBegins;
    this.#spacedUntil = ended + spacing;
  }

  // ---- deadlines ---------------------------------------------------------------------------------------

  /**
   * Checks deadlines. When user code or the machine blocked the event loop, the check is put off, because bytes that
   * clients have sent meanwhile are in the kernel and are read between this turn and the next.
   * @returns ms to the next deadline; −1: there is none
   */
  #tick(): number {
    const { loop } = this.#turnOf;
    const now = loop.engine.get(Control.Now);
    if (now - this.#tickedAt > STILL_MILLIS) this.#turnsToTick = 2;
    this.#tickedAt = now;
    // mutant tick-unpolled (clock): if (this.#turnsToTick === 0) return loop.tick();
    if (this.#turnsToTick === 0) return loop.tick(this.#tickUntil);
    this.schedule();
    return -1;
  }

  /** Sets one timer for all deadlines, or none when there are none. */
  #arm(): void {
    const next = this.#tick();
    this.#turnOf.ticked();
    // The scheduled turn sets it.
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
      this.#firedAt = this.#clock.now();
      this.schedule();
    });
  }

  /** Cancels the timers. */
  stop(): void {
    this.#cancelTick?.();
    this.#cancelFlush?.();
  }
}
