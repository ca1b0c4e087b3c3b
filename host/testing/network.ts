// What the clients of a server in memory share.

import type { Codec } from "../../worker/net/transport";
import type { MemoryNet, VirtualClock } from "../../worker/net/memory";
import type { Random } from "./random";

export interface Network {
  readonly net: MemoryNet;
  readonly clock: VirtualClock;
  readonly random: Random;
  /** Bytes that the kernels hold on the way to a client. */
  readonly socketBuffer: number;
  /** Compression, where there is one. */
  readonly codec: Codec | undefined;
  /** Takes note of a client. @returns its number */
  register(client: { describe(): string[] }): number;
}
