// The source of a stream: an iterable or async iterable whose items are taken one after another, as fast as a client
// takes them.
//
// Invariant: the next item is asked for only when the one before has been taken. A source that is not read to its end
// is ended by `return`, once; a source that has ended or failed is not.

import { isThenable, whenSettled } from "./result";

/** An iterator, or an object like one. */
interface Items {
  next(): unknown;
  return?(): unknown;
}

/** The next item; undefined when the wait for it was cancelled. */
type Step<T> = IteratorResult<T> | undefined;

/** Starts an iterable. @param name of it in errors @throws TypeError when the value is not an iterable */
function startOf<T>(name: string, items: AsyncIterable<T> | Iterable<T>): Items {
  const start = (items as AsyncIterable<T> | undefined)?.[Symbol.asyncIterator];
  if (typeof start === "function") return start.call(items);
  const startSync = (items as Iterable<T> | undefined)?.[Symbol.iterator];
  if (typeof startSync !== "function") throw new TypeError(`${name}: not an iterable`);
  const iterator: Iterator<T> = startSync.call(items);
  return {
    // Awaits values like `for await`, because a list may hold promises.
    next: async () => {
      const { done, value } = iterator.next();
      return { done, value: await value };
    },
    return: () => iterator.return?.(),
  };
}

export class Source<T> {
  readonly #name: string;
  readonly #items: Items;
  readonly #failed: (thrown: unknown) => void;
  /** Ends the wait for the next item. */
  #cancel: ((step: Step<T>) => void) | undefined;

  /**
   * @param name of the iterable in errors
   * @param failed called with the errors of the iterator's `return`, for which nothing waits
   * @throws TypeError when `items` is not an iterable
   */
  constructor(
    name: string,
    items: AsyncIterable<T> | Iterable<T>,
    failed: (thrown: unknown) => void,
  ) {
    this.#name = name;
    this.#items = startOf(name, items);
    this.#failed = failed;
  }

  /**
   * Takes the items one after another. Rejects with the error of the iterator or of `take`.
   * @param take resolves to false when no more items are wanted
   * @returns true at the end; false when `take` wanted no more, or the wait was cancelled
   */
  async pour(take: (item: T) => Promise<boolean>): Promise<boolean> {
    for (;;) {
      const step = await this.next();
      if (step?.done) return true;
      let isWanted = false;
      try {
        isWanted = step !== undefined && (await take(step.value));
      } catch (thrown) {
        this.leave();
        throw thrown;
      }
      if (!isWanted) {
        this.leave();
        return false;
      }
    }
  }

  /** Takes the next item. @returns it; undefined when the wait was cancelled */
  next(): Promise<Step<T>> {
    return new Promise((resolve, reject) => {
      this.#cancel = resolve;
      const take = (step: unknown): void => {
        if (typeof step === "object" && step !== null) resolve(step as Step<T>);
        else reject(new TypeError(`${this.#name}: its iterator returned no object`));
      };
      whenSettled(this.#items.next(), take, reject);
    });
  }

  /** Ends the wait for the next item, because the client has left. If the iterator fails by then, its error counts. */
  cancel(): void {
    const cancel = this.#cancel;
    if (cancel) queueMicrotask(() => cancel(undefined));
  }

  /** Calls the iterator's `return`. Nothing waits for it, and it may throw or never settle. */
  leave(): void {
    try {
      const result = this.#items.return?.();
      if (isThenable(result)) whenSettled(result, undefined, this.#failed);
    } catch (thrown) {
      this.#failed(thrown);
    }
  }
}
