// Names of topics.

import { TOPIC_NAME_BYTES } from "../../../assembly/abi";
import { show } from "../text/show";

/** UTF-8 has no lone surrogates: encoded, names that differ in them alone would be one. */
export const LONE_SURROGATE = /\p{Surrogate}/u;
const encoder = new TextEncoder();
const scratch = new Uint8Array(TOPIC_NAME_BYTES + 4);

/** @throws TypeError, RangeError for what is not a topic's name: 1 to 200 bytes of UTF-8 */
export function checkTopic(name: unknown): asserts name is string {
  if (typeof name !== "string") throw new TypeError(`topic: ${show(name)} is not a string`);
  if (LONE_SURROGATE.test(name))
    throw new TypeError(
      `topic: ${JSON.stringify(name.slice(0, 40))} holds half of a surrogate pair`,
    );
  if (name.length === 0 || byteLength(name) > TOPIC_NAME_BYTES) {
    throw new RangeError(
      `topic: ${JSON.stringify(name.slice(0, 40))} is not of 1 to ${TOPIC_NAME_BYTES} bytes`,
    );
  }
}

/** Bytes of a name in UTF-8; of a long one at least more than a name may have. */
function byteLength(name: string): number {
  if (name.length * 3 <= TOPIC_NAME_BYTES) return name.length;
  if (name.length > TOPIC_NAME_BYTES) return name.length;
  return encoder.encodeInto(name, scratch).read < name.length
    ? TOPIC_NAME_BYTES + 1
    : encoder.encodeInto(name, scratch).written;
}

/** A topic's name as it stands before a publication in an inbox record: a byte of length, then the bytes. */
export function topicPrefix(name: string): Uint8Array {
  checkTopic(name);
  const bytes = encoder.encode(name);
  const prefix = new Uint8Array(1 + bytes.length);
  prefix[0] = bytes.length;
  prefix.set(bytes, 1);
  return prefix;
}
