#!/usr/bin/env node
// The command line: `ringcast [FOLDER | CONFIG.json | handler.js]`, `ringcast plan`, `ringcast load`, `ringcast stats`.
//
// Invariant: a mistake in the command is one line on stderr and exit code 2. A failure is one line and exit code 1.
// Only a bug of Ringcast's own prints a stack.

import { readFileSync } from "node:fs";
import { type Flag, type Given, flagsText, parseFlags } from "./cli/flags";
import { LOAD_FLAGS, runLoad } from "./cli/load";
import { PLAN_FLAGS, runPlan } from "./cli/plan";
import { SERVE_FLAGS, runServe } from "./cli/serve";
import { STATS_FLAGS, runStats } from "./cli/stats";
import { bold, columns, complain, say } from "./cli/terminal";
import { Failure, UsageError } from "./cli/values";

interface Command {
  readonly usage: string;
  readonly text: string;
  readonly flags: readonly Flag[];
  run(given: Given, words: readonly string[]): unknown;
}

/** Returns the only word, a URL. @throws UsageError for no word or several */
function theUrl(words: readonly string[]): string {
  const [url, more] = words;
  if (url === undefined) throw new UsageError("the URL of a server is missing");
  if (more !== undefined) throw new UsageError(`${more}: only one URL is allowed`);
  return url;
}

function noWords([word]: readonly string[]): void {
  if (word !== undefined) throw new UsageError(`${word}: this command takes only options`);
}

const SERVE: Command = {
  usage: "ringcast [FOLDER | CONFIG.json | handler.js] [options]",
  text: "Serves a folder's files, a configuration file (.json, .jsonc), a handler module, or a live page.",
  flags: SERVE_FLAGS,
  run: (given, words) => runServe(given, words, Object.keys(COMMANDS)),
};

const COMMANDS: Readonly<Record<string, Command>> = {
  plan: {
    usage: "ringcast plan [options]",
    text: "Shows what a server with these options takes: memory, the time that a client may stall, descriptors.",
    flags: PLAN_FLAGS,
    run(given, words) {
      noWords(words);
      runPlan(given);
    },
  },
  load: {
    usage: "ringcast load URL [options]",
    text: "Opens WebSockets to a server of any kind, and measures what they receive.",
    flags: LOAD_FLAGS,
    run: (given, words) => runLoad(theUrl(words), given),
  },
  stats: {
    usage: "ringcast stats URL [options]",
    text: "Shows the metrics of a running server, found at URL, at its /metrics or at its /stats.",
    flags: STATS_FLAGS,
    run: (given, words) => runStats(theUrl(words), given),
  },
};

const COMMON: readonly Flag[] = [
  { name: "help", short: "h", text: "Show this." },
  { name: "version", short: "v", text: "Show the version." },
];

/** The options that only programs can give. */
const WITHOUT_FLAGS =
  "Mounts, virtual hosts and further options of TLS have no flags; a configuration file has them.\n" +
  "Loggers and callbacks are for programs that call serve().";

function version(): string {
  const file = new URL("../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

function help(command: Command): string {
  const commands = Object.values(COMMANDS).map(
    ({ usage, text }) => `  ${usage}\n        ${text}\n`,
  );
  return [
    `Usage: ${bold(command.usage)}\n\n${command.text}\n`,
    ...(command === SERVE ? [`\nOther commands, each with --help:\n${commands.join("")}`] : []),
    "\nSizes: bytes, or with a unit, such as 64k, 16MiB (of 1,024), 1MB (of 1,000). Times: such as 500ms, 30s, 5m.\n\n",
    flagsText([...COMMON, ...command.flags], bold, columns()),
    ...(command === SERVE ? [`\n${WITHOUT_FLAGS}\n`] : []),
  ].join("");
}

async function run(args: readonly string[]): Promise<void> {
  const [first = ""] = args;
  const named = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
  const command = named ?? SERVE;
  // The reader of the output may close it, and its disk may be full. Neither ends a server.
  process.stdout.on("error", () => {
    if (command !== SERVE) process.exit(0);
  });
  const { given, words } = parseFlags(named ? args.slice(1) : args, [...COMMON, ...command.flags]);
  if (given.get("help")) process.stdout.write(help(command));
  else if (given.get("version")) say(version());
  else await command.run(given, words);
}

process.stderr.on("error", () => undefined);
try {
  await run(process.argv.slice(2));
} catch (error) {
  const isUsage = error instanceof UsageError;
  if (!isUsage && !(error instanceof Failure)) throw error;
  complain(error.message);
  if (isUsage) console.error("Try ringcast --help.");
  process.exitCode = isUsage ? 2 : 1;
}
