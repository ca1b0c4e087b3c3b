// Runs the server suite in the runtime that runs this, over the installed package. The last line of its
// output is the list of results, as JSON.

import { runSuite } from "../suite/suite";
import { closures } from "../suite/suite-handler";
import { socketPlatform } from "../suite/node";

const [name = "", only = ""] = process.argv.slice(2);
const module = new URL("./suite-handler.mjs", import.meta.url);
const print = (line: string): void => {
  if (!line.startsWith("ok ")) console.log(line);
};
const results = await runSuite(socketPlatform(name, module, closures), { only, print });
console.log(JSON.stringify(results));
