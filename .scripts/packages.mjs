// npm's packages of a folder that has a lock file: whether they are there, and installing them. It imports nothing but
// Node.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return {};
  }
}

/** Returns true when node_modules is what the lock file says. npm notes in a file there what it has installed. */
export function isInstalled(folder) {
  const wanted = packagesOf(path.join(folder, "package-lock.json"));
  const present = packagesOf(path.join(folder, "node_modules/.package-lock.json"));
  return Object.entries(wanted).every(([name, { version, integrity, optional }]) => {
    const found = present[name];
    // "" is the project. An optional package may be for another platform.
    if (name === "" || (optional && !found)) return true;
    return found?.version === version && found?.integrity === integrity;
  });
}

/**
 * Installs a folder's packages unless they are there.
 * @param {string} folder
 * @param {readonly string[]} options of `npm ci`
 * @returns {boolean} false when npm failed
 */
export function needPackages(folder, options = []) {
  if (isInstalled(folder)) return true;
  const args = ["ci", "--no-audit", "--no-fund", ...options];
  return spawnSync("npm", args, { cwd: folder, stdio: "inherit" }).status === 0;
}
