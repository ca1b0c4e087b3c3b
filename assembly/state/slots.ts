// Slots: the two tables of connections, for HTTP and for WebSockets, and their free lists.
//
// Invariant: a slot is free (state Free, on its table's free list), live, or Dead (the engine has ended the connection,
// and the embedder has not called `free` yet). Its generation changes when it is freed, so an id never names another
// connection.

import { CONN_BYTES } from "../abi";
import { Conn, Flag, HttpConn, State, engine, has } from "./records";

export function at(slot: u32): Conn {
  return changetype<Conn>(engine.slots + (slot as usize) * CONN_BYTES);
}

/** Returns the connection of an id given as slot and generation, 0 when the id is stale. */
export function live(slot: u32, generation: u32): Conn {
  if (slot >= engine.allSlots) return changetype<Conn>(0);
  const c = at(slot);
  // mutant stale-live: if (generation == 0 || c.state == State.Free || c.state == State.Dead) {
  if (c.generation != generation || c.state == State.Free || c.state == State.Dead) {
    return changetype<Conn>(0);
  }
  return c;
}

export function formatSlots(): void {
  engine.freeHttp = 0;
  engine.freeWebSocket = 0;
  for (let i = engine.allSlots; i > 0; i--) {
    const c = at(i - 1);
    c.slot = i - 1;
    c.generation = 1;
    pushFree(c);
  }
}

function pushFree(c: Conn): void {
  c.state = State.Free;
  if (c.slot < engine.httpSlots) {
    c.link = engine.freeHttp;
    engine.freeHttp = c.slot + 1;
  } else {
    c.link = engine.freeWebSocket;
    engine.freeWebSocket = c.slot + 1;
  }
}

/** Takes a free HTTP slot. Returns 0 when there is none. */
export function takeHttp(): Conn {
  if (engine.freeHttp == 0) return changetype<Conn>(0);
  const c = at(engine.freeHttp - 1);
  engine.freeHttp = c.link;
  clear(c);
  return c;
}

/** Takes a free WebSocket slot. Returns 0 when there is none. */
export function takeWebSocket(): Conn {
  if (engine.freeWebSocket == 0) return changetype<Conn>(0);
  const c = at(engine.freeWebSocket - 1);
  engine.freeWebSocket = c.link;
  clear(c);
  return c;
}

function clear(c: Conn): void {
  const slot = c.slot;
  const generation = c.generation;
  memory.fill(changetype<usize>(c), 0, CONN_BYTES);
  c.slot = slot;
  c.generation = generation;
}

/** Frees a slot. Its generation increases, so that its ids become stale. */
export function putFree(c: Conn): void {
  c.generation++;
  if (c.generation == 0) c.generation = 1;
  pushFree(c);
}

/** Returns the address of an HTTP connection's bytes. */
export function dataOf(c: Conn): usize {
  return has(c, Flag.InWindow) ? engine.window : (c.buffer as usize) + engine.tableBytes;
}

/** Returns the address of the table of an HTTP connection's fields. */
export function tableOf(c: Conn): usize {
  return has(c, Flag.InWindow) ? engine.headTable : (c.buffer as usize);
}

/** Sets the addresses by which the embedder reads a request. */
export function locate(c: HttpConn): void {
  c.head = (dataOf(c) + c.start) as u32;
  c.table = tableOf(c) as u32;
  c.body = c.head + c.headLength;
}
