// Checks and encodes names of topics.

import { TOPIC_NAME_BYTES } from "../../../assembly/abi";
import { show } from "../text/show";

/** Lone surrogates. UTF-8 has none, so names that differ only in them would be equal when encoded. */
export const LONE_SURROGATE = /\p{Surrogate}/u;
const encoder = new TextEncoder();
const scratch = new Uint8Array(TOPIC_NAME_BYTES + 4);

/** Checks a topic's name: 1 to 200 bytes of UTF-8. @throws TypeError, RangeError */
export function checkTopic(name: unknown): asserts name is string {
  if (typeof name !== "string") throw new TypeError(`topic: ${show(name)} is not a string`);
  if (LONE_SURROGATE.test(name))
    throw new TypeError(`topic: ${JSON.stringify(name.slice(0, 40))} has half of a surrogate pair`);
  if (name.length === 0 || byteLength(name) > TOPIC_NAME_BYTES) {
    throw new RangeError(
      `topic: ${JSON.stringify(name.slice(0, 40))} is not of 1 to ${TOPIC_NAME_BYTES} bytes`,
    );
  }
}

/** Names of an EventSource's own events, and of the events that report on the stream. */
const RESERVED = /^(?:error|open|message|ringcast-.*)$/s;

/**
 * Checks the name of a topic that names events, with `events: { names: true }`: a reader of them must not take a
 * publication for an event of its EventSource. @throws TypeError, RangeError
 */
export function checkEventName(name: string): void {
  checkTopic(name);
  const fault = /[\r\n]/.test(name) ? "has a line break" : "is a name of EventSource or Ringcast";
  if (RESERVED.test(name) || /[\r\n]/.test(name))
    throw new TypeError(
      `topic: ${JSON.stringify(name.slice(0, 40))} ${fault}, so no event can have it (events.names)`,
    );
}

/** Returns the bytes of a name in UTF-8; for a name that is too long, some number above the limit. */
function byteLength(name: string): number {
  if (name.length * 3 <= TOPIC_NAME_BYTES) return name.length;
  if (name.length > TOPIC_NAME_BYTES) return name.length;
  return encoder.encodeInto(name, scratch).read < name.length
    ? TOPIC_NAME_BYTES + 1
    : encoder.encodeInto(name, scratch).written;
}

/** Encodes a topic's name as the prefix of a publication in an inbox record: a byte of length, then the bytes. */
export function topicPrefix(name: string): Uint8Array {
  checkTopic(name);
  const bytes = encoder.encode(name);
  const prefix = new Uint8Array(1 + bytes.length);
  prefix[0] = bytes.length;
  prefix.set(bytes, 1);
  return prefix;
}
