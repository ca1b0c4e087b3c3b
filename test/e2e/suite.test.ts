// The server suite on Node: reads into the engine's memory, and 'data' events.

import { test } from "uvu";
import { runSuite } from "../suite/suite";
import { closures } from "../suite/suite-handler";
import { socketPlatform } from "../suite/node";

const module = new URL("../suite/suite-handler.mjs", import.meta.url);
const print = (line: string): void => {
  if (!line.startsWith("ok ")) console.log(line);
};
const only = process.env.SUITE_ONLY ?? "";
for (const stream of ["0", "1"]) {
  process.env.RINGCAST_STREAM = stream;
  const name = stream === "1" ? "net, 'data' events" : "net";
  const results = await runSuite(socketPlatform(name, module, closures), { only, print });
  for (const { name: title, passed, error } of results) {
    test(title, () => {
      if (!passed) throw new Error(error);
    });
  }
}

test.run();
