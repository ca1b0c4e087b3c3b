// Proves in a fresh Debian that the README's commands need nothing else: Node, npm and git of a minimal system, then
// what is committed of this checkout.
//
//   node .scripts/fresh.mjs bookworm|trixie FOLDER [--copy FILE]… -- COMMAND
//   node .scripts/fresh.mjs trixie /tmp/trixie -- npm test
//
// As root, with debootstrap installed. FOLDER becomes the root of the system; it is kept, and a second run takes it as
// it is, with a fresh checkout. `--copy` takes over files of this machine, such as /etc/ssl/certs/ca-certificates.crt.
// The environment of this process is the command's, apart from HOME and PATH.
//
// Invariant: processes and mounts are the system's own; all end with the command.

import "./node.mjs";
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { execFileSync } from "node:child_process";
import { ended } from "./child.mjs";

const USAGE = "node .scripts/fresh.mjs bookworm|trixie FOLDER [--copy FILE]… -- COMMAND";
const source = fileURLToPath(new URL("..", import.meta.url));
const at = process.argv.indexOf("--");
const command = at < 0 ? [] : process.argv.slice(at + 1);
const { positionals, values } = parseArgs({
  args: process.argv.slice(2, at < 0 ? undefined : at),
  allowPositionals: true,
  options: { copy: { type: "string", multiple: true, default: [] } },
});
const [suite, folder] = positionals;
if (!suite || !folder || command.length === 0) {
  console.error(USAGE);
  process.exit(2);
}
const system = path.resolve(folder);
const within = (file) => path.join(system, file);

async function run(...words) {
  const { code } = await ended(words);
  if (code !== 0) process.exit(1);
}

/** Makes the system: a minimal Debian with git, and this machine's Node and npm where an installer puts them. */
async function make() {
  const packages = "--include=git,ca-certificates";
  await run("debootstrap", "--variant=minbase", packages, suite, system);
  // Files that an installer writes and debootstrap does not.
  writeFileSync(within("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n");
  const npm = path.join(execFileSync("npm", ["root", "-g"], { encoding: "utf8" }).trim(), "npm");
  cpSync(npm, within("usr/local/lib/node_modules/npm"), { recursive: true });
  for (const name of ["npm", "npx"]) {
    const target = `../lib/node_modules/npm/bin/${name}-cli.js`;
    symlinkSync(target, within(`usr/local/bin/${name}`));
  }
  cpSync(process.execPath, within("usr/local/bin/node"));
}

if (!existsSync(within("usr/local/bin/node"))) await make();
for (const file of values.copy) cpSync(file, within(file), { recursive: true, dereference: true });
rmSync(within("root/ringcast"), { recursive: true, force: true });
mkdirSync(within("root"), { recursive: true });
await run("git", "clone", "--quiet", source, within("root/ringcast"));

const mounts = `mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys" && mount -t proc proc "$0/proc"`;
const enter = 'exec chroot "$0" sh -c \'cd /root/ringcast && exec "$@"\' sh "$@"';
const { code } = await ended(
  [
    ...["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"],
    ...[`${mounts} && ${enter}`, system, ...command],
  ],
  { env: { HOME: "/root", PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" } },
);
process.exit(code === 0 ? 0 : 1);
