// How soon a server answers.

import { figure } from "../figures.mjs";
import { server, START_LIMIT, startServer } from "../servers.mjs";
import { answerBytes } from "../wrk.mjs";

const ROWS = ["node:http", "fastify", "ws", "uws", "bun", "deno", "ringcast"];
const millis = (ms) => ms.toFixed(0);

/** @type {import("../contest.mjs").Case} */
export default {
  name: "startup",
  title: "from the start of the process to its first answer; and from `serve` to listening",
  variants: [
    {
      name: "start",
      targets: [{ row: "ringcast", key: "answeredMillis", peer: "node:http", atMost: 2 }],
    },
  ],
  servers: () => ROWS.map((name) => server(name)),
  async open(row) {
    const run = async () => {
      const start = performance.now();
      const { child, port } = await startServer(row);
      await answerBytes(port, { bodyBytes: 0 });
      const answeredMillis = performance.now() - start;
      const asked = row.name === "ringcast";
      const { figures = {} } = asked
        ? await child.ask({ type: "measure" }, "measured", START_LIMIT)
        : {};
      await child.kill();
      return { answeredMillis, listenMillis: figures.listenMillis };
    };
    await run(); // its files are in memory now
    return { run, close: async () => {} };
  },
  figures: [
    figure("answeredMillis", "answer ms", millis),
    figure("listenMillis", "serve ms", millis),
  ],
};
