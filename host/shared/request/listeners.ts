// The `on…` attributes of an event target (HTML 8.1.8.1): a handler stands in the order of the listeners where it
// was first set, and stays there when it is replaced.

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

  /** @param value a function; anything else is none */
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
