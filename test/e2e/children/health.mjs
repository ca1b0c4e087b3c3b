// The health of a thread: how busy it is, and how late its loop was since the last call.

import { monitorEventLoopDelay } from "node:perf_hooks";

const RESOLUTION = 10;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION });
delays.enable();

/** Handles of this thread; ms by which its loop was late, 99 times of 100 at most, and at most. */
export function health() {
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - RESOLUTION);
  const seen = {
    handles: process.getActiveResourcesInfo().length,
    p99: late(delays.percentile(99)),
    max: late(delays.max),
  };
  delays.reset();
  return seen;
}
