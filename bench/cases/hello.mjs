// Requests over HTTP, by wrk.

import { APP_MICROS, BUSY, LOAD, P99, SERVER_MICROS, THOUSANDS } from "../figures.mjs";
import { server, startServer } from "../servers.mjs";
import { needWrk, requests } from "../wrk.mjs";

const CONNECTIONS = 64;
/** An `async` handler that answers before its first await. */
const ASYNC = "ringcast, async";
/** Node's sockets instead of its bare handles. */
const SOCKETS = "ringcast, sockets";

/** @type {import("../contest.mjs").Case} */
export default {
  name: "hello",
  title: `HTTP requests on ${CONNECTIONS} connections`,
  need: needWrk,
  variants: [
    {
      name: "GET",
      depth: 1,
      bodyBytes: 0,
      targets: [
        { row: "ringcast", key: "rate", peer: "uws", atLeast: 0.97 },
        { row: "ringcast", key: "rate", peer: "node:http", atLeast: 3 },
        { row: ASYNC, key: "rate", peer: "uws", atLeast: 0.93 },
      ],
    },
    {
      name: "GET, pipelined x16",
      depth: 16,
      bodyBytes: 0,
      targets: [
        { row: "ringcast", key: "rate", peer: "uws", atLeast: 1.15 },
        { row: "ringcast", key: "rate", peer: "node:http", atLeast: 8 },
      ],
    },
    { name: "POST of 1 KiB", depth: 1, bodyBytes: 1024 },
  ],
  servers: () => [
    ...["node:http", "fastify", "uws", "bun", "deno", "ringcast"].map((name) => server(name)),
    server("ringcast", { isAsync: true }, ASYNC),
    server("ringcast", { transport: "sockets" }, SOCKETS),
  ],
  async open(row, { depth, bodyBytes }, smoke) {
    const running = await startServer(row);
    const job = { connections: CONNECTIONS, depth, bodyBytes, seconds: 1 };
    const run = () => requests(running, job);
    if (!smoke) await run(); // warm
    return { run, close: () => running.child.kill() };
  },
  figures: [THOUSANDS, SERVER_MICROS, APP_MICROS, P99, BUSY, LOAD],
};
