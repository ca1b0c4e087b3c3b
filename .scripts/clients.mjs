// Writes test/clients.md: what becomes of clients with the default options, by running each of them in virtual time. A
// test compares.

import { writeFile } from "node:fs/promises";
import path from "node:path";
import { root } from "./build.mjs";
import { load, needBuild } from "./programs.mjs";

needBuild();
const { clientsPage } = await load("lib/clients");
await writeFile(path.join(root, "test/clients.md"), await clientsPage());
