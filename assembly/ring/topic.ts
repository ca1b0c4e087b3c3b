// The record of a topic: the subscribers, the frames published to it, the name.
//
// Invariant: a record is in the table of names, or in the free list.

import { TOPIC_NAME_BYTES } from "../abi";
import { TOPIC_BYTES } from "../plan";
import { engine } from "../state/records";

@unmanaged
export class Topic {
  /** Next topic of the same bucket, or of the free list. */
  next: u32;
  /** Number of the next dirty topic. */
  dirtyNext: u32;
  /** Link of the first record in the list of subscribers. */
  subscribers: u32;
  count: u32;
  hash: u32;
  length: u32;
  /** 1 when the topic was published to since the last flush pass. */
  dirty: u32;
  /** 1 when `last` is a frame of this topic. */
  published: u32;
  /** Number of subscribers that read each form but the plain one. */
  readers: u32;
  moreReaders: u32;
  /** First frame since the last flush pass, and the last frame. */
  first: u64;
  last: u64;
}

/** Offset of the name. */
export const NAME_AT: usize = offsetof<Topic>();

if (NAME_AT + (TOPIC_NAME_BYTES as usize) != (TOPIC_BYTES as usize)) ERROR("TOPIC_BYTES");

/** Bytes of a topic's record. */
let topicBytes: usize = 0;

/** Sets where the topics are, and the bytes of each. @returns the end of the table */
export function setTopics(at: usize, count: u32, stride: usize): usize {
  engine.topics = at;
  topicBytes = stride;
  return at + (count as usize) * stride;
}

export function topic(number: u32): Topic {
  return changetype<Topic>(engine.topics + (number as usize) * topicBytes);
}

export function nameAt(number: u32): usize {
  return changetype<usize>(topic(number)) + NAME_AT;
}
