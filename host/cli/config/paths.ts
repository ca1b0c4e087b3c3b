// The values of a configuration file that are not taken as they are: paths, modules, secrets and permissions.
//
// Invariant: paths are relative to the file. A secret is never in it: keys, certificates and passphrases are named by
// the paths of their files, and their texts are refused without being shown.

import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { isModuleUrl } from "../../options/site/modules";
import { show } from "../../shared/text/show";
import type { Place } from "./text";

/** Reads a value. @param name its option, for errors @param folder the file's own */
type Convert = (value: unknown, name: string, folder: string) => unknown;

const onStrings =
  (convert: (text: string, name: string, folder: string) => unknown): Convert =>
  (value, name, folder) =>
    typeof value === "string" ? convert(value, name, folder) : value;

const toPath = onStrings((text, _, folder) => (text === "" ? text : path.resolve(folder, text)));

/** Paths but for a leading NUL, which names an abstract socket. */
const toSocket = onStrings((text, _, folder) =>
  text === "" || text.startsWith("\0") ? text : path.resolve(folder, text),
);

const toLog = onStrings((text, _, folder) =>
  text === "-" || text === "" ? text : path.resolve(folder, text),
);

const toModule = onStrings((text, _, folder) =>
  text === "" || isModuleUrl(text) ? text : pathToFileURL(path.resolve(folder, text)).href,
);

/** Reads the file of a secret. @throws TypeError for a text that is the secret itself */
function secretOf(text: string, name: string, folder: string): Buffer {
  if (/-----BEGIN|\n/.test(text))
    throw new TypeError(`${name}: is the text of a file; give the path of the file`);
  if (text === "") throw new TypeError(`${name}: "" is not the path of a file`);
  try {
    return readFileSync(path.resolve(folder, text));
  } catch (thrown) {
    throw new TypeError(`${name}: ${(thrown as Error).message}`);
  }
}

const toBytes = onStrings((text, name, folder) => new Uint8Array(secretOf(text, name, folder)));
const toText = onStrings((text, name, folder) => secretOf(text, name, folder).toString("utf8"));
/** Editors end a file with a line break, which is no part of a passphrase. */
const toPassphrase = onStrings((text, name, folder) =>
  secretOf(text, name, folder)
    .toString("utf8")
    .replace(/\r?\n$/, ""),
);

/** Reads permissions, which JSON has no octal numbers for. */
const toMode = onStrings((text, name) => {
  if (!/^(?:0o?)?[0-7]{3}$/.test(text))
    throw new TypeError(`${name}: ${show(text)} is not an octal number such as "660"`);
  return Number.parseInt(text.replace("0o", ""), 8);
});

const SECRETS: Readonly<Record<string, Convert>> = {
  ...{ key: toText, cert: toText, ca: toText, crl: toText, dhparam: toText },
  ...{ pfx: toBytes, ticketKeys: toBytes, passphrase: toPassphrase },
};

/** How the values at some places are read. "*": any name or index. */
const RULES: readonly (readonly [place: readonly string[], convert: Convert])[] = [
  [["handler"], toModule],
  [["protocolHandlers", "*"], toModule],
  [["path"], toSocket],
  [["listen", "*", "path"], toSocket],
  [["listen", "*", "mode"], toMode],
  [["errorPages", "*"], toPath],
  [["accessLog", "file"], toLog],
  ...(["files", "zip"] as const).map((name) => [["mounts", "*", name], toPath] as const),
  ...(["source", "handler"] as const).map((name) => [["mounts", "*", name], toModule] as const),
  ...Object.entries(SECRETS).flatMap(([name, convert]) => [
    [["tls", name], convert] as const,
    [["tls", name, "*"], convert] as const,
    [["listen", "*", "tls", name], convert] as const,
    [["listen", "*", "tls", name, "*"], convert] as const,
  ]),
];

function fits(place: Place, rule: readonly string[]): boolean {
  return (
    place.length === rule.length && rule.every((one, i) => one === "*" || one === String(place[i]))
  );
}

/** Writes a place as errors name it, such as `mounts[0].files` or `virtualHosts["a.example"].tls.key`. */
function nameOf(place: Place): string {
  return place
    .map((key, i) => {
      if (typeof key === "number") return `[${key}]`;
      if (i === 0) return key;
      return place[0] === "virtualHosts" && i === 1 ? `[${JSON.stringify(key)}]` : `.${key}`;
    })
    .join("");
}

/** Returns a value of a file as `serve` takes it. @throws TypeError naming the option */
export function resolved(value: unknown, place: Place, folder: string): unknown {
  const [first] = place;
  // A virtual host has options of the server, and sockets of listeners in its own `listen`.
  const isListed = first === "virtualHosts" && place[2] === "listen";
  const within = first === "virtualHosts" && !isListed ? place.slice(2) : place;
  if (isListed) return toSocket(value, nameOf(place), folder);
  const rule = RULES.find(([of]) => fits(within, of));
  return rule ? rule[1](value, nameOf(place), folder) : value;
}
