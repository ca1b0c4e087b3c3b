// Reads the option `mounts`: the files, servers, redirects and handlers below some paths, in front of the handler.
//
// Invariant: a wrong option of an entry is one TypeError or RangeError that begins with the entry, such as
// `mounts[1].files`. Two mounts never have the same path.

import { show } from "../../shared/text/show";
import { checkField } from "../../shared/request/response";
import { isOptions, readOptions } from "../known";
import type { ModuleList } from "./modules";
import { isList, readAddresses } from "../read";
import { DAY } from "../table";
import type { UpstreamAddress } from "../../../worker/net/transport";
import { hostOf } from "../../shared/text/origin";
import type { MountOptions, Options } from "../types";

/** Settings that all kinds of mounts have. */
interface CommonSettings {
  /** Its name in errors, such as "mounts[0]". */
  readonly option: string;
  /** The decoded path below which it serves: "/", or one without a slash at its end. */
  readonly path: string;
  /** Whether it serves nothing but `res.pass`. */
  readonly internal: boolean;
  /** Clients that it serves; undefined: all. */
  readonly addresses: readonly string[] | undefined;
  /** Further fields of its responses. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** How files are served, wherever they come from. */
export interface FileRules {
  /** Name of the file that a folder's URL serves; "": none. */
  readonly index: string;
  /** Path below the mount of the file that navigations to unknown paths get; "": none. */
  readonly spa: string;
  /** Seconds for which caches may use a response without asking again. */
  readonly maxAge: number;
  /** Path below the mount of files whose names change with their contents; "": none. */
  readonly immutable: string;
  /** Content-Types by the ends of names, without the dot and in lower case. */
  readonly types: Readonly<Record<string, string>>;
}

/** A mount, as plain data that can be sent to a worker. */
export type MountSettings = CommonSettings &
  (
    | { readonly kind: "files"; readonly root: string; readonly rules: FileRules }
    | { readonly kind: "zip"; readonly root: string; readonly rules: FileRules }
    | { readonly kind: "source"; readonly module: number; readonly rules: FileRules }
    | {
        readonly kind: "proxy";
        readonly backend: { readonly address: UpstreamAddress; readonly secure: boolean };
        readonly strip: boolean;
        readonly timeout: number;
      }
    | { readonly kind: "redirect"; readonly to: string; readonly status: number }
    | { readonly kind: "handler"; readonly module: number }
  );
export type MountKind = MountSettings["kind"];

/** Most mounts of one list. More is a RangeError. */
const MAX_MOUNTS = 1000;
/** Most seconds of `maxAge`: a year (RFC 2616 14.21 allowed no more, and caches keep nothing for longer). */
const MAX_AGE = 31536000;
/** Most characters of a path. */
const PATH_LENGTH = 4096;

const KINDS: readonly MountKind[] = ["files", "zip", "source", "proxy", "redirect", "handler"];
const COMMON: readonly (keyof MountOptions)[] = ["path", "headers", "addresses", "internal"];
const FILES: readonly (keyof MountOptions)[] = ["index", "spa", "maxAge", "immutable", "types"];
const OF_KIND: Readonly<Record<MountKind, readonly (keyof MountOptions)[]>> = {
  files: FILES,
  zip: FILES,
  source: FILES,
  proxy: ["strip", "timeout"],
  redirect: ["status"],
  handler: [],
};
const NAMES: readonly (keyof MountOptions)[] = [
  ...COMMON,
  ...KINDS,
  ...FILES,
  "status",
  "strip",
  "timeout",
];
const ALIASES = {
  root: "files",
  folder: "files",
  dir: "files",
  directory: "files",
  to: "redirect",
  upstream: "proxy",
  backend: "proxy",
  target: "proxy",
  url: "path",
  prefix: "path",
  route: "path",
  fallback: "spa",
  cacheControl: "maxAge",
  mimeTypes: "types",
  contentTypes: "types",
};

/** Returns true for a decoded path that has one reading: no segment is empty or made of dots, none has a control. */
function isOneReading(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to refuse
  return path.startsWith("/") && !/\/(?=\/)|\/\.\.?(?=\/|$)|[\0-\x1f\x7f\\]/.test(path);
}

/** Checks the path of a mount. @returns it without a slash at its end */
function readPath(path: unknown, option: string): string {
  const name = `${option}.path`;
  if (typeof path !== "string" || !isOneReading(path) || /[?#]/.test(path))
    throw new TypeError(`${name}: ${show(path)} is not a path such as "/" or "/assets"`);
  if (path.length > PATH_LENGTH)
    throw new RangeError(`${name}: ${path.length} characters are more than ${PATH_LENGTH}`);
  if (/%[\da-f]{2}/i.test(path))
    throw new TypeError(`${name}: ${show(path)} has an escape; write the character itself`);
  return path === "/" ? path : path.replace(/\/$/, "");
}

/** Checks the path of a file or folder below a mount. @returns it with a slash at its begin */
function readBelow(path: unknown, name: string, example: string): string {
  if (path === undefined) return "";
  const below = typeof path === "string" && !path.startsWith("/") ? `/${path}` : path;
  if (typeof below !== "string" || below === "/" || !isOneReading(below))
    throw new TypeError(`${name}: ${show(path)} is not a path below the mount such as ${example}`);
  return below;
}

function readIndex(index: unknown, option: string): string {
  if (index === undefined) return "index.html";
  if (index === false) return "";
  if (typeof index !== "string" || index === "" || !isOneReading(`/${index}`) || /\//.test(index))
    throw new TypeError(
      `${option}.index: ${show(index)} is neither the name of a file such as "index.html" nor false`,
    );
  return index;
}

function readAge(maxAge: unknown, option: string): number {
  if (maxAge === undefined) return 0;
  if (typeof maxAge !== "number")
    throw new TypeError(`${option}.maxAge: ${show(maxAge)} is not a number of seconds`);
  if (!Number.isInteger(maxAge) || maxAge < 0 || maxAge > MAX_AGE)
    throw new RangeError(
      `${option}.maxAge: ${maxAge} is not a whole number of seconds from 0 to ${MAX_AGE}`,
    );
  return maxAge;
}

/** Returns an object's own members. @throws TypeError */
function membersOf(given: unknown, name: string, what: string): [string, unknown][] {
  if (given === undefined) return [];
  if (!isOptions(given)) throw new TypeError(`${name}: ${show(given)} is not ${what}`);
  const known = { names: Object.keys(given), prefix: `${name}.` };
  return Object.entries(readOptions(given, known));
}

/** Returns whether a text can be the value of a Content-Type. */
const isMediaType = (text: unknown): text is string =>
  typeof text === "string" && text.length <= 256 && /^[!-~]+\/[!-~](?:[\t -~]*[!-~])?$/.test(text);

function readTypes(given: unknown, option: string): Record<string, string> {
  const name = `${option}.types`;
  const what = 'an object of media types by the ends of names, such as { md: "text/markdown" }';
  const types: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [end, type] of membersOf(given, name, what)) {
    const plain = end.replace(/^\./, "").toLowerCase();
    if (!/^[\w-]{1,32}$/.test(plain))
      throw new TypeError(`${name}: ${show(end)} is not the end of a name such as "md"`);
    if (!isMediaType(type))
      throw new TypeError(`${name}.${end}: ${show(type)} is not a media type`);
    types[plain] = type;
  }
  return types;
}

/** Fields that a mount writes itself. */
export const OWN_FIELDS = new Set([
  "accept-ranges",
  "allow",
  "content-encoding",
  "content-range",
  "date",
  "etag",
  "last-modified",
  "location",
]);

function readHeaders(given: unknown, option: string): (readonly [string, string])[] {
  const name = `${option}.headers`;
  return membersOf(given, name, "an object of fields").map(([field, value]) => {
    let checked: readonly [string, string];
    try {
      checked = checkField(field, value as string);
    } catch (thrown) {
      const message = (thrown as Error).message.replace(/^header: /, "");
      throw new TypeError(`${name}: ${message}`);
    }
    if (OWN_FIELDS.has(field.toLowerCase()))
      throw new TypeError(`${name}: ${field} is written by the mount itself`);
    return checked;
  });
}

/** Checks the target of a redirect: an absolute URL with a path, or a path. */
function readTarget(to: unknown, option: string): string {
  const name = `${option}.redirect`;
  const example = '"https://new.example/" or "/new"';
  const wrong = new TypeError(`${name}: ${show(to)} is not a URL or path such as ${example}`);
  if (typeof to !== "string" || !/^[!-~]+$/.test(to) || /[?#\\]/.test(to)) throw wrong;
  if (/^\/(?!\/)/.test(to)) return to;
  const [, scheme, authority, path] = /^(https?):\/\/([^/]+)(\/.*)?$/i.exec(to) ?? [];
  if (scheme === undefined || authority === undefined) throw wrong;
  const host = hostOf(authority);
  if (!host) throw wrong;
  return `${scheme.toLowerCase()}://${authority.toLowerCase()}${path ?? "/"}`;
}

/** Checks the address of a server behind this one. */
function readBackend(
  to: unknown,
  name: string,
): { readonly address: UpstreamAddress; readonly secure: boolean } {
  const wrong = new TypeError(
    `${name}: ${show(to)} is not "http://host:port", "https://host:port" or "unix:/path/to.sock"`,
  );
  if (typeof to !== "string") throw wrong;
  const [, path] = /^unix:(\/[^\0]{1,106})$/.exec(to) ?? [];
  if (path !== undefined) return { address: { path }, secure: false };
  const [, scheme, authority] = /^(https?):\/\/([^/?#@\s]+)\/?$/i.exec(to) ?? [];
  const host = authority === undefined ? undefined : hostOf(authority);
  if (!host || scheme === undefined) throw wrong;
  const secure = scheme.toLowerCase() === "https";
  const port = host.port === "" ? (secure ? 443 : 80) : Number(host.port);
  if (port < 1 || port > 65535) throw wrong;
  return { address: { host: host.name.replace(/^\[|\]$/g, ""), port }, secure };
}

function readFlag(value: unknown, name: string): boolean {
  if (value === undefined || typeof value === "boolean") return value === true;
  throw new TypeError(`${name}: ${show(value)} is not a boolean`);
}

/** Time (ms) for which a backend may send nothing. */
const BACKEND_TIMEOUT = 60000;

function readTimeout(value: unknown, name: string): number {
  if (value === undefined) return BACKEND_TIMEOUT;
  if (typeof value !== "number") throw new TypeError(`${name}: ${show(value)} is not a number`);
  if (!Number.isInteger(value) || value < 1 || value > DAY)
    throw new RangeError(`${name}: ${value} is not a whole number of ms from 1 to ${DAY}`);
  return value;
}

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

function readStatus(status: unknown, option: string): number {
  if (status === undefined) return 302;
  if (typeof status !== "number")
    throw new TypeError(`${option}.status: ${show(status)} is not a number`);
  if (!REDIRECTS.includes(status))
    throw new RangeError(`${option}.status: ${status} is not one of ${REDIRECTS.join(", ")}`);
  return status;
}

const ROOTS = { files: "a folder", zip: "an archive" } as const;

/** Checks the folder or archive of a mount. Whether it exists is checked where there are files. */
function readRoot(root: unknown, name: string, what: string): string {
  if (root instanceof URL) {
    if (root.protocol === "file:") return root.href;
    throw new TypeError(`${name}: ${show(root.href)} is not a file: URL`);
  }
  if (typeof root !== "string" || root === "" || root.includes("\0"))
    throw new TypeError(`${name}: ${show(root)} is not the path of ${what}, or its file: URL`);
  return root;
}

function readRules(given: Partial<MountOptions>, option: string): FileRules {
  return {
    index: readIndex(given.index, option),
    spa: readBelow(given.spa, `${option}.spa`, '"index.html"'),
    maxAge: readAge(given.maxAge, option),
    immutable: readBelow(given.immutable, `${option}.immutable`, '"/assets/"'),
    types: readTypes(given.types, option),
  };
}

/** Returns the kind of a mount. @throws TypeError when it has none, or two, or options of another kind */
function kindOf(given: Partial<MountOptions>, option: string): MountKind {
  const kinds = KINDS.filter((kind) => given[kind] !== undefined);
  const [kind, other] = kinds;
  if (kind === undefined)
    throw new TypeError(`${option}: one of ${KINDS.join(", ")} must say what it serves`);
  if (other !== undefined)
    throw new TypeError(`${option}: ${kind} and ${other} exclude each other`);
  const known = [...COMMON, kind, ...OF_KIND[kind]];
  const foreign = NAMES.find((name) => given[name] !== undefined && !known.includes(name));
  if (foreign !== undefined)
    throw new TypeError(`${option}.${foreign}: is no option of a mount with ${kind}`);
  return kind;
}

function readInternal(internal: unknown, kind: MountKind, option: string): boolean {
  if (!readFlag(internal, `${option}.internal`)) return false;
  if (kind === "redirect" || kind === "handler" || kind === "proxy")
    throw new TypeError(`${option}.internal: true is for mounts of files, and this has ${kind}`);
  return true;
}

function readMount(entry: object, option: string, modules: ModuleList): MountSettings {
  const known = { names: NAMES, prefix: `${option}.`, aliases: ALIASES };
  const given = readOptions<Partial<MountOptions>>(entry, known);
  const kind = kindOf(given, option);
  const common: CommonSettings = {
    option,
    path: readPath(given.path, option),
    internal: readInternal(given.internal, kind, option),
    addresses: readAddresses(given.addresses, `${option}.addresses`),
    fields: readHeaders(given.headers, option),
  };
  switch (kind) {
    case "files":
    case "zip": {
      const root = readRoot(given[kind], `${option}.${kind}`, ROOTS[kind]);
      return { ...common, kind, root, rules: readRules(given, option) };
    }
    case "source":
      return {
        ...common,
        kind,
        module: modules.add(given.source, `${option}.source`, "files"),
        rules: readRules(given, option),
      };
    case "proxy":
      return {
        ...common,
        kind,
        backend: readBackend(given.proxy, `${option}.proxy`),
        strip: readFlag(given.strip, `${option}.strip`),
        timeout: readTimeout(given.timeout, `${option}.timeout`),
      };
    case "redirect":
      return {
        ...common,
        kind,
        to: readTarget(given.redirect, option),
        status: readStatus(given.status, option),
      };
    case "handler":
      return { ...common, kind, module: modules.add(given.handler, `${option}.handler`) };
  }
}

/**
 * Reads a list of mounts.
 * @param prefix of the list in messages, such as `virtualHosts["a.example"].`
 * @throws TypeError, RangeError naming the entry and the option
 */
export function readMounts(
  { mounts }: Pick<Options, "mounts">,
  modules: ModuleList,
  prefix = "",
): readonly MountSettings[] {
  const name = `${prefix}mounts`;
  if (mounts === undefined) return [];
  if (!isList(mounts)) throw new TypeError(`${name}: ${show(mounts)} is not a list of mounts`);
  if (mounts.length > MAX_MOUNTS)
    throw new RangeError(`${name}: ${mounts.length} mounts are more than ${MAX_MOUNTS}`);
  const seen = new Map<string, string>();
  return Array.from(mounts, (entry: unknown, i) => {
    const option = `${name}[${i}]`;
    if (!isOptions(entry))
      throw new TypeError(`${option}: ${show(entry)} is not an object of options`);
    const mount = readMount(entry, option, modules);
    const first = seen.get(mount.path);
    if (first)
      throw new TypeError(`${option}.path: ${show(mount.path)} is the path of ${first}, too`);
    seen.set(mount.path, option);
    return mount;
  });
}

/** Refuses mounts of folders, archives and servers where there are no files and sockets. @throws TypeError */
export function refuseRoots(mounts: readonly (readonly MountSettings[] | undefined)[]): void {
  for (const mount of mounts.flatMap((list) => list ?? [])) {
    const { option, kind } = mount;
    if (kind === "files" || kind === "zip")
      throw new TypeError(
        `${option}.${kind}: ${show(mount.root)} is ${ROOTS[kind]}, and there are no files here; use source`,
      );
    if (kind === "proxy") throw new TypeError(`${option}.proxy: there are no sockets here`);
  }
}
