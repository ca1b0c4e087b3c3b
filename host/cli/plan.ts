// `ringcast plan`: prints what a server with these options takes, before anything starts.

import { descriptorLimit, fitDescriptors } from "../limits";
import type { Options } from "../options/types";
import { planOf } from "../options/plan";
import { settle } from "../options/settle";
import { type Flag, type Given, numberOf } from "./flags";
import { SERVER_FLAGS, optionsOf } from "./options";
import { bold, say, table } from "./terminal";
import { UsageError, bytesText, countText, parseRate, parseSize, secondsText } from "./values";

export const PLAN_FLAGS: readonly Flag[] = [
  {
    name: "rate",
    value: "RATE",
    text: "Bytes published per second, such as 1MB/s. Used for the horizon: how long a client may stall.",
    range: "Default 1MB/s.",
  },
  {
    name: "message",
    value: "SIZE",
    text: "Size of a message, because the lag in messages is limited, too.",
    range: "Default 200.",
  },
  ...SERVER_FLAGS,
];

/** Returns the options, fitted to the limits of this process. @throws UsageError */
function fitted(options: Options, limit: number): Options {
  try {
    return fitDescriptors(options, settle(options), limit);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Returns the bytes of a frame's header. */
function headBytes(length: number): number {
  return length < 126 ? 2 : length < 65536 ? 4 : 10;
}

export function runPlan(given: Given): void {
  const rate = numberOf(given, "rate", { read: parseRate, min: 1, standard: 1e6 });
  const message = numberOf(given, "message", {
    read: parseSize,
    min: 0,
    max: 2 ** 30,
    standard: 200,
  });
  const limit = descriptorLimit();
  const options = fitted(optionsOf(given, undefined), limit);
  const { values } = settle(options);
  const { regions, total, descriptors } = planOf(settle(options));
  say(bold("Memory"));
  const rows = regions
    .filter(({ bytes }) => bytes > 0)
    .map(({ region, bytes, options: names }): [string, string, string] => [
      `  ${region}`,
      bytesText(bytes),
      names.join(", "),
    ]);
  const most = bytesText(values.maxMemory);
  say(table([...rows, ["  total", bytesText(total), `of ${most} (maxMemory)`]]));
  say("  Pages that are never touched cost nothing.");
  if (total > values.maxMemory) say(bold("  The server would refuse to start. Raise maxMemory."));

  const seconds = values.ring / rate;
  const frames = (values.maxQueuedFrames * (message + headBytes(message))) / rate;
  const what = frames < seconds ? "maxQueuedFrames" : "ring";
  say(`\n${bold("Horizon")}, how long a client may stall`);
  const each = `${countText(rate / (message + headBytes(message)))} messages a second`;
  const at = `at ${countText(rate)}B/s, ${each}; limited by ${what}`;
  say(table([["  ", secondsText(Math.min(seconds, frames)), at]]));

  say(`\n${bold("Descriptors")}`);
  const have = Number.isFinite(limit) ? `${limit}` : "any number";
  say(table([["  ", String(descriptors), `for connections; this process may have ${have}`]]));
}
