// A driver and the ends of its wires, in a test: the bytes written, and the events reported.

import { checkEngine } from "./check";
import type { CloseInfo, Request } from "../../host/handler";
import { type DriverEvents, EngineDriver } from "../../worker/embed/driver";
import type { Engine, EngineParams } from "../../worker/engine/engine";
import type { Wire } from "../../worker/embed/connection";
import { testEngine } from "./wasm";

/** One wire's end of a pipe. */
export class End {
  readonly out: Uint8Array[] = [];
  readonly log: string[] = [];
  readonly asked: Request[] = [];
  /** Writes are held until `release`. */
  isStalled = false;
  held: Uint8Array | undefined;
  shut: "" | "reset" | "close" = "";
  hasEnded = false;
  info: CloseInfo | undefined;

  get bytes(): Uint8Array {
    return Buffer.concat(this.out);
  }

  get text(): string {
    return Buffer.from(this.bytes).toString("latin1");
  }

  take(): Uint8Array {
    const { bytes } = this;
    this.out.length = 0;
    return bytes;
  }
}

export type Piped = Wire<End>;

export class Pipe {
  now = 1000;
  readonly engine: Engine;
  readonly driver: EngineDriver<End>;

  constructor(params: EngineParams = {}, more: Partial<DriverEvents<End>> = {}) {
    this.engine = testEngine(params);
    this.driver = new EngineDriver<End>(
      this.engine,
      {
        write(wire, bytes) {
          const end = wire.user as End;
          if (end.isStalled) {
            end.held = bytes;
            return false;
          }
          end.out.push(new Uint8Array(bytes));
          return true;
        },
        shut(wire, how) {
          (wire.user as End).shut = how;
          (wire.user as End).held = undefined;
        },
        end(wire) {
          (wire.user as End).hasEnded = true;
        },
        closed(wire, info) {
          (wire.user as End).info = info;
        },
        request(wire, request) {
          if (request.upgrade) wire.upgrade();
          else wire.respond(200);
        },
        ...more,
      },
      { now: () => this.now, date: () => 1767225600000 },
    );
  }

  connect(): Piped {
    const wire = this.driver.accept("10.0.0.1") as Piped;
    wire.user = new End();
    return wire;
  }

  /** Bytes arrive, and a turn follows. */
  send(wire: Piped, ...pieces: (string | Uint8Array)[]): void {
    for (const piece of pieces) {
      wire.feed(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece);
      this.turn();
    }
  }

  /** The held write completes. */
  release(wire: Piped): void {
    const end = wire.user as End;
    const { held } = end;
    end.held = undefined;
    if (!held) return;
    end.out.push(new Uint8Array(held));
    wire.written();
    this.turn();
  }

  /** A turn, and the engine's own rules after it. */
  turn(ms = 0): number {
    this.now += ms;
    const next = this.driver.turn();
    checkEngine(this.engine);
    return next;
  }
}
