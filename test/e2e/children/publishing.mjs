// A thread that publishes by itself: it opens the given publisher, sends the requested messages, and reports the
// results.

import { parentPort } from "node:worker_threads";
import { openPublisher } from "ringcast";

let publisher;
parentPort.on("message", async ({ handle, count, size, name, close }) => {
  if (handle) publisher = openPublisher(handle);
  let refused = 0;
  for (let i = 0; i < (count ?? 0); i++) {
    const data = `${name} ${i} `.padEnd(size, ".");
    while (!publisher.publish("t", data)) {
      if (!publisher.open) {
        parentPort.postMessage({ ended: i });
        return;
      }
      refused++;
      await publisher.ready();
    }
  }
  if (close) publisher.close();
  parentPort.postMessage({ done: count, refused, open: publisher.open });
});
