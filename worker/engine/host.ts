// The place of the host that a request names, in the engine's memory.
//
// Invariant: nothing is allocated, because it is looked up for each request.

import {
  CONN_BYTES,
  CONN_HEADER_COUNT,
  CONN_TABLE,
  CONN_TARGET,
  CONN_TARGET_LENGTH,
  HEADER_ENTRY_BYTES,
  Trait,
} from "../../assembly/abi";
import type { Engine } from "./engine";

/** The field's name in lower case, as a number of four octets. */
const HOST = 0x74736f68;
const SLASH = 47;

/** Returns true for an octet that ends an authority: "/", "?" or "#". */
function endsAuthority(octet: number): boolean {
  return octet === SLASH || octet === 63 || octet === 35;
}

export class HostFinder {
  readonly #engine: Engine;
  /** Addresses at which the host that was found last begins and ends; they are equal when there is none. */
  from = 0;
  to = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Finds the host of a slot's pending request: the target's, else the Host field's (RFC 9112 3.3). */
  find(slot: number): void {
    const engine = this.#engine;
    const at = engine.slots + slot * CONN_BYTES;
    const head = engine.headAddress(slot);
    if (engine.traits(slot) & Trait.Absolute) {
      const target = head + (engine.u16[(at + CONN_TARGET) >>> 1] as number);
      this.#takeAuthority(target, target + (engine.u16[(at + CONN_TARGET_LENGTH) >>> 1] as number));
      return;
    }
    this.from = 0;
    this.to = 0;
    const table = engine.u32[(at + CONN_TABLE) >>> 2] as number;
    const fields = engine.u16[(at + CONN_HEADER_COUNT) >>> 1] as number;
    for (let i = 0; i < fields; i++) {
      const entry = table + i * HEADER_ENTRY_BYTES;
      if (this.#pair(entry + 2) !== 4) continue;
      const name = head + this.#pair(entry);
      const octets = this.#pair(name) | (this.#pair(name + 2) << 16);
      if ((octets | 0x20202020) !== HOST) continue;
      this.from = head + this.#pair(entry + 4);
      this.to = this.from + this.#pair(entry + 6);
      return;
    }
  }

  /** Returns two octets as a number. Tables of requests need not be aligned. */
  #pair(at: number): number {
    const { u8 } = this.#engine;
    return (u8[at] as number) | ((u8[at + 1] as number) << 8);
  }

  /** Takes the authority of an absolute target, which has been checked. */
  #takeAuthority(target: number, end: number): void {
    const { u8 } = this.#engine;
    let at = target;
    while (at < end && u8[at] !== SLASH) at++;
    this.from = Math.min(at + 2, end);
    this.to = this.from;
    while (this.to < end && !endsAuthority(u8[this.to] as number)) this.to++;
  }
}
