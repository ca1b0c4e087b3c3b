// Loads in a worker, but not in a thread of its pool.

import { workerData } from "node:worker_threads";

if (workerData.backlog !== undefined) throw new Error("not in a thread of a pool");

export default { request: (_req, res) => res.send(200) };
