// Checks the options of `res.upgrade` and `res.events`, wherever the handler runs, and of fetchHandler's
// `info.upgrade`.

import type { EventsOptions, UpgradeOptions } from "../../handler";
import { isOptions, refuseUnknown } from "../../options/known";
import { checkFlag } from "../message/flags";
import { checkTopic } from "../message/topic";
import { show } from "../text/show";

const NAMES = [
  "data",
  "protocol",
  "handler",
  "headers",
  "idleTimeout",
  "maxPayloadLength",
  "compress",
] satisfies (keyof UpgradeOptions)[];

/** Checks a limit. @throws TypeError, RangeError naming the limit, the value and the range */
function checkLimit(name: string, value: unknown, max: number): void {
  if (value === undefined) return;
  if (typeof value !== "number") throw new TypeError(`${name}: ${show(value)} is not a number`);
  if (!(Number.isInteger(value) && value >= 0 && value <= max))
    throw new RangeError(`${name}: ${value} is not a whole number from 0 to ${max}`);
}

/**
 * Checks the options of an upgrade. `protocol` and `headers` are checked where they are used.
 * @throws TypeError, RangeError naming the option, the value and the range
 */
export function checkUpgrade(options: UpgradeOptions): void {
  if (!isOptions(options))
    throw new TypeError(`upgrade: ${show(options)} is not an object such as { data }`);
  refuseUnknown(options, {
    names: NAMES,
    prefix: "upgrade.",
    otherwise: "pass the value of ws.data as { data }",
  });
  checkLimit("idleTimeout", options.idleTimeout, 86400);
  checkLimit("maxPayloadLength", options.maxPayloadLength, 2 ** 31);
  checkFlag("compress", options.compress);
}

/** Checks the name of a module that is to get a WebSocket. @throws TypeError that lists the names that there are */
export function checkModuleName(name: unknown, names: readonly string[]): void {
  if (typeof name === "string" && names.includes(name)) return;
  const all = names.length === 0 ? ", which are not given" : `: ${names.map(show).join(", ")}`;
  throw new TypeError(`handler: ${show(name)} is not one of protocolHandlers${all}`);
}

const EVENTS_NAMES = ["data", "topics", "headers"] satisfies (keyof EventsOptions)[];

/**
 * Checks the options of an event stream. `headers` are checked where they are used.
 * @throws TypeError, RangeError naming the option and the value
 */
export function checkEvents(options: EventsOptions): void {
  if (!isOptions(options))
    throw new TypeError(`events: ${show(options)} is not an object such as { topics }`);
  refuseUnknown(options, {
    names: EVENTS_NAMES,
    prefix: "events.",
    otherwise: "pass the value of ws.data as { data }",
  });
  const { topics } = options;
  if (topics === undefined) return;
  if (!Array.isArray(topics))
    throw new TypeError(`topics: ${show(topics)} is not a list of topics`);
  for (const topic of topics) checkTopic(topic);
}
