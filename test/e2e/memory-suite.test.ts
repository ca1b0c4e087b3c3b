// The server suite in memory: with Node's deflate, and with none.

import { zlibCodec } from "ringcast/zlib";
import { test } from "uvu";
import { runSuite } from "../suite/suite";
import handler from "../suite/suite-handler";
import { memoryPlatform } from "../suite/memory";

const print = (line: string): void => {
  if (!line.startsWith("ok ")) console.log(line);
};
const platforms = [
  memoryPlatform("memory", handler, zlibCodec),
  memoryPlatform("memory, no deflate", handler),
];
for (const platform of platforms) {
  const only = process.env.SUITE_ONLY ?? "";
  for (const { name, passed, error } of await runSuite(platform, { only, print })) {
    test(name, () => {
      if (!passed) throw new Error(error);
    });
  }
}

test.run();
