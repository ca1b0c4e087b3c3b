// One handler in each of its places: requests, and what one costs the application.

import { APP_MICROS, LOAD, SERVER_MICROS, THOUSANDS } from "../figures.mjs";
import { server, startServer } from "../servers.mjs";
import { needWrk, requests } from "../wrk.mjs";

const CONNECTIONS = 64;
const CORES = "0-1"; // wrk shares the second

/** @type {import("../contest.mjs").Case} */
export default {
  name: "placements",
  title: `Ringcast's handler in each of its places, GET on ${CONNECTIONS} connections, two cores`,
  need: needWrk,
  variants: [{ name: "GET" }],
  servers: () => [
    server("ringcast"),
    server("ringcast", { place: "application" }, "on the application's thread"),
    server("ringcast", { place: "pool" }, "in a pool of one thread"),
  ],
  async open(row, _, smoke) {
    const running = await startServer(row, CORES);
    const job = { connections: CONNECTIONS, depth: 1, bodyBytes: 0, seconds: 1 };
    const run = () => requests(running, job);
    if (!smoke) await run(); // warm
    return { run, close: () => running.child.kill() };
  },
  figures: [THOUSANDS, SERVER_MICROS, APP_MICROS, LOAD],
};
