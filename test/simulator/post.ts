// The inbox between the application and the worker, on memory of both or on copies, and what the application has
// said through it: what becomes of that the model is told when the worker comes to it.
//
// Invariant: what was put in is carried out once, in the order in which it was put in.

import { INBOX_HEAD, INBOX_TAIL, INBOX_WORDS } from "../../assembly/abi";
import { InboxWriter, inboxMemory } from "../../host/inbox";
import { Mirror } from "../../host/mirror";
import { Op } from "../../host/wire";
import { type Host, type Inbox, SharedInbox } from "../../worker/inbox";
import { MirroredInbox } from "../../worker/mirror";
import type { VirtualClock } from "../../worker/net/memory";
import type { Pump } from "../../worker/server";
import { Line } from "./places";
import type { SimulatedSettings } from "./steps";

/** Something that was said, and what becomes of it. */
interface Intent {
  /** Position in the inbox behind its record; undefined for an operation of a handler's. */
  readonly end?: number;
  readonly op?: Op;
  carry(): void;
}

/** Operations of handlers that the model is told of. */
const TOLD = new Set<number>([Op.Send, Op.Close, Op.Subscribe, Op.Unsubscribe]);

export class Post {
  readonly inbox: SharedInbox;
  readonly writer: InboxWriter;
  readonly #intents: Intent[] = [];
  readonly #note: (error: string) => void;

  /** @param before called when the worker is about to take something out of it */
  constructor(
    pump: Pump,
    clock: VirtualClock,
    { delay, inboxBytes, copied }: SimulatedSettings,
    hooks: { before(): void; after(): void; note(error: string): void },
  ) {
    this.#note = hooks.note;
    const toWorker = new Line(clock, delay);
    const toHost = new Line(clock, delay);
    const schedule = (): void => pump.schedule();
    const transfer = (number: number, bytes: Uint8Array): void => {
      const own = new Uint8Array(bytes);
      toWorker.send(() => {
        this.inbox.give(number, own);
        schedule();
      });
    };
    const memory = copied ? new ArrayBuffer(INBOX_WORDS * 4 + inboxBytes) : inboxMemory(inboxBytes);
    this.inbox = new SharedInbox(memory, {
      room: () => toHost.send(() => this.writer.told()),
      retry: (ms) => void clock.after(ms, schedule),
    });
    let source: Inbox = this.inbox;
    if (copied) {
      const mirrored = new MirroredInbox(this.inbox, memory, (tail) => {
        toHost.send(() => {
          mirror.passed(tail);
          this.writer.told();
        });
      });
      const mirror = new Mirror(inboxBytes, (records) => {
        toWorker.send(() => {
          mirrored.give(records);
          schedule();
        });
      });
      this.writer = new InboxWriter(mirror.memory, { ring: () => mirror.ring(), transfer });
      source = mirrored;
    } else {
      this.writer = new InboxWriter(memory, { ring: () => toWorker.send(schedule), transfer });
    }
    pump.addInbox({
      drain: (to, share) => {
        hooks.before();
        const more = source.drain(to, share);
        this.#carry(this.#tail);
        hooks.after();
        return more;
      },
      rest: (more) => source.rest(more),
    });
  }

  get #tail(): number {
    return Atomics.load(this.inbox.words, INBOX_TAIL) >>> 0;
  }

  /** Nothing that the application has said is on its way. */
  get isQuiet(): boolean {
    return this.#intents.length === 0;
  }

  /** A record has been put in. @param carry is called when it has been carried out */
  record(carry: () => void): void {
    this.#intents.push({ end: (this.writer.words[INBOX_HEAD] as number) >>> 0, carry });
  }

  /** An operation of a handler's has been put in, or waits for room. */
  operation(op: Op, carry: () => void): void {
    this.#intents.push({ op, carry });
  }

  /** The records before `tail` have been carried out. */
  #carry(tail: number): void {
    for (;;) {
      const first = this.#intents[0];
      if (first?.end === undefined || first.end > tail) return;
      this.#intents.shift();
      first.carry();
    }
  }

  /** Operations on their way to what carries them out: they come in order, and none is lost. */
  over(host: Host): Host {
    return {
      carryOut: (op, slot, generation, bytes, at, length) => {
        const isTold = TOLD.has(op);
        // Within a batch the tail stands at its front until it is through: what is in front of this is done.
        this.#carry(isTold ? Number.POSITIVE_INFINITY : this.#tail);
        const next = this.#intents[0]?.op;
        if (isTold && next !== op)
          this.#note(
            `operation ${Op[op]} came, ${next === undefined ? "none" : Op[next]} was next`,
          );
        if (isTold && op !== Op.Subscribe) this.#intents.shift()?.carry();
        host.carryOut(op, slot, generation, bytes, at, length);
        // Whether there was room for it shows behind it.
        if (op === Op.Subscribe) this.#intents.shift()?.carry();
      },
    };
  }
}
