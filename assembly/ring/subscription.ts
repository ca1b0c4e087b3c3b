// Subscriptions: one record for each topic of each client, with the frames that are still due by it.
//
// Invariant: a record is free, or is in its client's list. An Active record is also in its topic's list and in the
// table of pairs. A cancelled record stays in its client's list while frames published before the cancellation are due.
// A Due record is in its client's heap, under the sequence of its next frame.

import { Conn, engine, webSocketOf } from "../state/records";
import { at } from "../state/slots";
import { SUBSCRIPTION_BYTES } from "../plan";

/** Bits of `Subscription.flags`. */
export namespace Mark {
  /** Frames published from now on are for the subscriber. */
  export const Active: u32 = 1;
  /** The record is in its client's heap. */
  export const Due: u32 = 2;
}

/** A record of a subscription. Links are a record's number + 1, 0 for none. */
@unmanaged
export class Subscription {
  slot: u32;
  topic: u32;
  flags: u32;
  /** Next record of the same bucket of pairs, or of the free list. */
  pairNext: u32;
  /** Neighbours in the topic's list. */
  topicNext: u32;
  topicBack: u32;
  /** Neighbours in the client's list. */
  ownNext: u32;
  ownBack: u32;
  /** Links of the leftist heap of the client's due records. */
  left: u32;
  right: u32;
  rank: u32;
  spare: u32;
  /** When Due: the next frame. Otherwise: frames before this one are not for the subscriber. */
  sequence: u64;
  /** When cancelled: the first frame that is not for the subscriber. */
  until: u64;
}

if (offsetof<Subscription>() != (SUBSCRIPTION_BYTES as usize)) ERROR("SUBSCRIPTION_BYTES");

export function subscription(link: u32): Subscription {
  return changetype<Subscription>(
    engine.subscriptions + ((link - 1) as usize) * (SUBSCRIPTION_BYTES as usize),
  );
}

export function linkOf(s: Subscription): u32 {
  return (
    (((changetype<usize>(s) - engine.subscriptions) / (SUBSCRIPTION_BYTES as usize)) as u32) + 1
  );
}

/** Takes a record for a client, in no topic yet. The caller must have checked that there is one. */
export function takeSubscription(c: Conn): Subscription {
  let link = engine.freeSubscription;
  if (link != 0) {
    engine.freeSubscription = subscription(link).pairNext;
  } else {
    engine.subscriptionsUsed++;
    link = engine.subscriptionsUsed;
  }
  const s = subscription(link);
  const own = webSocketOf(c);
  s.slot = c.slot;
  s.flags = Mark.Active;
  s.ownBack = 0;
  s.ownNext = own.firstSubscription;
  if (own.firstSubscription != 0) subscription(own.firstSubscription).ownBack = link;
  own.firstSubscription = link;
  own.subscriptions++;
  engine.subscriptionCount++;
  return s;
}

/** Frees a record that is neither Active nor Due. */
export function releaseSubscription(s: Subscription): void {
  const link = linkOf(s);
  if (s.ownBack != 0) subscription(s.ownBack).ownNext = s.ownNext;
  else webSocketOf(at(s.slot)).firstSubscription = s.ownNext;
  if (s.ownNext != 0) subscription(s.ownNext).ownBack = s.ownBack;
  s.flags = 0;
  s.pairNext = engine.freeSubscription;
  engine.freeSubscription = link;
  engine.subscriptionCount--;
}

// ---- the heap of what is due -------------------------------------------------------------------------

function rankOf(link: u32): u32 {
  return link == 0 ? 0 : subscription(link).rank;
}

/** Melds two heaps. The recursion is as deep as their right spines, which are logarithmic. */
function meld(a: u32, b: u32): u32 {
  if (a == 0) return b;
  if (b == 0) return a;
  if (subscription(b).sequence < subscription(a).sequence) {
    const other = a;
    a = b;
    b = other;
  }
  const root = subscription(a);
  root.right = meld(root.right, b);
  if (rankOf(root.left) < rankOf(root.right)) {
    const other = root.left;
    root.left = root.right;
    root.right = other;
  }
  root.rank = rankOf(root.right) + 1;
  return a;
}

/** Inserts a record into its client's heap under `sequence`. */
export function pushDue(c: Conn, s: Subscription, sequence: u64): void {
  s.sequence = sequence;
  s.flags |= Mark.Due;
  s.left = 0;
  s.right = 0;
  s.rank = 1;
  webSocketOf(c).dueSubscription = meld(webSocketOf(c).dueSubscription, linkOf(s));
}

/** Removes the first record from a client's heap and returns it. */
export function popDue(c: Conn): Subscription {
  const own = webSocketOf(c);
  const s = subscription(own.dueSubscription);
  own.dueSubscription = meld(s.left, s.right);
  s.flags &= ~Mark.Due;
  return s;
}
