// One listening descriptor, 4, and several servers that want it: in this thread and in another.

import { Worker } from "node:worker_threads";
import { serve } from "ringcast";

const fd = 4;
const handler = { request: (_, res) => res.send(200, "text/plain", "first") };
const how = (serving) =>
  serving.then(
    () => "served",
    ({ code, message }) => [code, message],
  );

const first = await serve({ fd, handler });
const url = `http://127.0.0.1:${first.address.port}/`;
const answers = [];
const refusals = [];
for (let i = 0; i < 3; i++) {
  refusals.push(await how(serve({ fd, handler })));
  answers.push(await (await fetch(url)).text());
}
const thread = `
  const { workerData, parentPort } = require("node:worker_threads");
  import(workerData).then(({ serve }) => serve({ fd: ${fd} })).then(
    () => parentPort.postMessage("served"),
    ({ code, message }) => parentPort.postMessage([code, message]),
  );`;
const other = new Worker(thread, { eval: true, workerData: import.meta.resolve("ringcast") });
refusals.push(await new Promise((resolve) => other.once("message", resolve)));
await other.terminate();
answers.push(await (await fetch(url)).text());
process.send({ refusals, answers });
await first.close();
process.disconnect();
