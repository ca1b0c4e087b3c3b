// Tasks of a page's event loop, without the 4 ms minimum of its timers. Each event is dispatched in a task of its own,
// as browsers do, so that promise callbacks of one event have run before the next.

let port: MessagePort | undefined;
const queue: (() => void)[] = [];

/** Runs `fn` in a task of its own, after the functions that were queued before. */
export function queueTask(fn: () => void): void {
  if (!port) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => queue.shift()?.();
    port = port2;
  }
  queue.push(fn);
  port.postMessage(0);
}
