// An AbortSignal whose listeners may fail. Without the guard the platform would end the process, or the worker, because
// of an error in a listener.
//
// Invariant: listeners are called as the platform calls them, in the same order, once for each time they were added.

import { Handlers } from "./listeners";
import { isThenable, whenSettled } from "../result";

type Callback = (event: Event) => unknown;
type Listener = Callback | { handleEvent(event: Event): unknown };

/** Makes a signal pass what its listeners throw or reject with to `failed`. */
export function guardSignal(signal: AbortSignal, failed: (thrown: unknown) => void): void {
  const { addEventListener: add, removeEventListener: remove } = signal;
  const guarded = new WeakMap<object, Callback>();

  const guard = (listener: Listener): Callback => {
    const known = guarded.get(listener);
    if (known) return known;
    const made = (event: Event): void => {
      try {
        const result: unknown =
          typeof listener === "function"
            ? listener.call(signal, event)
            : listener.handleEvent(event);
        if (isThenable(result)) whenSettled(result, undefined, failed);
      } catch (thrown) {
        failed(thrown);
      }
    };
    guarded.set(listener, made);
    return made;
  };

  // null and wrong values are passed on: the platform's methods ignore the one and refuse the others.
  const wrap = (listener: Listener): Listener =>
    typeof listener === "function" || (typeof listener === "object" && listener !== null)
      ? guard(listener)
      : listener;
  const onabort = new Handlers(signal);
  Object.defineProperties(signal, {
    addEventListener: {
      value: (type: string, listener: Listener, options?: object | boolean): void =>
        add.call(signal, type, wrap(listener), options),
    },
    removeEventListener: {
      value: (type: string, listener: Listener, options?: object | boolean): void =>
        remove.call(signal, type, wrap(listener), options),
    },
    onabort: {
      get: () => onabort.get("abort"),
      set: (value: unknown) => onabort.set("abort", value),
    },
  });
}
