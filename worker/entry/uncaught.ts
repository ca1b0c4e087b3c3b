// Errors that nobody caught in a thread that runs a user's module: whose they are, and who is told first.
//
// Invariant: a listener of the user's own decides alone. Without one the error is reported, and nothing ends. A trap of
// the engine is looked for before either.

/** What happens to an error that nobody caught. */
interface Uncaught {
  /** Looked at first, whatever listeners there are. */
  look(thrown: unknown): void;
  /** Reports it; throws it when it has to end the thread. */
  report(thrown: unknown): void;
}

/** Listens for errors that nobody caught in this thread. Node, and runtimes that have its `process`. */
export function watchUncaught({ look, report }: Uncaught): void {
  process.on("uncaughtExceptionMonitor", look);
  process.on("uncaughtException", (error) => {
    if (process.listenerCount("uncaughtException") === 1) report(error);
  });
  process.on("unhandledRejection", (reason) => {
    look(reason);
    if (process.listenerCount("unhandledRejection") > 1) return;
    // As without this listener: Node's default makes an exception of it.
    const { emit } = process as NodeJS.EventEmitter;
    if (process.listenerCount("uncaughtException") === 1) report(reason);
    else emit.call(process, "uncaughtException", reason, "unhandledRejection");
  });
}
