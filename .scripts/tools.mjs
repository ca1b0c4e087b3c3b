// The programs and libraries that tests need beside Node and npm's packages. This is the only place that knows their
// paths, their Debian packages and the tests that need them: a new tool is a row here, and `toolPath` in its test.
//
// It runs before npm has installed anything, and within bundled tests: it imports nothing but Node.

import { realpathSync, statSync } from "node:fs";
import path from "node:path";

/**
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} variable environment variable with another path
 * @property {string} file program or library (`*.so.*`), looked for in `FOLDERS` or `LIBRARIES`; or an absolute path
 * @property {string} debian package of Debian 12 and 13
 * @property {string} why
 * @property {readonly string[]} tests files of test/e2e and test/runtimes, without `.test.ts`
 */

/** @type {readonly Tool[]} */
export const TOOLS = [
  {
    name: "chromium",
    variable: "RINGCAST_CHROMIUM",
    file: "chromium",
    debian: "chromium",
    why: "tests open pages in it, headless",
    tests: [
      ...["browser", "certificates", "chromium", "client", "clients", "demo", "dim"],
      ...["events-browsers", "example", "hosts"],
      ...["neighbours-pages", "neighbours-web", "package", "readme", "site"],
    ],
  },
  {
    name: "firefox",
    variable: "RINGCAST_FIREFOX",
    file: "firefox-esr",
    debian: "firefox-esr",
    why: "tests read event streams in it, headless",
    tests: ["events-browsers"],
  },
  {
    name: "nginx",
    variable: "RINGCAST_NGINX",
    file: "nginx",
    debian: "nginx",
    why: "tests put it in front of Ringcast; they start it themselves, without its service",
    tests: ["events", "neighbours-files", "neighbours-nginx", "readme", "site"],
  },
  {
    name: "nginx's stream module",
    variable: "RINGCAST_NGINX_STREAM",
    file: "/usr/lib/nginx/modules/ngx_stream_module.so",
    debian: "libnginx-mod-stream",
    why: "a test passes TCP on with it",
    tests: ["events", "neighbours-nginx", "site"],
  },
  {
    name: "curl",
    variable: "RINGCAST_CURL",
    file: "curl",
    debian: "curl",
    why: "tests read event streams and a whole site with it",
    tests: ["events", "site"],
  },
  ...["systemd-analyze", "systemd-socket-activate"].map((file) => ({
    name: file,
    variable: `RINGCAST_${file.toUpperCase().replaceAll("-", "_")}`,
    file,
    debian: "systemd",
    why: "a test checks and starts a unit with it; systemd itself need not run",
    tests: ["systemd"],
  })),
  {
    name: "wrk",
    variable: "RINGCAST_WRK",
    file: "wrk",
    debian: "wrk",
    why: "the bench sends its requests with it",
    tests: ["bench"],
  },
  {
    name: "libatomic",
    variable: "RINGCAST_LIBATOMIC",
    file: "libatomic.so.1",
    debian: "libatomic1",
    why: "Node 26 does not start without this library",
    tests: ["docker", "package", "runtimes"],
  },
];

/** Where programs are looked for. An ordinary user's PATH has no sbin. */
const FOLDERS = [...(process.env.PATH ?? "").split(":"), "/usr/local/sbin", "/usr/sbin"].filter(
  (folder) => path.isAbsolute(folder),
);

/** Where libraries are looked for: Debian has a folder for each architecture. */
const LIBRARIES = [
  `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
  "/usr/lib64",
  "/usr/lib",
];

const isFile = (file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true;

/** Ubuntu's Chromium is a snap. It cannot open a profile or a page of a test, which are outside of its home. */
const isSnap = (file) => realpathSync(file) === "/usr/bin/snap";

/**
 * Returns the path of a tool; undefined when it is missing.
 * @param {Tool} tool
 * @param {readonly string[]} [libraries] folders of libraries
 * @throws {Error} when its variable names no file
 */
export function findTool({ file, variable }, libraries = LIBRARIES) {
  const named = process.env[variable];
  if (named) {
    if (isFile(named)) return named;
    throw new Error(`${variable}: ${JSON.stringify(named)} is not a file`);
  }
  const folders = file.includes(".so.") ? libraries : FOLDERS;
  return folders
    .map((folder) => path.resolve(folder, file))
    .find((full) => isFile(full) && !isSnap(full));
}

/** Returns the command that installs tools on Debian. @param {readonly Tool[]} tools */
export function aptGet(tools) {
  const packages = tools.map(({ debian }) => debian);
  return ["apt-get", "install", "-y", "--no-install-recommends", ...packages];
}

/**
 * Returns how to install tools by hand, as lines.
 * @param {readonly Tool[]} tools
 * @param {{ id: string, like: string }} system ID and ID_LIKE of /etc/os-release
 */
export function byHand(tools, { id, like }) {
  const isDebian = id === "debian";
  const isApt = isDebian || /\b(debian|ubuntu)\b/.test(like);
  const lines = [];
  // Elsewhere than on Debian, and above all on Ubuntu, the package of Chromium may be one that tests cannot use.
  const packaged = isDebian ? tools : tools.filter(({ name }) => name !== "chromium");
  if (isApt && packaged.length > 0) {
    lines.push("sudo apt-get update", `sudo ${aptGet(packaged).join(" ")}`);
    // Its package starts a service at port 80.
    if (packaged.some(({ debian }) => debian === "nginx"))
      lines.push("sudo systemctl disable --now nginx");
  } else {
    for (const { name, debian } of packaged)
      lines.push(`${name}: the package that Debian calls ${debian}`);
  }
  if (packaged.length < tools.length) {
    const executable = "require('playwright-core').chromium.executablePath()";
    lines.push(
      "npm ci && npx playwright-core install --with-deps chromium",
      `export RINGCAST_CHROMIUM="$(node -p "${executable}")"`,
    );
  }
  const variables = tools.map(({ variable }) => variable);
  return [...lines, `or, where there are others: their paths in ${variables.join(", ")}`];
}

/**
 * Returns the path of a tool that a test needs.
 * @param {string} name
 * @throws {Error} when it is missing; the message says how to install it
 */
export function toolPath(name) {
  const tool = TOOLS.find((one) => one.name === name);
  if (!tool) throw new TypeError(`toolPath: ${JSON.stringify(name)} is not in .scripts/tools.mjs`);
  const found = findTool(tool);
  if (found) return found;
  const command = aptGet([tool]).join(" ");
  throw new Error(`there is no ${name}: ${command}, or its path in ${tool.variable}`);
}
