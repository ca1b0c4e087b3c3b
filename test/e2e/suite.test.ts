// The server suite on Node, with each kind of transport: handles, sockets that read into the engine's memory, and
// sockets with 'data' events.

import { test } from "uvu";
import { runSuite } from "../suite/suite";
import { closures } from "../suite/suite-handler";
import { socketPlatform } from "../suite/node";

const module = new URL("../suite/suite-handler.mjs", import.meta.url);
const print = (line: string): void => {
  if (!line.startsWith("ok ")) console.log(line);
};
const only = process.env.SUITE_ONLY ?? "";
for (const [name, transport, stream] of [
  ["handles", "auto", "0"],
  ["sockets", "sockets", "0"],
  ["sockets, 'data' events", "sockets", "1"],
] as const) {
  process.env.RINGCAST_TRANSPORT = transport;
  process.env.RINGCAST_STREAM = stream;
  const results = await runSuite(socketPlatform(name, module, closures), { only, print });
  for (const { name: title, passed, error } of results) {
    test(title, () => {
      if (!passed) throw new Error(error);
    });
  }
}

test.run();
