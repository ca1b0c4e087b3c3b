// The options of `serve` as flags: those of the tables, named in kebab-case like node's own, and those beside them.
//
// Invariant: each option that text can express has a flag (a logger, a signal, callbacks and virtual hosts are for
// programs). The option's own check validates the value, and its message names the flag.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { ListenerName } from "../options/members";
import type { ListenerOptions, Options, PoolOptions } from "../options/types";
import { plan } from "../options/plan";
import { OPTIONS, type OptionRow, POOL_OPTIONS } from "../options/table";
import { type Flag, type Given, textOf } from "./flags";
import { LISTENER_FLAGS, listenersOf } from "./listeners";
import { Failure, UsageError, parseValue, rangeText, valueText } from "./values";

type Row = OptionRow<string>;

/** Options of single listeners, and the others. */
const LISTENER_ROWS = OPTIONS.filter((row) => row.listener) as readonly OptionRow<ListenerName>[];
const OTHER_ROWS = OPTIONS.filter((row) => !row.listener);

/** Converts an option's name to its flag's: "maxWebSockets" to "max-web-sockets". */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Placeholders of values in the help, by unit. */
const VALUES: Readonly<Record<Exclude<OptionRow["unit"], "flag">, string>> = {
  bytes: "SIZE",
  MiB: "MIB",
  ms: "TIME",
  s: "TIME",
  count: "N",
  word: "WORD",
  port: "PORT",
};

function flagOf(row: Row, prefix = ""): Flag {
  const { unit, text, name } = row;
  const shared = { name: prefix + kebab(name), text };
  const range = `Default ${valueText(row, row.default)}`;
  if (unit === "flag")
    return { ...shared, range: row.default === true ? `Default: on; --no-${shared.name}.` : "" };
  const short = name === "port" ? { short: "p" } : {};
  return { ...shared, ...short, value: VALUES[unit], range: `${range}; ${rangeText(row)}.` };
}

/** Returns an option's flag, and those of its parts. */
function flagsOf(row: Row): Flag[] {
  const parts = Object.entries(row.parts ?? {});
  return [
    flagOf(row),
    ...parts.map(([name, text]) => ({ name: `${kebab(row.name)}-${kebab(name)}`, text })),
  ];
}

const LISTS: readonly (readonly [keyof Options, string, string])[] = [
  [
    "origins",
    "ORIGIN",
    'Origins whose pages may open WebSockets; "*" for any. Default: this server.',
  ],
  [
    "hosts",
    "HOST",
    "Hosts that requests may name, such as a.example or *.a.example. Default: any.",
  ],
  ["protocols", "NAME", "Subprotocols; the first that a client offers is chosen."],
  ["trustProxy", "ADDRESS", "Trusted proxies: an address, a range, or loopback, unix, …"],
  [
    "proxyProtocol",
    "ADDRESS",
    'Peers that must send a PROXY header, as in --trust-proxy; "*": all.',
  ],
];

const OTHERS: readonly Flag[] = [
  {
    name: "hostname",
    value: "ADDRESS",
    text: "Address to listen on.",
    range: "Default 127.0.0.1.",
  },
  {
    name: "path",
    value: "FILE",
    text: "A Unix socket to listen on, instead of hostname and port.",
  },
  {
    name: "fd",
    value: "N",
    text: "Descriptor of a listening socket, instead of hostname and port.",
  },
  ...LISTENER_FLAGS,
  { name: "tls-key", value: "FILE", text: "Key for TLS, in PEM." },
  { name: "tls-cert", value: "FILE", text: "Certificate for TLS, in PEM." },
  {
    name: "error-pages",
    value: "STATUS=FILE",
    isList: true,
    text: "A file that is the body of error responses with a status, such as 404=404.html.",
  },
  {
    name: "raw",
    value: "ADDRESS",
    text: "Connections that are not HTTP are handed to host:port, [::1]:port, or a Unix socket.",
  },
  {
    name: "protocol-handlers",
    value: "NAME=FILE",
    isList: true,
    text: "A module that handles the WebSockets of a subprotocol, such as chat=chat.mjs.",
  },
  {
    name: "default-protocol",
    value: "NAME",
    text: "The one of them that handles WebSockets without a subprotocol.",
  },
  { name: "server-header", value: "TEXT", text: "Value of the Server field in every response." },
  {
    name: "access-log",
    value: "FILE",
    text: 'Append a line for each response to a file; "-": standard output. SIGHUP opens it again.',
  },
  {
    name: "access-log-format",
    value: "WORD",
    text: "The lines of the access log.",
    range: 'Default "combined"; "combined", "json".',
  },
  { name: "metrics", value: "PATH", text: "Serve OpenMetrics at this path, such as /metrics." },
  {
    name: "metrics-addresses",
    value: "ADDRESS",
    isList: true,
    text: 'Clients that may read the metrics, as in --trust-proxy; "*": all.',
    range: "Default loopback.",
  },
];

/** All flags of a server. */
export const SERVER_FLAGS: readonly Flag[] = [
  ...OPTIONS.filter(({ name }) => name === "port").map((row) => flagOf(row)),
  ...OTHERS,
  ...LISTS.map(([name, value, text]) => ({ name: kebab(name), value, text, isList: true })),
  ...OPTIONS.filter(({ name }) => name !== "port").flatMap(flagsOf),
  ...POOL_OPTIONS.map((row) => flagOf(row, "pool-")),
];

/** Returns the value of a table's option from its flag; undefined when the flag is not given. @throws UsageError */
function readFlag(row: Row, given: Given, name: string): number | boolean | string | undefined {
  const value = given.get(name);
  if (value === undefined || typeof value === "boolean") return value;
  const [text = ""] = value;
  const read = parseValue(row, text);
  if (Number.isNaN(read)) throw new UsageError(`--${name}: ${text} is not from ${rangeText(row)}`);
  return read;
}

function tableOf<Name extends string>(
  rows: readonly OptionRow<Name>[],
  given: Given,
  prefix = "",
): Partial<Record<Name, number | boolean | string>> {
  const values: Partial<Record<Name, number | boolean | string>> = {};
  for (const row of rows) {
    const value = readFlag(row, given, prefix + kebab(row.name));
    if (value !== undefined) values[row.name] = value;
  }
  return values;
}

/** Returns the parts of `events`; undefined when none is given. @throws UsageError */
function eventsOf(given: Given): Options["events"] {
  const names = given.get("events-names");
  if (typeof names !== "boolean") return undefined;
  if (given.get("events") !== true) throw new UsageError("--events-names: needs --events");
  return { names };
}

/** Reads the file that a flag names. @throws Failure */
function fileOf(given: Given, name: string): string | undefined {
  const file = textOf(given, name);
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Failure(`--${name}: ${(error as Error).message}`);
  }
}

function tlsOf(given: Given): Options["tls"] {
  const key = fileOf(given, "tls-key");
  const cert = fileOf(given, "tls-cert");
  if (key === undefined && cert === undefined) return undefined;
  if (key === undefined || cert === undefined)
    throw new UsageError("--tls-key, --tls-cert: one needs the other");
  return { key, cert };
}

function metricsOf(given: Given): Options["metrics"] {
  const path = textOf(given, "metrics");
  const addresses = listOf(given, "metrics-addresses");
  if (path === undefined) {
    if (addresses) throw new UsageError("--metrics-addresses: needs --metrics");
    return undefined;
  }
  return addresses ? { path, addresses } : { path };
}

function accessLogOf(given: Given): Options["accessLog"] {
  const file = textOf(given, "access-log");
  const format = textOf(given, "access-log-format");
  if (file === undefined) {
    if (format !== undefined) throw new UsageError("--access-log-format: needs --access-log");
    return undefined;
  }
  // The option's own check refuses another word.
  return format === undefined ? { file } : { file, format: format as "json" };
}

/**
 * Returns the files that a flag gives by their keys.
 * @param form of the flag's values, such as "STATUS=FILE"
 * @throws UsageError
 */
function filesOf(given: Given, name: string, form: string): Record<string, string> | undefined {
  const list = given.get(name);
  if (!Array.isArray(list)) return undefined;
  const files: Record<string, string> = {};
  for (const text of list as readonly string[]) {
    const [, key = "", file = ""] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (file === "") throw new UsageError(`--${name}: ${text} is not ${form}`);
    if (Object.hasOwn(files, key)) throw new UsageError(`--${name}: ${key} is given twice`);
    files[key] = file;
  }
  return files;
}

/** Returns the modules of subprotocols. @throws UsageError */
function protocolHandlersOf(given: Given): Options["protocolHandlers"] {
  const files = filesOf(given, "protocol-handlers", "NAME=FILE");
  const urls = Object.entries(files ?? {}).map(([name, file]) => [name, pathToFileURL(file)]);
  return files && Object.fromEntries(urls);
}

/** Flags with which "*" sets the option to true, which means all. */
const ALL: ReadonlySet<string> = new Set(["proxy-protocol", "metrics-addresses"]);

/** Returns a list of words; true for "*" when that means all. */
function listOf(given: Given, name: string): readonly string[] | true | undefined {
  const list = given.get(name);
  if (!Array.isArray(list)) return undefined;
  return list.includes("*") && ALL.has(name) ? true : list;
}

/** Replaces the option's name at the start of an error message by the flag's, if it has one. */
export function named(message: string): string {
  const own = message.replace(/^listen\[\d+\]\./, "");
  const [option = "", group, name = "", key] =
    /^(?:(pool|metrics|tls|accessLog|events)\.)?([a-zA-Z]+)(?:\["?([\w.-]+)"?\])?(?=:)/.exec(own) ??
    [];
  const full =
    (group === "metrics" && name === "path") || (group === "accessLog" && name === "file")
      ? group
      : [group, name].filter(Boolean).join("-");
  const flag = SERVER_FLAGS.find((one) => one.name === kebab(full));
  if (!flag) return message;
  return `--${flag.name}${key ? ` ${key}` : ""}${own.slice(option.length)}`;
}

/**
 * Checks the options that flags give, and returns them.
 * @param handler URL of the module, if there is one
 * @throws UsageError naming the flag, the value and the range; Failure for a file that cannot be read
 */
export function optionsOf(given: Given, handler: string | undefined): Options {
  const pool = tableOf(POOL_OPTIONS, given, "pool-") as PoolOptions;
  const fd = textOf(given, "fd");
  const listener: Record<string, unknown> = {
    ...tableOf(LISTENER_ROWS, given),
    hostname: textOf(given, "hostname"),
    path: textOf(given, "path"),
    fd: fd === undefined ? undefined : Number(fd),
    tls: tlsOf(given),
    proxyProtocol: listOf(given, "proxy-protocol"),
  };
  for (const name in listener) if (listener[name] === undefined) delete listener[name];
  const listen = listenersOf(given, listener as ListenerOptions);
  const events = eventsOf(given);
  const options: Record<string, unknown> = {
    ...tableOf(OTHER_ROWS, given),
    ...(events ? { events } : {}),
    ...(listen ? { listen } : listener),
    handler,
    errorPages: filesOf(given, "error-pages", "STATUS=FILE"),
    protocolHandlers: protocolHandlersOf(given),
    defaultProtocol: textOf(given, "default-protocol"),
    accessLog: accessLogOf(given),
    serverHeader: textOf(given, "server-header"),
    raw: textOf(given, "raw"),
    pool: Object.keys(pool).length > 0 ? pool : undefined,
    metrics: metricsOf(given),
  };
  for (const [name] of LISTS)
    if (name !== "proxyProtocol") options[name] = listOf(given, kebab(name));
  try {
    plan(options as Options);
  } catch (error) {
    throw new UsageError(named((error as Error).message));
  }
  return options as Options;
}
