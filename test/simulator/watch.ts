// Sits between the pump and the sockets in memory, and ensures that no code writes to memory while the transport holds
// it.
//
// Invariant: the bytes of a pending write are, until it completes, the ones that were handed over. The ring's invariant
// serves this: tail <= min(done) + capacity.

import type { MeasuredLink } from "../../worker/net/memory";
import type { Accept, Link, SendQueue, Sink } from "../../worker/net/transport";

class WatchedLink implements MeasuredLink, Sink {
  readonly #link: Link;
  readonly #watch: Watch;
  #sink: Sink | undefined;
  /** The memory that the transport holds, and what it held at first. */
  #held: { readonly view: Uint8Array; readonly copy: Uint8Array } | undefined;
  /** Bytes that were taken before a write, and count together with it. */
  #taken = 0;

  constructor(link: Link, watch: Watch) {
    this.#link = link;
    this.#watch = watch;
  }

  attach(sink: Sink): this {
    this.#sink = sink;
    return this;
  }

  get isHeld(): boolean {
    return this.#held !== undefined;
  }

  check(): void {
    const held = this.#held;
    if (held && Buffer.compare(held.view, held.copy) !== 0)
      throw new Error(`${this.remoteAddress}: memory that a write holds has been overwritten`);
  }

  #let(): void {
    this.check();
    this.#held = undefined;
  }

  get remoteAddress(): string {
    return this.#link.remoteAddress;
  }

  get queue(): SendQueue {
    return (this.#link as MeasuredLink).queue;
  }

  write(view: Uint8Array): boolean {
    if (this.#held) throw new Error(`${this.remoteAddress}: a second write is outstanding`);
    if (!this.#watch.mayWrite(this.remoteAddress, view))
      throw new Error(`${this.remoteAddress}: a write of ${view.length} bytes`);
    const copy = new Uint8Array(view);
    if (this.#link.write(view)) {
      this.#count(view.length);
      return true;
    }
    this.#held = { view, copy };
    return false;
  }

  writeSome(view: Uint8Array): number | undefined {
    if (!this.#watch.tells) return undefined;
    if (this.#held) throw new Error(`${this.remoteAddress}: a second write is outstanding`);
    this.#taken = this.#link.writeSome?.(view) ?? 0;
    const taken = this.#taken;
    // The rest, or a part of it, is written next.
    if (taken === view.length) this.#count(0);
    return taken;
  }

  #count(bytes: number): void {
    this.#watch.written += this.#taken + bytes;
    this.#taken = 0;
  }

  secured(how?: "plain"): void {
    this.#sink?.secured(how);
  }

  end(): void {
    this.#link.end();
  }

  pause(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  destroy(): void {
    this.#let();
    this.#watch.forget(this);
    this.#link.destroy();
  }

  reset(): void {
    this.#let();
    this.#watch.forget(this);
    this.#link.reset();
  }

  read(n: number): void {
    this.#watch.read += n;
    this.#sink?.read(n);
  }

  written(): void {
    this.#count(this.#held?.view.length ?? 0);
    this.#let();
    this.#sink?.written();
  }

  ended(): void {
    this.#sink?.ended();
  }

  lost(error: Error | undefined): void {
    this.#sink?.lost(error);
  }
}

export class Watch {
  readonly #links = new Set<WatchedLink>();
  /** Sockets tell how much of a write they have taken at once. */
  readonly tells: boolean;
  /** Bytes of the writes that are complete, and bytes that were read. */
  written = 0;
  read = 0;
  /** Returns true for a write that a client may be given. */
  readonly mayWrite: (address: string, view: Uint8Array) => boolean;

  constructor(tells: boolean, mayWrite: (address: string, view: Uint8Array) => boolean) {
    this.tells = tells;
    this.mayWrite = mayWrite;
  }

  /** An `Accept` whose links are watched. */
  over(accept: Accept): Accept {
    return (link) => {
      const watched = new WatchedLink(link, this);
      const sink = accept(watched);
      if (!sink) return undefined;
      this.#links.add(watched);
      return watched.attach(sink);
    };
  }

  forget(link: WatchedLink): void {
    this.#links.delete(link);
  }

  /** @throws Error when memory that is held has changed */
  check(): void {
    for (const link of this.#links) link.check();
  }

  /** True while a write of the client at this address is outstanding. */
  isHeld(address: string): boolean {
    for (const link of this.#links) if (link.remoteAddress === address) return link.isHeld;
    return false;
  }

  /** Connections that are not closed. */
  get open(): number {
    return this.#links.size;
  }
}
