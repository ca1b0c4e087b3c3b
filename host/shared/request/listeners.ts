// The `on…` attributes of an event target (HTML 8.1.8.1). A handler keeps the place among the listeners at which it was
// first set, also when it is replaced.

type Handler = (this: EventTarget, event: Event) => unknown;

export class Handlers {
  readonly #target: EventTarget;
  readonly #set = new Map<
    string,
    { handler: Handler; readonly listener: (event: Event) => void }
  >();

  constructor(target: EventTarget) {
    this.#target = target;
  }

  get(type: string): Handler | null {
    return this.#set.get(type)?.handler ?? null;
  }

  /** Sets or removes a handler. @param value a function; anything else removes the handler */
  set(type: string, value: unknown): void {
    const before = this.#set.get(type);
    if (typeof value !== "function") {
      if (before) this.#target.removeEventListener(type, before.listener);
      this.#set.delete(type);
      return;
    }
    if (before) {
      before.handler = value as Handler;
      return;
    }
    const entry = {
      handler: value as Handler,
      listener: (event: Event): void => {
        entry.handler.call(this.#target, event);
      },
    };
    this.#set.set(type, entry);
    this.#target.addEventListener(type, entry.listener);
  }
}
