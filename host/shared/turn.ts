// The next turn of the event loop, and tasks of their own, without the minimum of 4 ms that a page's timers have.

// Read at import, so that fake timers that a test installs later have no effect here.
const { setTimeout: later, setImmediate: immediate } = globalThis as {
  setTimeout: (fn: () => void, ms: number) => unknown;
  setImmediate?: (fn: () => void) => unknown;
};

let post: (() => void) | undefined;
const queue: (() => void)[] = [];

/**
 * Runs `fn` in a task of its own, after the functions that were queued before. Promise callbacks of one have run before
 * the next.
 */
export function queueTask(fn: () => void): void {
  if (!post) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => queue.shift()?.();
    post = () => port2.postMessage(0);
  }
  queue.push(fn);
  post();
}

/** Runs `fn` in the next turn of the event loop, in which all promises settle that can. */
export function nextTurn(fn: () => void): void {
  if (immediate) immediate(fn);
  else if (typeof MessageChannel === "function") queueTask(fn);
  else later(fn, 0);
}
