// Makes a machine ready for the tests: the programs of tools.mjs, then npm's packages. `npm test` begins with it. It
// runs in a fresh checkout, so it imports nothing but Node.
//
// Invariant: it says what it installs and why. It installs programs on Debian alone, as root. Where something is
// missing that it may not install, it prints the commands that do, and no test is run.

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ended } from "./child.mjs";
import { isInstalled, needPackages } from "./packages.mjs";
import { TOOLS, aptGet, byHand, findTool } from "./tools.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const OS_RELEASE = "/etc/os-release";
/** Maintainer scripts of Debian ask this program whether they may start a service. Exit code 101 says no. */
const POLICY = "/usr/sbin/policy-rc.d";

const say = (line) => console.log(`set-up: ${line}`);

/** Ends the process before any test. */
function refuse(...lines) {
  for (const line of lines) say(line);
  console.log("\n0 passed, 1 failed");
  process.exit(1);
}

/** Returns a field of /etc/os-release; "" when there is none. */
function systemField(name) {
  const text = existsSync(OS_RELEASE) ? readFileSync(OS_RELEASE, "utf8") : "";
  return new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(text)?.[1] ?? "";
}

/** Installs packages of Debian without starting a service. @returns whether it worked */
async function install(command) {
  const isOurs = !existsSync(POLICY);
  const remove = () => {
    if (isOurs) rmSync(POLICY, { force: true });
  };
  process.once("exit", remove);
  if (isOurs) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  const options = { env: { DEBIAN_FRONTEND: "noninteractive" } };
  try {
    const update = await ended(["apt-get", "update"], options);
    return update.code === 0 && (await ended(command, options)).code === 0;
  } finally {
    remove();
    process.off("exit", remove);
  }
}

function findMissing() {
  try {
    return TOOLS.filter((tool) => findTool(tool) === undefined);
  } catch (error) {
    return refuse(error.message);
  }
}

async function setUpTools() {
  if (process.platform !== "linux")
    refuse("the tests need Linux, because they read /proc; npm run check runs elsewhere, too");
  const missing = findMissing();
  if (missing.length === 0) return;
  for (const { name, why, tests } of missing)
    say(`${name} is missing: ${why} (tests: ${tests.join(", ")})`);
  const system = { id: systemField("ID"), like: systemField("ID_LIKE") };
  const help = byHand(missing, system).map((line) => `  ${line}`);
  if (system.id !== "debian") {
    const name = systemField("PRETTY_NAME") || "this system";
    refuse(`nothing is installed on ${name}, only on Debian. By hand:`, ...help);
  }
  if (process.getuid() !== 0) refuse("to install this takes root. By hand:", ...help);
  const command = aptGet(missing);
  say(command.join(" "));
  if (await install(command)) return;
  say("that failed, so the tests that need what is missing will fail. By hand:");
  for (const line of help) say(line);
}

/** Installs what is missing. When that is not possible, it ends the process. */
export async function setUp() {
  await setUpTools();
  if (isInstalled(root)) return;
  say("npm ci: node_modules is not what package-lock.json says");
  if (!needPackages(root)) refuse("npm's packages could not be installed: no test can run");
}
