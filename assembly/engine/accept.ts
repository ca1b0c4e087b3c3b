// Accepts connections: takes a slot, counts the client's address, and makes room when no slot is free.
//
// Invariant: a connection is counted under one address from `accept`, or `setAddress`, until its slot is free.

import { Arrival, CloseReason, Control, NONE, Outcome, Shut } from "../abi";
import { ADDRESS_TEXT, readAddress } from "../kernel/address";
import { beginHead } from "../parse/http";
import { rearm } from "../reply/deadline";
import { kill } from "../reply/end";
import { refuse } from "../reply/response";
import { countClose, isReason, takeEvents } from "../state/events";
import { List } from "../state/lists";
import { enroll, isAddressFull, move } from "../state/quota";
import {
  Flag,
  State,
  add,
  engine,
  isWebSocket,
  setControl,
  takeTime,
  hasHttp,
  httpOf,
  HttpFlag,
} from "../state/records";
import { enlist, findVictim, noteCrowd, victimReason } from "../state/room";
import { live, takeHttp } from "../state/slots";

/** Returns the address of 64 bytes in which the embedder stores the text of an address. */
export function addressText(): usize {
  return ADDRESS_TEXT;
}

/** Counts a connection that is refused before it has a slot. Returns NONE. */
export function decline(reason: i32): u32 {
  if (!isReason(reason)) return NONE;
  add(Control.Accepted, 1);
  countClose(reason);
  setControl(Control.Result, reason as f64);
  return NONE;
}

/**
 * Takes a slot for a connection that was accepted.
 * @param addressLength length in bytes of the peer's address at `addressText`; 0 to count it under no address
 * @param flags bits of Arrival
 * @returns the slot, with its generation in Control.Generation, or NONE. For NONE, Control.Result is the reason why the
 * connection is refused and counted (NoRoom: all slots are in use, answer 503). It is 0 when another connection was
 * ended to make room. Then handle the events and call again
 */
export function accept(addressLength: u32, flags: u32): u32 {
  takeTime();
  takeEvents();
  const isKnown = addressLength != 0 && readAddress(ADDRESS_TEXT, addressLength);
  if (isKnown && isAddressFull()) return decline(CloseReason.AddressLimit);
  setControl(Control.Result, 0);
  const c = takeHttp();
  if (changetype<usize>(c) == 0) {
    noteCrowd();
    const victim = findVictim();
    if (changetype<usize>(victim) == 0) return decline(CloseReason.NoRoom);
    if (victim.state != State.Linger) add(Control.Evicted, 1);
    // The kernel still sends the bytes of a served connection that its client has not read yet.
    const isServed = victim.list == List.Linger || victim.list == List.Idle;
    kill(victim, victimReason, isServed ? Shut.Destroy : Shut.Reset);
    return NONE;
  }
  c.state = State.Head;
  c.since = engine.now;
  c.lastIn = engine.now;
  if (isKnown) enroll(c);
  if (flags & Arrival.Proxied) httpOf(c).marks |= HttpFlag.Proxied;
  if (flags & Arrival.Unsecured) httpOf(c).marks |= HttpFlag.Unsecured;
  if (flags & Arrival.Any) httpOf(c).marks |= HttpFlag.Undecided;
  if (flags & Arrival.Copied) c.flags |= Flag.Copied;
  beginHead(httpOf(c));
  enlist(c, List.Reading);
  rearm(c);
  add(Control.Accepted, 1);
  add(Control.ConnectionCount, 1);
  setControl(Control.Generation, c.generation as f64);
  noteCrowd();
  return c.slot;
}

/** Records that TLS is established. The bytes fed from now on belong to requests. */
export function secured(slot: u32, generation: u32): void {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || isWebSocket(c)) return;
  httpOf(c).marks &= ~HttpFlag.Unsecured;
  if (!hasHttp(httpOf(c), HttpFlag.Undecided)) return;
  // From now on its silence counts.
  c.lastIn = engine.now;
  rearm(c);
}

/**
 * Counts an HTTP connection under its client's address, when the embedder has learned it.
 * @param addressLength length in bytes of the address at `addressText`; for an invalid address nothing changes
 * @returns Ok or Gone. Full when the address has reached its limit. Then a pending request is refused, and without one
 * the connection is reset
 */
export function setAddress(slot: u32, generation: u32, addressLength: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || isWebSocket(c)) return Outcome.Gone;
  if (!readAddress(ADDRESS_TEXT, addressLength) || move(c)) return Outcome.Ok;
  if (c.state == State.Request) refuse(httpOf(c), CloseReason.AddressLimit);
  else kill(c, CloseReason.AddressLimit, Shut.Reset);
  return Outcome.Full;
}
