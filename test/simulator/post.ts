// The inbox between the application and the worker, on memory of both or on copies.
//
// Invariant: as with the real threads, the messages of one side reach the other later, in order.

import { INBOX_HEAD, INBOX_TAIL, INBOX_WORDS } from "../../assembly/abi";
import { InboxWriter, inboxMemory } from "../../host/send/inbox-writer";
import { Mirror } from "../../host/send/mirror-writer";
import { SharedInbox } from "../../worker/inbox/inbox-reader";
import { MirroredInbox } from "../../worker/inbox/mirror-reader";
import type { VirtualClock } from "../../worker/net/memory";
import type { Inbox, Pump } from "../../worker/pump/pump";
import type { Line } from "./places";
import type { Settings } from "./steps";

export class Post {
  readonly inbox: SharedInbox;
  readonly writer: InboxWriter;
  /** Takes what the worker reports of clients' queues. */
  onCredit: (report: Float64Array) => void = () => undefined;

  /** @param line makes a way for messages between the threads */
  constructor(pump: Pump, clock: VirtualClock, { inboxBytes, copied }: Settings, line: () => Line) {
    const toWorker = line();
    const toHost = line();
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
      room: () => toHost.send(() => this.writer.notify()),
      credit: (report) => toHost.send(() => this.onCredit(report)),
      retry: (ms) => void clock.after(ms, schedule),
    });
    let source: Inbox = this.inbox;
    if (copied) {
      const mirrored = new MirroredInbox(this.inbox, memory, (tail) => {
        toHost.send(() => {
          mirror.passed(tail);
          this.writer.notify();
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
    pump.addInbox(source);
  }

  /** The worker has carried out all that was written. */
  get isQuiet(): boolean {
    const tail = Atomics.load(this.inbox.words, INBOX_TAIL) >>> 0;
    return (this.writer.words[INBOX_HEAD] as number) >>> 0 === tail;
  }
}
