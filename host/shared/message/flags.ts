// Checks ids and the options of messages and publications, and returns the flags of a message's record: whether its
// frame is text or binary, and whether it may be compressed. data.ts checks the data.
//
// Invariant: an unknown option is refused, so that a misspelled one is not silently ignored.

import { FrameFlag } from "../../../assembly/abi";
import type { Payload } from "./data";
import type { PublishOptions, SendOptions } from "../../handler";
import { refuseUnknown } from "../../options/known";
import { show } from "../text/show";

const SEND_NAMES = ["binary", "compress"];
const PUBLISH_NAMES = [...SEND_NAMES, "except"];

/** Checks the id of a connection. @throws TypeError */
export function checkId(id: unknown, name = "id"): void {
  if (typeof id !== "number" || !(Number.isSafeInteger(id) && id >= 0))
    throw new TypeError(`${name}: ${show(id)} is not the id of a connection, such as ws.id`);
}

/** Checks an option that is on or off. @throws TypeError */
export function checkFlag(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean")
    throw new TypeError(`${name}: ${show(value)} is not a boolean`);
}

function checkOptions(options: PublishOptions, names: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new TypeError(`options: ${show(options)} is not an object such as { binary: true }`);
  for (const name in options) if (!names.includes(name)) refuseUnknown(options, { names });
  checkFlag("binary", options.binary);
  checkFlag("compress", options.compress);
}

/** Checks the options of a message to one client. @throws TypeError */
export function checkSend(options: SendOptions | undefined): void {
  if (options !== undefined) checkOptions(options, SEND_NAMES);
}

/** Checks the options of a publication. @throws TypeError */
export function checkPublish(options: PublishOptions | undefined): void {
  if (options === undefined) return;
  checkOptions(options, PUBLISH_NAMES);
  if (options.except !== undefined) checkId(options.except, "except");
}

/** Returns the flags of a message whose data and options have been checked. */
export function flagsOf(data: Payload, options: SendOptions | undefined): number {
  const plain = options?.compress === false ? FrameFlag.Plain : 0;
  return ((options?.binary ?? typeof data !== "string") ? FrameFlag.Binary : 0) | plain;
}

/** Returns the flags of a message to one client. @param data checked @throws TypeError for wrong options */
export function sendFlags(data: Payload, options: SendOptions | undefined): number {
  checkSend(options);
  return flagsOf(data, options);
}

/** Returns the flags of a publication. @param data checked @throws TypeError for wrong options */
export function publishFlags(data: Payload, options: PublishOptions | undefined): number {
  checkPublish(options);
  return flagsOf(data, options);
}
