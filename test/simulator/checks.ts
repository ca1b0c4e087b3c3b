// What must hold after every step of a run, and what must hold at its end.
//
// Invariant of the run: nothing is lost without a reason, nothing leaks, and every counter is the sum of what it
// counts.

import { Control } from "../../assembly/abi";
import type { Stats } from "../../host/handler";
import { TOPICS } from "./steps";
import type { Client } from "./model";
import type { World } from "./world";

function fail(text: string): never {
  throw new Error(text);
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

/** Who subscribes to what is what the model says. */
function checkTopics(world: World): void {
  const counts = new Map<number, number>();
  let isExact = true;
  for (const [client, ws] of world.audience()) {
    const told = ws.subscriptions.map((name) => TOPICS.indexOf(name)).sort();
    const known = [...client.topics].sort();
    // One that broke the protocol, or held a buffer for too long, is failed before its handler hears of it.
    if (told.length === 0 && known.length > 0) isExact = false;
    else if (told.join() !== known.join()) fail(`${client} subscribes to ${told}, not to ${known}`);
    for (const topic of told) counts.set(topic, (counts.get(topic) ?? 0) + 1);
  }
  TOPICS.forEach((name, topic) => {
    const count = world.pump.subscriberCount(name);
    if (isExact && count !== (counts.get(topic) ?? 0))
      fail(`topic ${topic} has ${count} subscribers, not ${counts.get(topic) ?? 0}`);
  });
}

function checkCounters(world: World, stats: Stats): void {
  const { evictions, watch } = world;
  const { connected } = world.guests;
  const { due, published, sent, sentMost } = world.serving;
  const { accepted, closed, connections, webSockets, framesDue, framesPublished } = stats;
  if (accepted !== connected) fail(`${connected} connected, ${accepted} were counted`);
  if (sum(closed) + connections + webSockets > accepted)
    fail(`${accepted} came, ${sum(closed)} ended, ${connections} and ${webSockets} are there`);
  if (framesDue > due) fail(`${framesDue} frames are due, ${due} at most`);
  if (framesPublished > published) fail(`${framesPublished} of ${published} publications`);
  if (stats.messagesSent < sent || stats.messagesSent > sentMost)
    fail(`${stats.messagesSent} messages are queued, not ${sent} to ${sentMost}`);
  if (stats.bytesOut !== watch.written) fail(`${stats.bytesOut} bytes out, not ${watch.written}`);
  if (stats.bytesIn !== watch.read) fail(`${stats.bytesIn} bytes in, not ${watch.read}`);
  const ended = sum(closed) + watch.open;
  if (ended !== accepted) fail(`${accepted} came, ${watch.open} are open, ${sum(closed)} ended`);
  const evicted = (closed.Evicted ?? 0) + (closed.WsClientTooSlow ?? 0);
  if (stats.evicted !== evicted) fail(`${stats.evicted} evicted, ${evicted} for a reason`);
  if (evictions > evicted) fail(`${evictions} evictions were told, ${evicted} happened`);
}

/** After a step. @param isSettled all that follows from it has happened */
export function checkStep(world: World, memory: number, isSettled: boolean): void {
  const { engine, errors, watch, pump } = world;
  if (errors.length > 0) fail(errors.join("\n"));
  if (engine.x.memory.buffer.byteLength !== memory) fail("the memory has grown");
  watch.check();
  const rule = engine.x.check();
  if (rule !== 0) fail(`the engine's rule ${rule} does not hold`);
  if (!isSettled) return;
  checkTopics(world);
  checkCounters(world, pump.stats());
}

/** Everybody has read all there is, and no time limit has passed: who is open has what it is owed. */
export function checkDelivered(world: World): void {
  for (const { client, socket } of world.guests) {
    if (client.why !== undefined || client.phase !== "frames" || socket.gone !== "") continue;
    const ws = world.audience().get(client);
    if (!ws) continue;
    if (client.lack !== "") fail(`${client} lacks ${client.lack}`);
    const { bytes, frames, queued } = ws.lag;
    if (bytes + frames + queued > 0)
      fail(`${client} has all, and lags by ${bytes}, ${frames}, ${queued}`);
    if (client.isThirsty) fail(`${client} was not told that there is room again`);
    if (client.isUnanswered && !client.isStuck && !world.rules.isStarved)
      fail(`${client}: its last ping has no answer`);
  }
}

/** Time limits are kept: who is through, and whom the server has said goodbye to, is there no longer than that. */
export function checkPunctual(world: World, quiet: number): void {
  for (const { client, socket } of world.guests) {
    if (socket.gone !== "" || client.isStuck || client.why !== undefined) continue;
    const isOver = client.phase === "closed" || client.phase === "over";
    const since = Math.min(quiet, world.clock.now() - client.phaseAt);
    const isLate = isOver
      ? since > 10000
      : quiet > 40000 && (client.phase === "http" || world.isStopping);
    if (isLate) fail(`${client} is still connected after ${quiet} ms`);
  }
}

/** Those of whom a request, or an upgrade, has been handled. */
function known(world: World): Set<Client> {
  return new Set([...world.asks.values()].flatMap((one) => (one.isHandled ? [one.client] : [])));
}

/** Long after the last byte: who may still be there is. */
export function checkEnded(world: World): void {
  if (!world.post.isQuiet) fail("what the application said is still on its way");
  const heard = known(world);
  for (const { client, socket } of world.guests) {
    // The application is told of nobody who came and ended while it was behind.
    if (world.application && socket.gone !== "" && client.why === undefined && !heard.has(client))
      continue;
    if (client.lack !== "") fail(`${client} lacks ${client.lack}`);
    const isStuck = client.isStuck || client.why !== undefined || client.hasReset;
    if (!isStuck && socket.gone === "") fail(`${client} is still connected`);
    if (client.said.length > 0 && !isStuck && !client.isUnheard)
      fail(`${client}: ${client.said.length} messages were not handled`);
  }
}

/** After the end: nothing is left, and the counters agree. */
export function checkOver(world: World): void {
  const { engine, pump } = world;
  const stats = pump.stats();
  const get = (index: Control): number => engine.get(index);
  if (stats.receivePool.used !== 0) fail("a receive buffer leaked");
  if (stats.replyPool.used !== 0) fail("a reply block leaked");
  if (stats.connections !== 0 || stats.webSockets !== 0) fail("a slot leaked");
  if (stats.topics !== 0 || stats.subscriptions !== 0) fail("a subscription leaked");
  if (get(Control.DeadCount) !== 0) fail("a dead slot was not freed");
  if (get(Control.DeflateCount) !== 0) fail("a reader of compressed messages leaked");
  if (engine.x.tick() !== -1) fail("a deadline leaked");
  if (sum(stats.closed) !== stats.accepted) fail("not all that came have ended");
  if (stats.evicted !== world.evictions)
    fail(`${stats.evicted} evicted, ${world.evictions} told of`);
  // A thread that ends, or that nobody waits for any more, is an error by itself, or none.
  if (world.settings.place !== "pool" && world.handlerErrors !== world.thrown)
    fail(`${world.thrown} errors were thrown, ${world.handlerErrors} counted`);
  const missed = world.clients.reduce((total, client) => total + client.missed, 0);
  if (missed > stats.messagesRefused)
    fail(`${missed} messages are missing, ${stats.messagesRefused} refused`);
  const heard = known(world);
  for (const { client } of world.guests) {
    if (client.why === undefined && (heard.has(client) || !world.application))
      fail(`${client} has ended, and nobody was told`);
  }
}
