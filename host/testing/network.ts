// The state that the clients of a server in memory share.

import type { Codec } from "../../worker/net/transport";
import type { MemoryNet, VirtualClock } from "../../worker/net/memory";
import type { Random } from "./random";

export interface Network {
  readonly net: MemoryNet;
  readonly clock: VirtualClock;
  readonly random: Random;
  /** Bytes that the kernels buffer on the way to a client. */
  readonly socketBuffer: number;
  /** The compression codec, if any. */
  readonly codec: Codec | undefined;
  /** Registers a client. @returns its number */
  register(client: { describe(): string[] }): number;
}
