// Tasks of a page's event loop, without the 4 ms of its timers: events are told one a task, as a browser does,
// so that what waits for one in a promise is there for the next.

let port: MessagePort | undefined;
const queue: (() => void)[] = [];

/** Runs `fn` in a task of its own, after those that were queued before. */
export function queueTask(fn: () => void): void {
  if (!port) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => queue.shift()?.();
    port = port2;
  }
  queue.push(fn);
  port.postMessage(0);
}
