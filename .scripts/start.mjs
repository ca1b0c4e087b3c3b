// `npm start`: builds when a source is newer than dist/, then runs the command line, which without a handler shows the
// live page. Arguments after `--` are passed to it: `npm start -- --port 9000`.

import "./node.mjs";
import { needBuild } from "./programs.mjs";

needBuild();
await import("../dist/cli.js");
