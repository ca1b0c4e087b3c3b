// One body of tests for every place a handler may run.

import { handlerOf } from "./peer";
import { placementTests } from "./placements";

placementTests("in the worker", async () => ({ handler: await handlerOf("placements", "worker") }));

placementTests("on the application's thread", async () => ({
  handler: await handlerOf("placements", "application"),
}));

placementTests("in a pool of threads", async () => ({
  handler: await handlerOf("placements", "worker"),
  pool: { threads: 2, backlog: 256 },
}));

// The same as a fetch function.

placementTests("fetch, in the worker", async () => ({
  handler: await handlerOf("fetch-placements", "worker"),
}));

placementTests("fetch, on the application's thread", async () => ({
  handler: await handlerOf("fetch-placements", "application"),
}));

placementTests("fetch, in a pool of threads", async () => ({
  handler: await handlerOf("fetch-placements", "worker"),
  pool: { threads: 2, backlog: 256 },
}));
