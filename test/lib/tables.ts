// The README's tables, and the types of the options, made from the tables of the code.

import { CloseReason } from "../../assembly/abi";
import { rangeText, valueText } from "../../host/cli/values";
import { CLOSE_TABLE } from "../../host/shared/close";
import type { Options } from "../../host/options/types";
import { plan } from "../../host/options/plan";
import { OPTIONS, type OptionName, type OptionRow, POOL_OPTIONS } from "../../host/options/table";

const NUMBERS = {
  ...{ bytes: "Unit: bytes.", MiB: "Unit: MiB.", ms: "Unit: ms.", s: "Unit: s." },
  ...{ count: "A whole number.", port: "A whole number." },
};

/** Returns the doc comment of an option: its description, unit, default and range. */
function rowText(row: OptionRow<string>): string {
  const { name, unit, text } = row;
  const isChoice = unit === "flag" || unit === "word";
  const isRate = unit === "bytes" && /Rate$/.test(name);
  const kind = isChoice ? "" : `${isRate ? "Unit: bytes per second." : NUMBERS[unit]} `;
  const live = row.live ? " `configure` can change it." : "";
  const range = `${isChoice ? "Values" : "Range"}: ${rangeText(row)}.${live}`;
  return `${text}\n\n${kind}Default: ${valueText(row, row.default)}. ${range}`;
}

/** Returns a doc comment of a member, in lines of at most 120 columns. */
function comment(text: string): string {
  const lines = text.split("\n").flatMap((line) => line.match(/.{1,115}(?= |$)|^$/g) ?? []);
  return ["  /**", ...lines.map((line) => `   * ${line.trim()}`.trimEnd()), "   */"].join("\n");
}

/** Returns the type of an option's value. */
function typeOf({ unit, words, parts }: OptionRow<string>): string {
  if (words) return words.map((word) => `"${word}"`).join(" | ");
  if (parts) {
    const members = Object.entries(parts).map(
      ([name, text]) => `        /** ${text} */\n        ${name}?: boolean;\n`,
    );
    return `\n    | boolean\n    | {\n${members.join("")}      }`;
  }
  if (unit === "flag") return "boolean";
  return unit === "bytes" || unit === "MiB" ? "Size" : "number";
}

/** Returns an interface with the options of a table. */
function interfaceOf(name: string, rows: readonly OptionRow<string>[]): string {
  const members = rows.map(
    (row) => `${comment(rowText(row))}\n  ${row.name}?:${typeOf(row).replace(/^(?!\n)/, " ")};`,
  );
  return `export interface ${name} {\n${members.join("\n")}\n}`;
}

/** Returns host/options/members.ts, the types of the tables' options. */
export function optionMembers(): string {
  const named = (rows: readonly OptionRow[]): string =>
    rows.map(({ name }) => `\n  | "${name}"`).join("");
  const live = named(OPTIONS.filter((row) => row.live));
  const listener = named(OPTIONS.filter((row) => row.listener));
  return [
    "// The types of the options in options/table.ts, generated from it by .scripts/readme.mjs.",
    'import type { Size } from "./size";',
    `/** The options of \`serve\` that are numbers, flags and words. */\n${interfaceOf("TableOptions", OPTIONS)}`,
    `/** Options of a pool of threads. */\n${interfaceOf("PoolOptions", POOL_OPTIONS)}`,
    `/** Names of the options that can change while the server runs. */\nexport type LiveName =${live};`,
    `/** Names of these options that each listener has for itself. */\nexport type ListenerName =${listener};\n`,
  ].join("\n\n");
}

/** Returns the texts of the causes, by their names. */
export function causeTexts(): Record<string, string> {
  return Object.fromEntries(Object.entries(CLOSE_TABLE).map(([name, { text }]) => [name, text]));
}

export function optionsTable(): string {
  return tableOf(OPTIONS);
}

export function poolTable(): string {
  return tableOf(POOL_OPTIONS);
}

function tableOf(options: readonly OptionRow<string>[]): string {
  const rows = options.map((row) => {
    const marks = `${row.live ? " ¹" : ""}${row.listener ? " ²" : ""}`;
    const { name, text } = row;
    return `| \`${name}\`${marks} | ${valueText(row, row.default)} | ${rangeText(row)} | ${text} |`;
  });
  return ["| option | default | range | what it does |", "|---|---|---|---|", ...rows].join("\n");
}

export function reasonsTable(): string {
  const rows = (Object.keys(CLOSE_TABLE) as (keyof typeof CLOSE_TABLE)[]).map((name) => {
    const { text, status, code } = CLOSE_TABLE[name];
    return `| ${CloseReason[name]} | \`${name}\` | ${status || ""} | ${code || ""} | ${text} |`;
  });
  return [
    "| number | cause | status | close code | meaning |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

/** A resource that is limited for each client. */
interface Limit {
  readonly what: string;
  readonly options: readonly OptionName[];
  readonly outcome: string;
}

const LIMITS: readonly Limit[] = [
  {
    what: "connections",
    options: ["maxConnections", "maxWebSockets"],
    outcome: "the oldest idle or unfinished one goes; an upgrade is 503",
  },
  {
    what: "connections of one address, or IPv6 /64",
    options: ["maxConnectionsPerAddress"],
    outcome: "a reset; an upgrade through a proxy is 429",
  },
  {
    what: "connections that are handed to the upstream of `raw`, half of this",
    options: ["maxConnections"],
    outcome: "a reset",
  },
  {
    what: "messages, pings, pongs a second",
    options: ["messageRate"],
    outcome: "close 1008",
  },
  {
    what: "requests a second",
    options: [],
    outcome: "not limited: limit them in the proxy or the handler",
  },
  {
    what: "fragments of a message",
    options: ["maxFragments"],
    outcome: "close 1008",
  },
  {
    what: "heads",
    options: ["maxHeadLength", "maxHeaders", "maxTargetLength"],
    outcome: "431; 414",
  },
  {
    what: "bodies",
    options: ["maxBodyLength", "maxStreamLength"],
    outcome: "413",
  },
  {
    what: "messages, inflated ones too",
    options: ["maxPayloadLength"],
    outcome: "close 1009",
  },
  {
    what: "messages over 64 KiB that are being inflated, twice this and 8 MiB in all",
    options: ["maxPayloadLength"],
    outcome: "waiting",
  },
  {
    what: "time for a handshake, a head, a request, a close",
    options: ["handshakeTimeout", "headersTimeout", "requestTimeout", "closeTimeout"],
    outcome: "408, or an end",
  },
  {
    what: "silence",
    options: ["keepAliveTimeout", "idleTimeout"],
    outcome: "an end",
  },
  {
    what: "slowness in sending",
    options: ["minReceiveRate", "rateGrace"],
    outcome: "408, close 1008",
  },
  {
    what: "slowness in reading",
    options: ["minSendRate", "rateGrace", "writeTimeout"],
    outcome: "a reset",
  },
  {
    what: "lag behind broadcasts",
    options: ["ring", "maxFrames", "slowGrace"],
    outcome: "a reset",
  },
  {
    what: "unfinished requests and messages",
    options: ["receiveBuffers", "maxReceivePerAddress", "bufferTimeout"],
    outcome: "waiting, then 503, 429, close 1013 for the largest",
  },
  {
    what: "answers and messages it has not read",
    options: ["maxBacklog", "replyBuffers", "maxReplyPerAddress"],
    outcome: "`send` is false, an answer a reset",
  },
  {
    what: "bodies that are sent as it reads them, a piece each",
    options: ["fileBuffers", "maxReplyPerAddress"],
    outcome: "smaller pieces, then waiting",
  },
  {
    what: "answers over 64 KiB that were not read, as many bytes again",
    options: ["replyBuffers", "maxReplyPerAddress"],
    outcome: "503, 429; one alone may be larger",
  },
  {
    what: "requests and events for the application's thread",
    options: ["maxPendingRequests", "maxPendingBytes"],
    outcome: "503; WebSockets are not read",
  },
  {
    what: "subscriptions",
    options: ["maxTopics", "maxSubscriptions"],
    outcome: "`subscribe` throws",
  },
];

/** Returns the table of limits for a client: the defaults, and the effect of reaching each. */
export function limitsTable(): string {
  const defaultOf = (name: OptionName): string => {
    const row = OPTIONS.find((one) => one.name === name) as OptionRow;
    const perSecond = /^min.*Rate$/.test(name) ? " B/s" : "";
    return `\`${name}\` (${row.default === 0 ? "off" : valueText(row, row.default) + perSecond})`;
  };
  const rows = LIMITS.map(({ what, options, outcome }) => {
    const bounds = options.map(defaultOf).join(", ") || "nothing";
    return `| ${what} | ${bounds} | ${outcome} |`;
  });
  return ["| a client's | bounded by (default) | then |", "|---|---|---|", ...rows].join("\n");
}

/** The options of the README's worked example. */
const PLANNED: Options = {
  maxWebSockets: 2000,
  ring: 4194304,
  inbox: 1048576,
  maxPayloadLength: 65536,
  receiveBuffers: 8388608,
  replyBuffers: 8388608,
};

const mebi = (bytes: number): string => `${(bytes / 1048576).toFixed(2)} MiB`;

/** Returns the table of the worked example's memory: regions of a hundredth of it and more. */
export function planTable(): string {
  const { regions, total, descriptors } = plan(PLANNED);
  const large = regions.filter(({ bytes }) => bytes >= total / 100);
  const rest = total - large.reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = large
    .toSorted((a, b) => b.bytes - a.bytes)
    .map(({ region, bytes, options }) => {
      const names = options.map((name) => `\`${name}\``).join(", ");
      return `| ${region} | ${mebi(bytes)} | ${names || "always so"} |`;
    });
  return [
    "| region | takes | bought by |",
    "|---|---|---|",
    ...rows,
    `| ${regions.length - large.length} smaller ones | ${mebi(rest)} | |`,
    `| **in all** | **${mebi(total)}** | and ${descriptors.toLocaleString("en")} descriptors |`,
  ].join("\n");
}
