// Node's threads, through Piscina. It starts threads, replaces threads that end, and ends a thread whose task
// is aborted. worker/place/pool.ts decides which task is next.

import type { Threads } from "./transport";

interface PiscinaOptions {
  /** URL of the module that the threads run. */
  readonly filename: string;
  readonly threads: number;
  /** MiB of a thread's heap; 0: the runtime's own limit applies. */
  readonly heap: number;
  readonly workerData: unknown;
  /** Called with errors of threads that were handling no task. */
  readonly failed: (error: Error) => void;
}

/**
 * Starts the threads. Piscina inspects the machine when it is imported, so it is imported only when there is a pool.
 */
export async function piscinaThreads(options: PiscinaOptions): Promise<Threads> {
  const { Piscina } = await import("piscina");
  const { filename, threads, heap, workerData, failed } = options;
  const pool = new Piscina({
    filename,
    minThreads: threads,
    maxThreads: threads,
    // Between tasks a thread runs its event loop, so the handler's timers and connections continue.
    atomics: "disabled",
    workerData,
    ...(heap > 0 ? { resourceLimits: { maxOldGenerationSizeMb: heap } } : {}),
  });
  pool.on("error", failed);
  const self: Threads = {
    onMessage: undefined,
    run: (task, transfer, signal) => pool.run(task, { transferList: [...transfer], signal }),
    stats() {
      const { mean, p99, max } = pool.histogram.runTime;
      // Without a task there is no mean.
      const runTime = Number.isNaN(mean) ? { mean: 0, p99: 0, max: 0 } : { mean, p99, max };
      return { threads: pool.threads.length, completed: pool.completed, runTime };
    },
    resetTimes: () => pool.histogram.resetRunTime(),
    destroy: () => pool.destroy(),
  };
  pool.on("message", (message: unknown) => self.onMessage?.(message));
  return self;
}
