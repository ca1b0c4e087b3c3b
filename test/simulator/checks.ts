// Checks after every step of a run, and at its end, in both modes.
//
// Invariant of the run: nothing leaks, no connection outlives its time limits, and every counter is the sum of what it
// counts.

import { brokenRule } from "../lib/check";
import { EVICTIONS } from "../../host/shared/close";
import { CONN_BYTES, Control, Param } from "../../assembly/abi";
import type { Stats } from "../../host/handler";
import { positionText } from "../../host/shared/message/position";
import { slotOf } from "../../host/shared/message/id";
import { NextSupply } from "../../worker/supply/gather";
import { type Client, STEP_MILLIS } from "./client";
import type { World } from "./world";

function fail(text: string): never {
  throw new Error(text);
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

function checkCounters(world: World, stats: Stats): void {
  const { clients, evictions, owner, watch } = world;
  const { accepted, closed, connections, webSockets, framesPublished } = stats;
  const came = clients.size + world.refused;
  if (accepted !== came) fail(`${came} connected, ${accepted} were counted`);
  if (sum(closed) + connections + webSockets > accepted)
    fail(`${accepted} came, ${sum(closed)} ended, ${connections} and ${webSockets} are there`);
  if (framesPublished > owner.published)
    fail(`${framesPublished} of ${owner.published} publications`);
  // Publications that have not reached the worker yet have no position.
  const position = positionText(world.settings.params.Epoch as number, owner.positions);
  if (world.isQuiet && stats.position !== position)
    fail(`the position is ${stats.position}, not ${position}`);
  if (stats.bytesOut !== watch.written) fail(`${stats.bytesOut} bytes out, not ${watch.written}`);
  if (stats.bytesIn !== watch.read) fail(`${stats.bytesIn} bytes in, not ${watch.read}`);
  const ended = sum(closed) + watch.open;
  if (ended !== accepted) fail(`${accepted} came, ${watch.open} are open, ${sum(closed)} ended`);
  const evicted = [...EVICTIONS].reduce((sum, cause) => sum + (closed[cause] ?? 0), 0);
  if (stats.evicted !== evicted) fail(`${stats.evicted} evicted, ${evicted} for a reason`);
  if (evictions > evicted) fail(`${evictions} evictions were reported, ${evicted} happened`);
  if (world.isExact && evicted > 0) fail("a client was evicted from ample memory");
}

/** Checks that the pieces of supplied bodies are counted, and within their limit if their size is known before. */
function checkPieces({ pump }: World, { fileBuffers: { bytes, used } }: Stats): void {
  const supplies = pump.connections.flatMap(({ supply }) => supply ?? []);
  const pieces = supplies.reduce((sum, { piece }) => sum + piece.length, 0);
  if (pieces > used) fail(`${used} bytes of pieces are counted, and there are ${pieces}`);
  const isKnown = !supplies.some((supply) => supply instanceof NextSupply);
  if (isKnown && used > bytes) fail(`${used} bytes of pieces are more than ${bytes}`);
}

/** Checks that a client that reads everything at once is not considered too slow. */
function checkFair(world: World): void {
  for (const client of world.clients.values()) {
    // The publisher does not wait for a stream that catches up.
    if (client.isStream && world.isKept) continue;
    if (client.isPrompt && !client.frozen && client.cause === "WsClientTooSlow")
      client.fail("it was evicted as too slow, and reads everything at once");
  }
}

/** ms that the end of a frozen client may come late: two readings of its send queue, and the one that is awaited. */
const LATE_MILLIS = 6000;

/**
 * Checks that a frozen client with a pending write ends after `writeTimeout`, or after a step if its kernel answers.
 */
function checkFrozen({ clients, clock, writeTimeoutAt, engine, watch }: World): void {
  const now = clock.now();
  const time = engine.params[Param.WriteTimeout] as number;
  for (const client of clients.values()) {
    if (!client.frozen || client.socket.gone !== "" || !watch.isHeld(`#${client.id}`)) continue;
    client.stuckAt = Math.min(client.stuckAt, now);
    const most = client.frozen === "machine" ? time : Math.max(time, STEP_MILLIS);
    // The engine applies a shorter limit from the time at which it is set.
    const isLate = now > client.stuckAt + most + LATE_MILLIS;
    if (isLate && now > writeTimeoutAt + LATE_MILLIS)
      client.fail(`its ${client.frozen} stopped, and a write waits since ${client.stuckAt}`);
  }
}

/** Checks the state after a step. @param isSettled all effects within the step's turn have happened */
export function checkStep(world: World, isSettled: boolean): void {
  const { engine, errors, memory, pump, watch } = world;
  if (errors.length > 0) fail(errors.join("\n"));
  if (engine.x.memory.buffer.byteLength !== memory) fail("the memory has grown");
  watch.check();
  const rule = brokenRule(engine);
  if (rule) fail(rule);
  if (!isSettled) return;
  const stats = pump.stats();
  checkCounters(world, stats);
  checkPieces(world, stats);
  world.upstreams?.check();
  if (world.settings.isFair) checkFair(world);
  if (world.settings.isTimed) checkFrozen(world);
}

/** Offset of `Conn.buffer` in a slot's record. */
const CONN_BUFFER = 28;

/** Returns true when a connection that waits for no buffer has one. Connections must not wait for each other. */
function isHeld({ pump: { engine }, settings: { params } }: World): boolean {
  const slots = (params.Connections as number) + (params.WebSockets as number);
  return Array.from({ length: slots }, (_, slot) => slot).some((slot) => {
    const at = engine.slots + slot * CONN_BYTES + CONN_BUFFER;
    return engine.u32[at >>> 2] !== 0 && !engine.isWaiting(slot);
  });
}

/** Checks the state when all clients have read everything and no time limit has passed. */
export function checkDelivered(world: World): void {
  const isFrozen = [...world.clients.values()].some(({ frozen }) => frozen !== "");
  const { waiting } = world.pump.stats().fileBuffers;
  world.judge.delivered(waiting > 0 && isFrozen);
  world.upstreams?.checkQuiet(true);
  if (waiting > 0 && !isFrozen) fail(`${waiting} responses wait for room for a piece`);
  const isStarved = (world.settings.params.ReplyPoolBytes as number) <= 65536;
  for (const [client, ws] of world.audience()) {
    if (client.why !== undefined || client.phase !== "frames" || client.socket.gone !== "")
      continue;
    if (client.frozen) continue;
    const { bytes, frames, queued } = ws.lag;
    if (bytes + frames + queued > 0)
      client.fail(`it has everything, and lags by ${bytes}, ${frames}, ${queued}`);
    if (world.streams.includes(client)) client.fail("it has room, and its stream has not ended");
    if (client.isThirsty) client.fail("it has room again, and its drain was not called");
    // A pong for which there is no block is dropped. A ping behind a message for which there is no buffer is not parsed
    // before another connection, which waits for none, releases its own.
    const isWaiting = world.pump.engine.isWaiting(slotOf(ws.id)) && isHeld(world);
    if (client.pings.length > 0 && !isStarved && !isWaiting)
      client.fail("its last ping has no answer");
  }
}

/** ms that a frozen client may stay: an idle WebSocket's time and its ping's, and the time of a step. */
const FROZEN_MILLIS = { machine: 100000, process: 100000 + STEP_MILLIS } as const;

/** ms for which clients that do not read may hold the room for pieces. */
const HELD_MILLIS = 40000;

/** Checks that connections whose protocol has ended are closed within `quiet` ms. */
export function checkPunctual(world: World, quiet: number): void {
  const { waiting } = world.pump.stats().fileBuffers;
  if (waiting > 0 && quiet > HELD_MILLIS)
    fail(`${waiting} responses wait for room for a piece after ${quiet} ms`);
  for (const client of world.clients.values()) {
    if (client.socket.gone !== "" || client.why !== undefined) continue;
    if (client.frozen) {
      // An event stream has no idle timeout, and its comments fit into the kernels' buffers.
      if (client.isStream && world.sockets.has(client.id)) continue;
      if (quiet > FROZEN_MILLIS[client.frozen]) client.fail(`it is frozen, and still connected`);
      continue;
    }
    const isOver = client.phase === "closed" || client.phase === "over";
    const since = Math.min(quiet, world.clock.now() - client.phaseAt);
    const isHttp = client.phase === "http" || world.isStopping;
    // A connection without a byte in either direction has the longest `idleTimeout`.
    const isIdle = client.phase === "raw" && quiet > 70000;
    if (isIdle || (isOver ? since > 10000 : isHttp && quiet > 40000))
      client.fail(`it is still connected after ${quiet} ms`);
  }
}

/** Clients of which the handler has seen a request. */
function seen(world: World): Set<Client> {
  return new Set([...world.asks.values()].flatMap((one) => (one.isHandled ? [one.client] : [])));
}

/** Checks after the end that nothing is left, and that the counters agree. */
export function checkOver(world: World): void {
  const { application, engine, pump } = world;
  const stats = pump.stats();
  const get = (index: Control): number => engine.get(index);
  if (!world.isQuiet) fail("messages between the threads are still under way");
  if (stats.receivePool.used !== 0) fail("a receive buffer leaked");
  if (stats.replyPool.used !== 0) fail("a reply block leaked");
  if (stats.connections !== 0 || stats.webSockets !== 0) fail("a slot leaked");
  if (stats.fileBuffers.used !== 0 || stats.fileBuffers.waiting !== 0) fail("a piece leaked");
  // A thread of a pool that ends takes its sources along.
  if (world.sources.size !== 0 && world.settings.place !== "pool")
    fail("the source of a body was not closed");
  if ((stats.topics !== 0 && !world.isKept) || stats.subscriptions !== 0)
    fail("a subscription leaked");
  if (stats.parked !== 0) fail("a parked stream leaked");
  if (world.watch.open !== 0) fail("a link leaked");
  world.upstreams?.checkOver();
  world.lines.check(world.clients);
  const unreached = (stats.closed.UpstreamFailed ?? 0) + (stats.closed.UpstreamTimeout ?? 0);
  // A client may reset its connection before that ends.
  if (unreached > (world.upstreams?.failures ?? 0))
    fail(`${unreached} upstreams failed, ${world.upstreams?.failures} were reported`);
  const { inflater } = pump.messages;
  if (inflater.messages !== 0 || inflater.bytes !== 0) fail("an inflated message leaked");
  if (world.owner.underWay !== 0) fail("the credit of a client that has ended leaked");
  if (get(Control.DeadCount) !== 0) fail("a dead slot was not freed");
  if (get(Control.DeflateCount) !== 0) fail("a reader of compressed messages leaked");
  if (stats.eventStreams !== 0) fail("a reader of events leaked");
  if (engine.x.tick(Number.POSITIVE_INFINITY) !== -1) fail("a deadline leaked");
  if (sum(stats.closed) !== stats.accepted) fail("a connection has not ended");
  if (stats.evicted !== world.evictions)
    fail(`${stats.evicted} evicted, ${world.evictions} reported`);
  // A pool's thread that ends, or whose client has gone, counts as an error by itself, or as none.
  if (world.settings.place !== "pool" && world.handlerErrors !== world.thrown)
    fail(`${world.thrown} errors were thrown, ${world.handlerErrors} counted`);
  const { HandlerError = 0 } = stats.closed;
  if (world.settings.place !== "pool" && HandlerError > world.thrown)
    fail(`${world.thrown} errors were thrown, ${HandlerError} connections ended by errors`);
  const known = seen(world);
  for (const client of world.clients.values()) {
    // A client that came and left while the application lagged is not reported to it.
    if (client.why === undefined && (known.has(client) || !application))
      client.fail("it has ended, and the handler was not notified");
  }
}
