// Connections that are not HTTP, handed to the upstream of the option `raw`.
//
// Invariant: a connection for which there is no pipe is ended, so none remains that no one reads.

import { CloseReason } from "../../assembly/abi";
import type { ConnectUpstream } from "../net/transport";
import type { Peer } from "../socket/peer";
import { Pipe, type PipeOwner } from "./pipe";

/** Time (ms) within which an upstream must accept a connection. */
const CONNECT_MILLIS = 10000;

/** The upstream of connections that are not HTTP. */
export interface RawRules {
  readonly connect: ConnectUpstream;
  /** Called when the upstream cannot be reached. @param error undefined: it did not answer in time */
  readonly failed: (error: Error | undefined) => void;
}

export class Raw {
  readonly #owner: PipeOwner;
  readonly #rules: RawRules;

  constructor(owner: PipeOwner, rules: RawRules) {
    this.#owner = owner;
    this.#rules = rules;
  }

  /** Connects a connection that is not HTTP with the upstream. */
  take(peer: Peer): void {
    const first = this.#owner.loop.takeOut(peer, CONNECT_MILLIS);
    if (!(first instanceof Uint8Array)) {
      // Half of the slots have been handed over.
      this.#owner.terminate(peer, CloseReason.NoRoom);
      return;
    }
    const pipe = new Pipe(this.#owner, peer, first, this.#rules.failed);
    peer.pipe = pipe;
    pipe.connect(this.#rules.connect);
    this.#owner.setReading(peer);
  }
}
