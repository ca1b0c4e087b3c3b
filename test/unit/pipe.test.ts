// A pipe between a connection and an upstream: the order of bytes and ends, backpressure, and each way to end, with a
// link, an engine and an upstream that note all calls.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Outcome, Piping, Shut } from "../../assembly/abi";
import type { EngineLoop } from "../../worker/engine/loop";
import type { Upstream } from "../../worker/net/transport";
import { Pipe } from "../../worker/pipe/pipe";
import type { Peer } from "../../worker/socket/peer";

const pipes = suite("pipe");

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const text = (view: Uint8Array): string => Buffer.from(view).toString();

/** A pipe whose surroundings note each call. */
class Bench {
  readonly log: string[] = [];
  readonly failures: (string | undefined)[] = [];
  readonly peer: { pipe: Pipe | undefined; unparsed: number; readonly link: unknown };
  readonly pipe: Pipe;
  /** Writes complete on return. */
  isFast = true;
  outcome = Outcome.Ok;

  constructor(first = "") {
    const { log } = this;
    const loop = {
      engine: { param: () => 8 },
      piping: (_: unknown, report: Piping) => void log.push(Piping[report] as string),
      pour: () => this.outcome,
      done: () => void log.push("done"),
      finish: (_: unknown, reason: CloseReason) => void log.push(`finish ${CloseReason[reason]}`),
    };
    const link = {
      write: (view: Uint8Array) => {
        log.push(`client < ${text(view)}`);
        return this.isFast;
      },
      end: () => void log.push("client < end"),
    };
    this.peer = { pipe: undefined, unparsed: 3, link };
    const owner = {
      depth: 0,
      loop: loop as unknown as EngineLoop<Peer>,
      setReading: () => undefined,
      terminate: (_: unknown, reason: CloseReason) => {
        log.push(`terminate ${CloseReason[reason]}`);
        this.pipe.close(Shut.Reset, reason);
        return true;
      },
    };
    const failed = (error: Error | undefined): void => void this.failures.push(error?.message);
    this.pipe = new Pipe(owner, this.peer as unknown as Peer, bytes(first), failed);
    this.peer.pipe = this.pipe;
    const upstream: Upstream = {
      write: (view) => {
        log.push(`upstream < ${text(view)}`);
        return this.isFast;
      },
      end: () => void log.push("upstream < end"),
      pause: () => void log.push("pause"),
      resume: () => void log.push("resume"),
      destroy: () => void log.push("destroy"),
      reset: () => void log.push("reset"),
    };
    this.pipe.connect(() => upstream);
  }

  /** Returns the calls since the last time. */
  take(): string[] {
    return this.log.splice(0);
  }
}

/** Returns a pipe whose upstream is open. */
function open(first = ""): Bench {
  const bench = new Bench(first);
  bench.pipe.opened();
  bench.take();
  return bench;
}

pipes("bytes that arrive before the upstream is open are written when it is, in order", () => {
  const bench = new Bench("first ");
  assert.ok(bench.pipe.isFull);
  bench.pipe.take(bytes("second"));
  bench.pipe.endClient();
  assert.equal(bench.take(), []);
  assert.equal(bench.pipe.held, { forward: 12, back: 0 });
  bench.pipe.opened();
  assert.equal(bench.take(), ["Opened", "upstream < first second", "upstream < end"]);
  assert.not(bench.pipe.isFull);
});

pipes("without first bytes nothing is written", () => {
  const bench = new Bench();
  bench.pipe.opened();
  assert.equal(bench.take(), ["Opened"]);
});

pipes(
  "one write to the upstream is outstanding, and reads that come meanwhile keep their order",
  () => {
    const bench = open();
    bench.isFast = false;
    bench.pipe.take(bytes("a"));
    assert.ok(bench.pipe.isFull);
    bench.pipe.take(bytes("b"));
    bench.pipe.take(bytes("c"));
    bench.pipe.endClient();
    assert.equal(bench.take(), ["upstream < a", "Waits"]);
    bench.pipe.written();
    assert.equal(bench.take(), ["Moved", "upstream < bc", "Waits"]);
    bench.pipe.written();
    assert.equal(bench.take(), ["Moved", "upstream < end"]);
  },
);

pipes("one write to the client is outstanding, and the upstream is not read meanwhile", () => {
  const bench = open();
  bench.isFast = false;
  bench.pipe.received(bytes("0123456789"));
  assert.equal(bench.take(), ["client < 01234567", "pause"]);
  bench.isFast = true;
  bench.pipe.wrote();
  assert.equal(bench.take(), ["client < 89", "done", "resume"]);
});

pipes("bytes for the client wait for the responses before them", () => {
  const bench = open();
  bench.outcome = Outcome.Full;
  bench.pipe.received(bytes("a"));
  bench.pipe.ended();
  bench.pipe.wrote();
  assert.equal(bench.take(), ["pause"]);
  bench.outcome = Outcome.Ok;
  bench.pipe.drain();
  assert.equal(bench.take(), ["client < a", "done", "client < end"]);
});

pipes("each side's end is passed on once, after its bytes, and then the connection ends", () => {
  for (const isClientFirst of [true, false]) {
    const bench = open();
    const ends = [() => bench.pipe.endClient(), () => bench.pipe.ended()];
    if (!isClientFirst) ends.reverse();
    ends[0]?.();
    assert.equal(bench.take(), [isClientFirst ? "upstream < end" : "client < end"]);
    assert.not(bench.pipe.isClosing);
    // The other direction is still open.
    if (isClientFirst) bench.pipe.received(bytes("x"));
    else bench.pipe.take(bytes("x"));
    assert.equal(bench.take().slice(0, 1), [isClientFirst ? "client < x" : "upstream < x"]);
    ends[1]?.();
    const end = isClientFirst ? "client < end" : "upstream < end";
    assert.equal(bench.take(), [end, "destroy", "finish Ok"]);
    assert.is(bench.peer.pipe, undefined);
    assert.is(bench.peer.unparsed, 0);
    ends[0]?.();
    assert.equal(bench.take(), []);
  }
});

pipes("the connection ends when the last write in each direction is complete", () => {
  const bench = open();
  bench.isFast = false;
  bench.pipe.take(bytes("a"));
  bench.pipe.received(bytes("b"));
  bench.pipe.endClient();
  bench.pipe.ended();
  assert.equal(bench.take(), ["upstream < a", "Waits", "client < b", "pause"]);
  bench.pipe.wrote();
  assert.equal(bench.take(), ["client < end"]);
  assert.ok(bench.pipe.isClosing, "the link may close now");
  bench.pipe.written();
  assert.equal(bench.take(), ["Moved", "upstream < end", "destroy", "finish Ok"]);
});

pipes("an upstream that refuses is reported, and ends the connection in order", () => {
  const bench = new Bench("a");
  bench.pipe.lost(new Error("ECONNREFUSED"));
  assert.equal(bench.take(), ["destroy", "finish UpstreamFailed"]);
  assert.equal(bench.failures, ["ECONNREFUSED"]);
  bench.pipe.lost(new Error("again"));
  bench.pipe.opened();
  assert.equal(bench.take(), []);
  assert.is(bench.failures.length, 1);
});

pipes("an upstream that resets ends the connection with a reset", () => {
  for (const error of [new Error("ECONNRESET"), undefined]) {
    const bench = open();
    bench.pipe.lost(error);
    assert.equal(bench.take(), ["terminate UpstreamReset", "reset"]);
    assert.equal(bench.failures, []);
  }
});

pipes("an upstream that takes no more after its end: the client gets its last bytes first", () => {
  const bench = open();
  bench.isFast = false;
  bench.pipe.received(bytes("last"));
  bench.pipe.ended();
  bench.pipe.take(bytes("a"));
  bench.pipe.take(bytes("b"));
  assert.equal(bench.take(), ["client < last", "pause", "upstream < a", "Waits"]);
  bench.pipe.lost(new Error("EPIPE"));
  assert.not(bench.pipe.isFull, "its bytes are read, and dropped");
  bench.pipe.take(bytes("dropped"));
  assert.equal(bench.take(), ["Moved"]);
  bench.pipe.wrote();
  assert.equal(bench.take(), ["client < end", "destroy", "finish UpstreamReset"]);
});

pipes("an upstream that closes after both ends changes nothing", () => {
  const bench = open();
  bench.pipe.endClient();
  bench.isFast = false;
  bench.pipe.received(bytes("b"));
  bench.pipe.ended();
  bench.pipe.lost(undefined);
  assert.equal(bench.take(), ["upstream < end", "client < b", "pause"]);
  bench.pipe.wrote();
  assert.equal(bench.take(), ["client < end", "destroy", "finish Ok"]);
});

pipes("when the engine ends the connection, the upstream is closed like its link, once", () => {
  for (const [how, reason, call] of [
    [Shut.Reset, CloseReason.WriteTimeout, "reset"],
    [Shut.Destroy, CloseReason.IdleTimeout, "destroy"],
    // The link of a client that is lost is closed already.
    [Shut.Destroy, CloseReason.PeerReset, "reset"],
    [Shut.Destroy, CloseReason.NetworkError, "reset"],
  ] as const) {
    const bench = open("a");
    bench.pipe.close(how, reason);
    bench.pipe.close(Shut.Reset, CloseReason.PeerReset);
    assert.equal(bench.take(), [call]);
    bench.pipe.opened();
    bench.pipe.received(bytes("x"));
    bench.pipe.written();
    bench.pipe.ended();
    bench.pipe.lost(undefined);
    bench.pipe.take(bytes("x"));
    bench.pipe.wrote();
    assert.equal(bench.take(), []);
    assert.equal(bench.failures, []);
  }
});

pipes("an upstream that does not answer in time is reported", () => {
  const bench = new Bench();
  bench.pipe.close(Shut.Destroy, CloseReason.UpstreamTimeout);
  assert.equal(bench.take(), ["destroy"]);
  assert.equal(bench.failures, [undefined]);
});

pipes.run();
