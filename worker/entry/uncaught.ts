// Uncaught errors in a thread that runs a user's module: in which order they are examined and reported.
//
// Invariant: where the user has a listener, only that listener decides. Without one the error is reported, and the
// thread continues. Traps of the engine are checked for before either.

/** Callbacks for an uncaught error. */
interface Uncaught {
  /** Examines the error first, whether or not there are listeners. */
  look(thrown: unknown): void;
  /** Reports the error; throws it when the thread must end. */
  report(thrown: unknown): void;
}

/** Listens for uncaught errors in this thread, in Node and in runtimes that have its `process`. */
export function watchUncaught({ look, report }: Uncaught): void {
  process.on("uncaughtExceptionMonitor", look);
  process.on("uncaughtException", (error) => {
    if (process.listenerCount("uncaughtException") === 1) report(error);
  });
  process.on("unhandledRejection", (reason) => {
    look(reason);
    if (process.listenerCount("unhandledRejection") > 1) return;
    // Does the same as Node's default without this listener, which turns the rejection into an exception.
    const { emit } = process as NodeJS.EventEmitter;
    if (process.listenerCount("uncaughtException") === 1) report(reason);
    else emit.call(process, "uncaughtException", reason, "unhandledRejection");
  });
}
