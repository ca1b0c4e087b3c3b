// Topics: their names, the subscribers of each, and the chain of frames published to it.
//
// Invariant: a topic has subscribers, or was published to since the last flush pass, which then removes it, or history
// keeps it. Publishing visits no client. It links the frame to the topic's last one and marks the topic dirty, and the
// flush pass makes the frames due to the subscribers. Number 0 has the broadcasts, and each open WebSocket receives
// those.

import { Control, Form, Outcome, Param, TOPIC_NAME_BYTES, Rule } from "../abi";
import {
  Conn,
  Engine,
  Flag,
  State,
  add,
  engine,
  formOf,
  getControl,
  isWebSocket,
  paramU32,
  setControl,
  webSocketOf,
} from "../state/records";
import { at, live } from "../state/slots";
import { broken } from "../state/events";
import { markDirty } from "../state/lists";
import { NEVER, castDue, firstFrom } from "./cursor";
import {
  forgetUpTo,
  hasHistory,
  isLingering,
  linger,
  pastOf,
  rouse,
  trace,
  traceOf,
} from "./history";
import { frame } from "./ring";
import { NAME_AT, Topic, nameAt, topic } from "./topic";
import {
  Mark,
  Subscription,
  linkOf,
  pushDue,
  releaseSubscription,
  subscription,
  takeSubscription,
} from "./subscription";

if (Form.COUNT - 1 > 2) ERROR("a topic has no counter for each form");

function counterOf(form: u32, t: Topic): usize {
  return changetype<usize>(t) + offsetof<Topic>("readers") + ((form as usize) - 1) * 4;
}

/** Returns how many subscribers of a topic read a form other than the plain one. */
export function subscribersIn(form: u32, number: u32): u32 {
  return load<u32>(counterOf(form, topic(number)));
}

/** Counts a subscriber of a topic among the readers of its form. */
function countIn(t: Topic, c: Conn, change: i32): void {
  const form = formOf(c);
  if (form == Form.Plain) return;
  const counter = counterOf(form, t);
  store<u32>(counter, load<u32>(counter) + change);
}

// ---- names -------------------------------------------------------------------------------------------

/** Returns the hash of a name. It is mixed with the engine's seed, so that clients cannot pick the bucket. */
function hashName(name: usize, length: u32): u32 {
  let hash: u64 = ((paramU32(Param.Seed) as u64) << 32) ^ (length as u64);
  let i: u32 = 0;
  while (i + 8 <= length) {
    hash = (hash ^ load<u64>(name + i)) * 0x1b873593cc9e2d;
    hash ^= hash >> 29;
    i += 8;
  }
  while (i < length) {
    hash = (hash ^ (load<u8>(name + i) as u64)) * 0x1b873593cc9e2d;
    i++;
  }
  hash ^= hash >> 32;
  hash *= 0x16a09e667f3bcd;
  return (hash >> 32) as u32;
}

function bucketOf(hash: u32): usize {
  return engine.topicBuckets + (((hash & engine.topicMask) as usize) << 2);
}

/**
 * Returns the number of a topic that has subscribers, or had some since the last flush pass, or that history keeps, and
 * 0 for any other name.
 * The number is valid until the next call that may end a connection or a subscription.
 */
export function findTopic(name: usize, length: u32): u32 {
  if (engine.topicCount == 0 || length > TOPIC_NAME_BYTES) return 0;
  const hash = hashName(name, length);
  let number = load<u32>(bucketOf(hash));
  while (number != 0) {
    const t = topic(number);
    if (t.hash == hash && t.length == length && memory.compare(nameAt(number), name, length) == 0) {
      return number;
    }
    number = t.next;
  }
  return 0;
}

/**
 * Returns the number of a topic for a publication, like `findTopic`. With history a topic is added that is not there,
 * so 0 means that the table is full of topics with subscribers.
 */
export function topicFor(name: usize, length: u32): u32 {
  const number = findTopic(name, length);
  if (number != 0 || !hasHistory || length == 0 || length > TOPIC_NAME_BYTES) return number;
  const added = addTopic(name, length);
  if (added != 0) linger(added);
  return added;
}

/** Adds a topic. Returns 0 when the table is full. */
function addTopic(name: usize, length: u32): u32 {
  const isFull = engine.freeTopic == 0 && engine.topicsUsed == paramU32(Param.Topics);
  if (isFull && hasHistory) forgetQuietest();
  let number = engine.freeTopic;
  if (number != 0) {
    engine.freeTopic = topic(number).next;
  } else {
    if (engine.topicsUsed == paramU32(Param.Topics)) return 0;
    engine.topicsUsed++;
    number = engine.topicsUsed;
  }
  const t = topic(number);
  const hash = hashName(name, length);
  const bucket = bucketOf(hash);
  memory.fill(changetype<usize>(t), 0, NAME_AT);
  if (hasHistory) {
    const past = pastOf(number);
    past.last = engine.forgotten;
    past.isQuiet = 0;
  }
  t.hash = hash;
  t.length = length;
  t.next = load<u32>(bucket);
  store<u32>(bucket, number);
  memory.copy(nameAt(number), name, length);
  engine.topicCount++;
  setControl(Control.TopicCount, engine.topicCount as f64);
  return number;
}

/** Removes a topic without subscribers, unless history keeps it. The flush pass removes a dirty one. */
function dropTopic(number: u32): void {
  const t = topic(number);
  if (t.count != 0) return;
  if (hasHistory) {
    if (!isLingering(number)) linger(number);
  } else if (t.dirty == 0) removeTopic(number);
}

/** Removes a topic from the list of dirty ones. */
function clean(number: u32): void {
  let link = changetype<usize>(engine) + offsetof<Engine>("dirtyTopics");
  while (load<u32>(link) != number + 1) {
    link = changetype<usize>(topic(load<u32>(link) - 1)) + offsetof<Topic>("dirtyNext");
  }
  store<u32>(link, topic(number).dirtyNext);
  topic(number).dirty = 0;
}

/** Forgets the topic that has been quiet for longest, if one has no subscribers. */
function forgetQuietest(): void {
  const number = engine.quietHead;
  if (number == 0) return;
  forgetUpTo(pastOf(number).last);
  rouse(number);
  removeTopic(number);
  add(Control.TopicsForgotten, 1);
}

/** Removes a topic without subscribers. */
function removeTopic(number: u32): void {
  const t = topic(number);
  if (t.dirty != 0) clean(number);
  let link = bucketOf(t.hash);
  while (load<u32>(link) != number) {
    link = changetype<usize>(topic(load<u32>(link))) + offsetof<Topic>("next");
  }
  store<u32>(link, t.next);
  t.next = engine.freeTopic;
  engine.freeTopic = number;
  engine.topicCount--;
  setControl(Control.TopicCount, engine.topicCount as f64);
}

// ---- pairs: which client subscribes to which topic -----------------------------------------------------

function pairBucket(slot: u32, number: u32): usize {
  let hash = slot * 0x9e3779b1 + number * 0x85ebca6b;
  hash ^= hash >> 15;
  return engine.pairBuckets + (((hash & engine.pairMask) as usize) << 2);
}

/** Returns a client's subscription to a topic, 0 when it has none. */
function findPair(c: Conn, number: u32): Subscription {
  let link = load<u32>(pairBucket(c.slot, number));
  while (link != 0) {
    const s = subscription(link);
    if (s.slot == c.slot && s.topic == number) return s;
    link = s.pairNext;
  }
  return changetype<Subscription>(0);
}

function unlinkPair(s: Subscription): void {
  const number = linkOf(s);
  let link = pairBucket(s.slot, s.topic);
  while (load<u32>(link) != number) {
    link = changetype<usize>(subscription(load<u32>(link))) + offsetof<Subscription>("pairNext");
  }
  store<u32>(link, s.pairNext);
}

// ---- subscribing ---------------------------------------------------------------------------------------

/** Returns true when all subscription records are in use. */
function isFull(): bool {
  return engine.freeSubscription == 0 && engine.subscriptionsUsed == paramU32(Param.Subscriptions);
}

/** Link of the record that the last `subscribe` made, 0 when it made none. */
export let subscribed: u32 = 0;

/**
 * Subscribes an open WebSocket to a topic. It receives messages published from now on. Subscribing again does nothing.
 * @returns Ok, Gone, or TooLarge (the name has 0 or more than TOPIC_NAME_BYTES bytes). Full when a table is full, with
 * 1 (topics) or 2 (subscriptions) in Control.Result
 */
export function subscribe(slot: u32, generation: u32, name: usize, length: u32): u32 {
  subscribed = 0;
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  if (length == 0 || length > TOPIC_NAME_BYTES) return Outcome.TooLarge;
  let number = findTopic(name, length);
  if (number != 0 && changetype<usize>(findPair(c, number)) != 0) return Outcome.Ok;
  if (isFull()) {
    setControl(Control.Result, 2);
    return Outcome.Full;
  }
  if (number == 0) number = addTopic(name, length);
  if (number == 0) {
    setControl(Control.Result, 1);
    return Outcome.Full;
  }
  const t = topic(number);
  const s = takeSubscription(c);
  const link = linkOf(s);
  const bucket = pairBucket(slot, number);
  s.topic = number;
  s.sequence = engine.sequence;
  s.until = NEVER;
  s.pairNext = load<u32>(bucket);
  store<u32>(bucket, link);
  s.topicBack = 0;
  s.topicNext = t.subscribers;
  if (t.subscribers != 0) subscription(t.subscribers).topicBack = link;
  t.subscribers = link;
  t.count++;
  countIn(t, c, 1);
  setControl(Control.SubscriptionCount, getControl(Control.SubscriptionCount) + 1);
  if (hasHistory) rouse(number);
  subscribed = link;
  return Outcome.Ok;
}

/**
 * Makes the frames published since the last pass, which start at `first`, due by a subscription. Returns true when
 * there are any for it.
 */
function makeDue(c: Conn, s: Subscription, first: u64): bool {
  if (s.flags & Mark.Due) return false;
  const isFirst = s.sequence <= first && frame(first).exceptGeneration == 0;
  const sequence = isFirst ? first : firstFrom(first, s.sequence, c);
  if (sequence == NEVER) return false;
  pushDue(c, s, sequence);
  return true;
}

/** Removes a record from its topic, and the topic if that was the last one. */
function leave(c: Conn, s: Subscription): void {
  const t = topic(s.topic);
  unlinkPair(s);
  if (s.topicBack != 0) subscription(s.topicBack).topicNext = s.topicNext;
  else t.subscribers = s.topicNext;
  if (s.topicNext != 0) subscription(s.topicNext).topicBack = s.topicBack;
  s.flags &= ~Mark.Active;
  // mutant topic-until: s.until = engine.sequence + 1;
  s.until = engine.sequence;
  t.count--;
  countIn(t, c, -1);
  webSocketOf(c).subscriptions--;
  setControl(Control.SubscriptionCount, getControl(Control.SubscriptionCount) - 1);
  dropTopic(s.topic);
}

/** Cancels a subscription. Frames published before are still due. */
function giveUp(c: Conn, s: Subscription): void {
  const t = topic(s.topic);
  // mutant topic-leave: ;
  if (t.dirty != 0 && makeDue(c, s, t.first)) markDirty(c);
  leave(c, s);
  if (!(s.flags & Mark.Due)) releaseSubscription(s);
}

/**
 * Cancels a subscription by its name.
 * @returns Ok, or Gone when the id is stale or the client does not subscribe to the topic
 */
export function unsubscribe(slot: u32, generation: u32, name: usize, length: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  const number = findTopic(name, length);
  const s = number == 0 ? changetype<Subscription>(0) : findPair(c, number);
  if (changetype<usize>(s) == 0) return Outcome.Gone;
  giveUp(c, s);
  return Outcome.Ok;
}

/** Returns 1 when an open WebSocket subscribes to a topic. */
export function isSubscribed(slot: u32, generation: u32, name: usize, length: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return 0;
  const number = findTopic(name, length);
  return number != 0 && changetype<usize>(findPair(c, number)) != 0 ? 1 : 0;
}

/**
 * Lists a WebSocket's topics. Call it with 0, then with the result of the previous call.
 * @returns 0 at the end, else a value for the next call, with the address of a name in Control.Result and its length in
 * Control.ResultLength
 */
export function nextTopic(slot: u32, generation: u32, after: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return 0;
  let link = after == 0 ? webSocketOf(c).firstSubscription : subscription(after).ownNext;
  while (link != 0 && !(subscription(link).flags & Mark.Active)) link = subscription(link).ownNext;
  if (link == 0) return 0;
  const number = subscription(link).topic;
  setControl(Control.Result, nameAt(number) as f64);
  setControl(Control.ResultLength, topic(number).length as f64);
  return link;
}

/** Returns the number of a topic's subscribers. */
export function subscriberCount(name: usize, length: u32): u32 {
  const number = findTopic(name, length);
  return number == 0 ? 0 : topic(number).count;
}

/** Ends the deliveries to a WebSocket. Messages published before are still due. */
export function retire(c: Conn): void {
  webSocketOf(c).castUntil = engine.sequence as u32;
  if (newBroadcasts() != NEVER) castDue(c, newBroadcasts());
  let link = webSocketOf(c).firstSubscription;
  while (link != 0) {
    const s = subscription(link);
    link = s.ownNext;
    if (s.flags & Mark.Active) giveUp(c, s);
  }
}

/** Drops all deliveries that are due to a connection that has ended. */
export function forget(c: Conn): void {
  const own = webSocketOf(c);
  own.dueSubscription = 0;
  c.flags &= ~(Flag.CastDue | Flag.MidFrame);
  while (own.firstSubscription != 0) {
    const s = subscription(own.firstSubscription);
    if (s.flags & Mark.Active) leave(c, s);
    s.flags &= ~Mark.Due;
    releaseSubscription(s);
  }
}

// ---- publishing ----------------------------------------------------------------------------------------

/** Returns true when the client that a publication excludes would receive it otherwise. */
export function isExcept(number: u32, slot: u32, generation: u32): bool {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return false;
  return number == 0 || changetype<usize>(findPair(c, number)) != 0;
}

/** Links the newest frame to its topic. */
export function chain(number: u32): void {
  const t = topic(number);
  if (hasHistory) {
    trace(number);
    if (isLingering(number)) linger(number);
  }
  const sequence = engine.sequence - 1;
  const distance = sequence - t.last;
  // An entry that was overwritten has no reader.
  if (t.published != 0 && distance < (paramU32(Param.Frames) as u64)) {
    frame(t.last).next = distance as u32;
  }
  t.published = 1;
  t.last = sequence;
  if (t.dirty != 0 || (number != 0 && t.count == 0)) return;
  t.dirty = 1;
  t.first = sequence;
  t.dirtyNext = engine.dirtyTopics;
  engine.dirtyTopics = number + 1;
}

/**
 * Makes the frames published since the last pass due to the subscribers.
 * @returns the first broadcast, which is due to each open WebSocket, or NEVER when there is none
 */
export function wakeSubscribers(): u64 {
  let everyone = NEVER;
  while (engine.dirtyTopics != 0) {
    const number = engine.dirtyTopics - 1;
    const t = topic(number);
    engine.dirtyTopics = t.dirtyNext;
    t.dirty = 0;
    if (number == 0) {
      everyone = t.first;
      continue;
    }
    for (let link = t.subscribers; link != 0; ) {
      const s = subscription(link);
      const c = at(s.slot);
      if (makeDue(c, s, t.first)) markDirty(c);
      link = s.topicNext;
    }
    dropTopic(number);
  }
  return everyone;
}

/** Returns the first broadcast that the flush pass has not made due to each client yet, NEVER when there is none. */
function newBroadcasts(): u64 {
  if (engine.castLeft != 0) return engine.castFirst;
  return topic(0).dirty != 0 ? topic(0).first : NEVER;
}

/**
 * Returns the first broadcast since the last pass for a client to which nothing else is due, NEVER when there is none.
 */
export function unflushed(c: Conn): u64 {
  return firstFrom(newBroadcasts(), webSocketOf(c).sequence, c);
}

/**
 * Number of subscriptions up to which a client's topics are checked for unflushed frames. With more, any dirty topic
 * counts, because the check must stay cheap.
 */
const LOOK_LIMIT: u32 = 64;

/**
 * Returns true when something published since the last pass is for a client. For a client with more than LOOK_LIMIT
 * subscriptions it returns true when any topic was published to.
 */
export function hasUnflushed(c: Conn): bool {
  if (unflushed(c) != NEVER) return true;
  if (engine.dirtyTopics == 0) return false;
  if (webSocketOf(c).subscriptions > LOOK_LIMIT) return true;
  for (let link = webSocketOf(c).firstSubscription; link != 0; link = subscription(link).ownNext) {
    const s = subscription(link);
    if (!(s.flags & Mark.Active) || topic(s.topic).dirty == 0) continue;
    if (firstFrom(topic(s.topic).first, s.sequence, c) != NEVER) return true;
  }
  return false;
}

/**
 * Checks the tables, for tests.
 * @returns Rule.Ok, or the first Rule that is broken
 */
export function checkTopics(): u32 {
  let active: u32 = 0;
  let records: u32 = 0;
  for (let i: u32 = engine.httpSlots; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free || c.state == State.Dead) continue;
    const own = webSocketOf(c);
    let mine: u32 = 0;
    let due: u32 = 0;
    for (let link = own.firstSubscription; link != 0; link = subscription(link).ownNext) {
      const s = subscription(link);
      records++;
      if (s.slot != i) return broken(Rule.SubscriptionOwner, i, s.slot as f64, i as f64);
      if (s.flags & Mark.Due) due++;
      if (!(s.flags & Mark.Active)) {
        if (!(s.flags & Mark.Due)) return broken(Rule.SubscriptionDue, i, 0, 1);
        continue;
      }
      mine++;
      if (changetype<usize>(findPair(c, s.topic)) != changetype<usize>(s))
        return broken(Rule.SubscriptionPair, i, s.topic as f64, s.topic as f64);
    }
    if (mine != own.subscriptions)
      return broken(Rule.SubscriptionCount, i, own.subscriptions as f64, mine as f64);
    const heap = countHeap(own.dueSubscription);
    if (heap != due) return broken(Rule.DueHeap, i, heap as f64, due as f64);
    active += mine;
  }
  if (records != engine.subscriptionCount)
    return broken(Rule.SubscriptionRecords, 0, engine.subscriptionCount as f64, records as f64);
  const gauge = getControl(Control.SubscriptionCount);
  if ((active as f64) != gauge) return broken(Rule.SubscriptionGauge, 0, gauge, active as f64);
  let topics: u32 = 0;
  for (let number: u32 = 1; number <= engine.topicsUsed; number++) {
    const t = topic(number);
    if (t.count == 0 && t.dirty == 0 && !isLingering(number)) continue;
    topics++;
    let count: u32 = 0;
    for (let link = t.subscribers; link != 0; link = subscription(link).topicNext) count++;
    if (count != t.count)
      return broken(Rule.TopicSubscribers, number, t.count as f64, count as f64);
    const found = findTopic(nameAt(number), t.length);
    if (found != number) return broken(Rule.TopicName, number, found as f64, number as f64);
    if (hasHistory && !isPastRight(number))
      return broken(Rule.TopicPast, number, pastOf(number).last as f64, engine.forgotten as f64);
  }
  if (topics == engine.topicCount) return checkQuiet();
  return broken(Rule.TopicCount, 0, engine.topicCount as f64, topics as f64);
}

/** Returns true when a topic's last entry, if the index has it, has its last position. */
function isPastRight(number: u32): bool {
  const t = topic(number);
  const past = pastOf(number);
  if ((past.isQuiet != 0) != (t.count == 0)) return false;
  if (t.published == 0) return past.last <= engine.forgotten;
  if (engine.sequence - t.last > (paramU32(Param.Frames) as u64)) return true;
  return frame(t.last).topic == number && traceOf(t.last).position == past.last;
}

/** Checks the list of quiet topics. */
function checkQuiet(): u32 {
  let count: u32 = 0;
  let back: u32 = 0;
  for (let number = engine.quietHead; number != 0; number = pastOf(number).next) {
    const past = pastOf(number);
    if (past.isQuiet == 0 || past.back != back || ++count > engine.topicCount)
      return broken(Rule.QuietTopics, number, past.back as f64, back as f64);
    back = number;
  }
  if (back != engine.quietTail)
    return broken(Rule.QuietTopics, 0, engine.quietTail as f64, back as f64);
  for (let number: u32 = 1; number <= engine.topicsUsed; number++) {
    if (isLingering(number)) count--;
  }
  return count == 0 ? Rule.Ok : broken(Rule.QuietTopics, 0, count as f64, 0);
}

/** Returns the number of records in a heap, or a far larger number when it is not in order. */
function countHeap(link: u32): u32 {
  if (link == 0) return 0;
  const s = subscription(link);
  for (let child = 0; child < 2; child++) {
    const below = child == 0 ? s.left : s.right;
    if (below != 0 && subscription(below).sequence < s.sequence) return 0x10000000;
  }
  return 1 + countHeap(s.left) + countHeap(s.right);
}
