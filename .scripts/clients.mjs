// Writes test/clients.md, which says how clients of every kind end with the default options. It runs each of them in
// virtual time. A test compares the page with the code.

import { writeFile } from "node:fs/promises";
import path from "node:path";
import { root } from "./build.mjs";
import { load, needBuild } from "./programs.mjs";

needBuild();
const { clientsPage } = await load("lib/clients");
await writeFile(path.join(root, "test/clients.md"), await clientsPage());
