// Publishing, flushing and evicting, by number of clients; and what one request and one small frame cost the engine.

import { Host } from "./engine-host.mjs";
import { assert, nanos } from "./engine-rounds.mjs";

export const CLIENTS = [10, 100, 1000, 10000];
const SIZE = 64;
const FRAME = SIZE + 2;
/** Messages published between two flush passes, when publishing alone is measured. */
const BATCH = 256;

function hostWith(binding, module, clients, params = {}) {
  const host = new Host(binding, module, { WebSockets: clients, ...params });
  const list = Array.from({ length: clients }, () => host.open());
  host.engine.u8.fill("m", host.engine.scratch, host.engine.scratch + SIZE);
  return { host, list };
}

/** Publishes one message to everyone. */
function publish(host) {
  const outcome = host.x.publish(1, host.engine.scratch, SIZE, 0, 0, 0, 0, 0);
  if (outcome !== host.abi.Outcome.Ok) throw new Error(`publish: ${host.abi.Outcome[outcome]}`);
}

/**
 * Times a flush pass without the writing and returns its nanoseconds. At the end of the ring a client has two rows.
 * @param {number} least fewest rows that are expected
 */
function timedFlush(host, least) {
  const { x } = host;
  let from = nanos();
  let took = 0;
  let seen = 0;
  for (;;) {
    const count = x.flush();
    took += nanos() - from;
    if (count === 0) break;
    host.complete(count);
    seen += count;
    from = nanos();
  }
  if (seen < least) throw new Error(`${seen} rows for ${least} clients`);
  return took;
}

export function publishVariants({ binding, modules }, clients) {
  return modules.map(({ name, module }) => {
    const { host } = hostWith(binding, module, clients);
    return {
      name,
      check() {
        const before = host.engine.control[binding.Control.FramesDue];
        for (let i = 0; i < 3; i++) publish(host);
        const due = host.engine.control[binding.Control.FramesDue] - before;
        assert(due === 3 * clients, `${due} frames due`);
        const count = host.x.flush();
        assert(host.row(0).length === 3 * FRAME, "the messages are one run");
        host.complete(count);
        assert(count + host.flush() === clients, "a row for each client");
      },
      run(n) {
        let took = 0;
        let done = 0;
        while (done < n) {
          const from = nanos();
          for (let i = 0; i < BATCH; i++) publish(host);
          took += nanos() - from;
          host.flush();
          done += BATCH;
        }
        return took / done;
      },
    };
  });
}

/** Measures a flush pass for `messages` messages, per client. */
export function flushVariants({ binding, modules }, clients, messages) {
  return modules.map(({ name, module }) => {
    const { host } = hostWith(binding, module, clients);
    const pass = () => {
      for (let i = 0; i < messages; i++) publish(host);
      return timedFlush(host, clients);
    };
    return {
      name,
      check() {
        const before = host.engine.control[binding.Control.BytesOut];
        pass();
        const sent = host.engine.control[binding.Control.BytesOut] - before;
        assert(sent === clients * messages * FRAME, `${sent} bytes out`);
      },
      run(n) {
        let took = 0;
        let passes = 0;
        for (; passes * clients < n; passes++) took += pass();
        return took / passes / clients;
      },
    };
  });
}

/** Measures a flush pass for 1,000 topics with ten subscribers each and a message to every topic, per delivery. */
export function topicVariants({ binding, modules }, clients) {
  const topics = 1000;
  const subscribers = 10;
  const deliveries = topics * subscribers;
  return modules.map(({ name, module }) => {
    const { host, list } = hostWith(binding, module, clients, {
      Topics: topics,
      Subscriptions: deliveries,
    });
    for (let i = 0; i < deliveries; i++) {
      host.subscribe(list[i % clients], `topic ${Math.floor(i / subscribers)}`);
    }
    const { engine, x } = host;
    const numbers = [];
    for (let i = 0; i < topics; i++) {
      numbers.push(x.findTopic(engine.scratch, engine.putTopic(`topic ${i}`)));
    }
    engine.u8.fill("m", engine.scratch, engine.scratch + SIZE);
    const pass = () => {
      for (const number of numbers) {
        const outcome = x.publish(1, engine.scratch, SIZE, 0, 0, number, 0, 0);
        if (outcome !== binding.Outcome.Ok) throw new Error(binding.Outcome[outcome]);
      }
      return timedFlush(host, clients);
    };
    return {
      name,
      check() {
        const before = engine.control[binding.Control.BytesOut];
        pass();
        const sent = engine.control[binding.Control.BytesOut] - before;
        assert(sent === deliveries * FRAME, `${sent} bytes out`);
      },
      run(n) {
        let took = 0;
        let passes = 0;
        for (; passes * deliveries < n; passes++) took += pass();
        return took / passes / deliveries;
      },
    };
  });
}

// ---- eviction --------------------------------------------------------------------------------------------------

/**
 * Clients that each stop at a position of their own in the ring; then messages that lap them, one after
 * the other. Measures the call that finds the client with the largest lag and ends it, before it stages anything.
 */
export function evictionVariants({ binding, modules }, clients) {
  const capacity = 2 ** Math.ceil(Math.log2(clients * FRAME * 4));
  const params = {
    RingBytes: Math.max(capacity, 65536),
    Topics: clients,
    Subscriptions: clients,
  };
  return modules.map(({ name, module }) => {
    const { host, list } = hostWith(binding, module, clients, params);
    const { engine, x } = host;
    const victims = Math.min(clients >> 1, 500);
    const { Control, EventKind, Outcome, CloseReason } = binding;
    /** Publishes until `count` clients have been evicted; returns the nanoseconds of one. */
    const evict = (count) => {
      const order = [];
      let took = 0;
      for (let evicted = 0; evicted < count; ) {
        const from = nanos();
        const outcome = x.publish(1, engine.scratch, SIZE, 0, 0, 0, 0, 0);
        const passed = nanos() - from;
        if (outcome === Outcome.Flush) {
          host.flush();
          continue;
        }
        if (outcome === Outcome.Ok) continue;
        if (outcome !== Outcome.Evicted) throw new Error(`publish: ${Outcome[outcome]}`);
        took += passed;
        for (let i = 0; i < host.events; i++) {
          if (host.event(i).kind !== EventKind.Closed) continue;
          if (host.event(i).value !== CloseReason.WsClientTooSlow) continue;
          const slot = host.event(i).slot;
          order.push(slot);
          evicted++;
          // Its connection has been reset, so the memory of its write may be overwritten.
          x.free(slot, host.event(i).generation);
        }
        host.dropEvents();
      }
      return { order, nanos: took / count };
    };
    /** Gives each client a message of its own, which it never reads to the end. */
    const stall = () => {
      while (list.length < clients) list.push(host.open());
      for (const [i, c] of list.entries()) {
        const topic = `topic ${i}`;
        host.subscribe(c, topic);
        const number = x.findTopic(engine.scratch, engine.putTopic(topic));
        const outcome = x.publish(1, engine.scratch, SIZE, 0, 0, number, 0, 0);
        if (outcome !== Outcome.Ok) throw new Error(`publish: ${Outcome[outcome]}`);
      }
      // Every row is taken, and none completes.
      let rows = 0;
      for (let count = x.flush(); count > 0; count = x.flush()) rows += count;
      if (rows !== clients) throw new Error(`${rows} rows`);
      host.dropEvents();
      host.time(1000);
    };
    const clear = () => {
      for (const c of list) {
        x.terminate(c.slot, c.generation, CloseReason.PeerReset);
        host.dropEvents();
        x.free(c.slot, c.generation);
      }
      list.length = 0;
      host.flush();
    };
    const turn = () => {
      stall();
      const wanted = list.slice(0, victims).map((c) => c.slot);
      const result = evict(victims);
      const isInOrder = result.order.every((slot, i) => slot === wanted[i]);
      if (!isInOrder) throw new Error("not the one furthest behind was evicted");
      clear();
      return result.nanos;
    };
    return {
      name,
      check() {
        const before = engine.control[Control.Evicted];
        turn();
        assert(engine.control[Control.Evicted] - before === victims, "evictions are counted");
      },
      run(n) {
        let took = 0;
        let turns = 0;
        for (; turns * victims < n; turns++) took += turn();
        return took / turns;
      },
    };
  });
}

// ---- one request, one frame --------------------------------------------------------------------------------------

const GET = Buffer.from(
  "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
);

/** Measures a request that arrives, the 200 response with six bytes to it, and the write of the response. */
export function requestTurnVariants({ binding, modules }) {
  return modules.map(({ name, module }) => {
    const host = new Host(binding, module);
    const c = host.connect();
    const { engine, x } = host;
    engine.control[binding.Control.Date] = 1700000000;
    const fields = engine.putFields([["Content-Type", "text/plain"]]);
    engine.u8.write("hello\n", engine.scratch + fields);
    engine.u8.set(GET, engine.window);
    const turn = () => {
      const consumed = x.feed(c.slot, c.generation, GET.length);
      if (host.events !== 1 || consumed !== GET.length) throw new Error("no request");
      host.dropEvents();
      if (x.respond(c.slot, c.generation, 200, 0, fields, 6) !== 0) throw new Error("no answer");
      if (x.flush() !== 1) throw new Error("no row");
      host.complete(1);
      if (x.flush() !== 0) throw new Error("another row");
    };
    return {
      name,
      check() {
        x.feed(c.slot, c.generation, GET.length);
        host.dropEvents();
        x.respond(c.slot, c.generation, 200, 0, fields, 6);
        assert(x.flush() === 1, "a row");
        const at = host.row(0).offset;
        const text = engine.u8.latin1Slice(at, at + host.row(0).length);
        const head =
          /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain\r\nDate: .{29}\r\nContent-Length: 6\r\n/;
        const kept = /\r\nConnection: keep-alive\r\nKeep-Alive: timeout=\d+\r\n\r\nhello\n$/;
        assert(head.test(text) && kept.test(text), text);
        host.complete(1);
        assert(x.flush() === 0, "the table is empty");
      },
      run(n) {
        const from = nanos();
        for (let i = 0; i < n; i++) turn();
        return (nanos() - from) / n;
      },
    };
  });
}

/** Measures a text of 40 bytes that arrives, its echo, and the write of the echo. */
export function echoTurnVariants({ binding, modules }) {
  const length = 40;
  const frame = Buffer.concat([
    Buffer.from([0x81, 0x80 | length, 1, 1, 1, 1]),
    Buffer.from("n".repeat(length)),
  ]);
  return modules.map(({ name, module }) => {
    const host = new Host(binding, module);
    const c = host.open();
    const { engine, x } = host;
    engine.u8.set(frame, engine.window);
    const turn = () => {
      x.feed(c.slot, c.generation, frame.length);
      if (host.events !== 1) throw new Error("no message");
      const at = host.event(0).pointer;
      if (x.send(c.slot, c.generation, 0, at, length) !== 0) throw new Error("not sent");
      host.dropEvents();
      if (x.flush() !== 1) throw new Error("no row");
      host.complete(1);
      if (x.flush() !== 0) throw new Error("another row");
    };
    return {
      name,
      check() {
        engine.u8.set(frame, engine.window);
        x.feed(c.slot, c.generation, frame.length);
        const from = host.event(0).pointer;
        x.send(c.slot, c.generation, 0, from, length);
        host.dropEvents();
        assert(x.flush() === 1, "a row");
        const at = host.row(0).offset;
        const sent = engine.u8.latin1Slice(at, at + host.row(0).length);
        assert(sent === `\x81\x28${"o".repeat(length)}`, "the echo");
        host.complete(1);
        assert(x.flush() === 0, "the table is empty");
        engine.u8.set(frame, engine.window);
      },
      run(n) {
        const from = nanos();
        for (let i = 0; i < n; i++) turn();
        return (nanos() - from) / n;
      },
    };
  });
}

/** Returns the bytes of the engine's memory that an open, idle WebSocket takes. */
export function webSocketBytes({ binding }) {
  const { Param, Region, firstParam, secondParam, regionBytes } = binding;
  const many = 16384;
  let sum = 0;
  for (let region = 0; region < Region.COUNT; region++) {
    const isFirst = firstParam(region) === Param.WebSockets;
    if (!isFirst && secondParam(region) !== Param.WebSockets) continue;
    const of = (count) => regionBytes(region, isFirst ? count : 0, isFirst ? 0 : count);
    sum += (of(2 * many) - of(many)) / many;
  }
  return sum;
}
