// The cost of one message of 200 B for the application's thread, with clients that receive it.

import { figure } from "../figures.mjs";
import { Pair } from "../pair.mjs";

const CLIENTS = 100;
const SIZE = 200;
const CALLS = 20_000;

const micros = (value) => value.toFixed(2);
const call = (name, which) => ({ name, file: "servers/cost.mjs", settings: { call: which } });

/** @type {import("../contest.mjs").Case} */
export default {
  name: "cost",
  title: `one message of 200 B, in µs of the application's thread, with ${CLIENTS} clients`,
  variants: [
    {
      name: "call",
      targets: [{ row: "server.broadcast(text)", key: "callMicros", atMost: 0.5 }],
    },
  ],
  servers: () => [
    call("server.broadcast(text)", "broadcast"),
    call("server.publish(topic, text)", "publish"),
    call("a Comlink call for each", "comlink"),
  ],
  async open(row, _, smoke) {
    const pair = await Pair.open(row, smoke ? 10 : CLIENTS, { kind: "text", cores: "0-1" });
    const job = { n: smoke ? 400 : CALLS, size: SIZE, batch: 1, text: true };
    const run = () => (row.settings.call === "comlink" ? pair.measure(job) : pair.publish(job));
    await run();
    return { run, close: () => pair.close() };
  },
  figures: [figure("callMicros", "µs", micros), figure("slowMicros", "9th tenth", micros)],
};
