// Ringcast with the same handler in one of its places: `placement.mjs worker|app|pool`. Told {type: "cpu"} it
// says what CPU time this process, and its application's thread, have had since the last time.

import { existsSync, readFileSync } from "node:fs";
import handler from "./placement-handler.mjs";

const ENTRY = new URL("../../dist/index.js", import.meta.url);
const [place] = process.argv.slice(2);

/** CPU time of the main thread in ns; undefined where the system does not say. */
function mainNanos() {
  try {
    const [nanos] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
    return Number(nanos);
  } catch {
    return undefined;
  }
}

process.on("disconnect", () => process.exit()); // no orphans, however the bench ended
if (!existsSync(ENTRY)) {
  process.send({ type: "failed", reason: "dist/index.js is missing (run npm run build)" });
} else {
  const { serve } = await import(ENTRY.href);
  const url = new URL("./placement-handler.mjs", import.meta.url);
  const server = await serve({
    port: 0,
    ...(place === "app" ? { handler } : { handler: url }),
    ...(place === "pool" ? { pool: { threads: 1, backlog: 1024 } } : {}),
  });
  let main = mainNanos();
  let all = process.cpuUsage();
  let loop = performance.eventLoopUtilization();
  process.on("message", () => {
    const { user, system } = process.cpuUsage(all);
    const active = performance.eventLoopUtilization(loop).active;
    const now = mainNanos();
    const mainMicros = now === undefined ? undefined : (now - main) / 1000;
    process.send({
      type: "cpu",
      processMicros: user + system,
      mainMicros,
      loopMicros: active * 1000,
    });
    main = now;
    all = process.cpuUsage();
    loop = performance.eventLoopUtilization();
  });
  process.send({ type: "listening", port: server.address.port });
}
