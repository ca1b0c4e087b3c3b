// The first import of what a newcomer runs: it ends the process when this Node is too old. It imports nothing but Node,
// and nothing of it that an old one lacks.

import { readFileSync } from "node:fs";

const { engines } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const { node } = process.versions;
const [major, minor] = node.split(".").map(Number);
const [oldestMajor, oldestMinor] = engines.node.match(/\d+/g).map(Number);
if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
  console.error(`This is Node ${node}. Ringcast needs Node ${engines.node}: https://nodejs.org`);
  process.exit(1);
}
