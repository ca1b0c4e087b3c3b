// The share of the pools that connections of one address hold: bounded, counted exactly, and without effect on other
// addresses.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Outcome, Param, SLOT_LIMIT } from "../../assembly/abi";
import { settle } from "../../host/options/settle";
import { Random } from "../../host/testing/random";
import { createTestServer } from "../../host/testing";
import { Drive, type Wire } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { closeFrame, frame, text } from "../lib/frame";
import { responsesOf } from "../lib/response";

const share = suite("share");

const A = "192.0.2.1";
const B = "192.0.2.2";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/** A request of which 3,000 bytes have come: 4 KiB of buffer. */
const START = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3200\r\n\r\n${"x".repeat(3000)}`;
const REST = "y".repeat(200);

const statuses = (wire: Wire): number[] => responsesOf(wire.text).map((reply) => reply.status);
const isWaiting = (wire: Wire): boolean => wire.drive.engine.isWaiting(wire.slot);
const used = (drive: Drive, pool: Control): number => {
  drive.engine.x.gauge();
  return drive.engine.get(pool);
};

// ---- receive buffers -----------------------------------------------------------------------------------

const RECEIVE = { AddressReceiveBytes: 8192, Connections: 32, BufferTimeout: 3000 };

share("a client above its address's quota waits, others do not", () => {
  const drive = new Drive(RECEIVE);
  const mine = [drive.connect(A).send(START), drive.connect(A).send(START)];
  const third = drive.connect(A).send(START);
  const other = drive.connect(B).send(START);
  const unknown = drive.connect().send(START);
  assert.equal([third, other, unknown].map(isWaiting), [true, false, false]);
  assert.is(used(drive, Control.ReceivePoolUsed), 16384);
  mine[0]?.send(REST);
  assert.not(isWaiting(third));
  for (const wire of [...mine.slice(1), third, other, unknown]) {
    wire.send(REST);
    assert.equal(statuses(wire), [200]);
  }
  drive.end();
});

share("a client that waits for its own address blocks no other", () => {
  const drive = new Drive({ ...RECEIVE, ReceivePoolBytes: 24576 });
  const mine = [drive.connect(A).send(START), drive.connect(A).send(START)];
  const own = drive.connect(A).send(START);
  const others = Array.from({ length: 4 }, (_, i) => drive.connect(`10.0.0.${i}`).send(START));
  const late = drive.connect(B).send(START);
  assert.equal([own, late].map(isWaiting), [true, true], "the pool is empty as well");
  others[0]?.send(REST);
  assert.equal([own, late].map(isWaiting), [true, false]);
  mine[0]?.send(REST);
  assert.not(isWaiting(own));
  for (const wire of [mine[1] as Wire, own, late, ...others.slice(1)]) wire.send(REST);
  assert.equal(statuses(own), [200]);
  assert.equal(statuses(late), [200]);
  drive.end();
});

share("a wait that is too long ends the largest holder of the same address", () => {
  const drive = new Drive({ ...RECEIVE, BodyBytes: 30000, AddressReceiveBytes: 20480 });
  const other = drive.connect(B);
  other.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n${"x".repeat(14000)}`);
  const large = drive.connect(A);
  large.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n${"x".repeat(9000)}`);
  const small = drive.connect(A).send(START);
  const late = drive.connect(A).send(START);
  assert.equal([small, late].map(isWaiting), [false, true]);
  drive.after(2999);
  assert.ok(isWaiting(late));
  drive.after(1);
  assert.not(isWaiting(late));
  assert.equal(large.log, ["end AddressBuffers"]);
  assert.equal(statuses(large), [429]);
  for (const wire of [small, late]) {
    wire.send(REST);
    assert.equal(statuses(wire), [200]);
  }
  assert.not(other.ended);
  drive.end();
});

share("a buffer that grows counts once; a WebSocket takes its own along", () => {
  const drive = new Drive({ ...RECEIVE, AddressReceiveBytes: 32768 });
  const wire = drive.webSocket(A);
  const message = text("x".repeat(20000));
  for (let at = 0; at < message.length - 1; at += 500)
    wire.send(message.subarray(at, Math.min(at + 500, message.length - 1)));
  assert.is(used(drive, Control.ReceivePoolUsed), 32768);
  const second = drive.connect(A).send(START);
  assert.ok(isWaiting(second));
  wire.send(message.subarray(-1));
  assert.is(wire.messages[0]?.length, 20000);
  assert.not(isWaiting(second));
  second.send(REST);
  assert.equal(statuses(second), [200]);
  drive.end();
});

share("a handler that keeps a request cannot wait, so it is 429", () => {
  const drive = new Drive({ ...RECEIVE, AddressReceiveBytes: 4096 });
  drive.answer = () => undefined;
  drive.connect(A).send(`${GET}${GET}`);
  const second = drive.connect(A).send(`${GET}${GET}`);
  drive.connect(A).send(`${GET}${GET}`);
  drive.connect(A).send(`${GET}${GET}`);
  const fifth = drive.connect(A).send(`${GET}${GET}`);
  assert.ok([second, fifth].some((wire) => wire.log.includes("end AddressBuffers")));
  assert.equal(statuses(fifth), [429]);
  const other = drive.connect(B).send(GET);
  assert.equal(other.log, ["GET / 1.1"]);
  drive.end();
});

share("bounds the bytes that wait outside of the pool for an address, too", () => {
  const drive = new Drive({ ...RECEIVE, ReceivePoolBytes: 262144 });
  const mine = Array.from({ length: 2 }, () => drive.connect(A).send(START));
  const late = Array.from({ length: 7 }, () => drive.connect(A).send(START));
  const held = late.filter(isWaiting);
  assert.is(held.length, Math.floor(16384 / START.length));
  for (const wire of late.slice(held.length)) {
    assert.equal(statuses(wire), [429]);
    assert.is(wire.log.at(-1), "end AddressBuffers");
  }
  assert.equal(statuses(drive.connect(B).send(START).send(REST)), [200]);
  // A connection that turns out to be another's takes its share along.
  const [first] = held as [Wire];
  assert.is(drive.engine.setAddress(first.slot, first.generation, B), Outcome.Ok);
  drive.check();
  assert.ok(isWaiting(drive.connect(A).send(START)));
  for (const wire of mine) wire.send(REST);
  drive.end();
});

// ---- reply blocks --------------------------------------------------------------------------------------

const REPLY = { AddressReplyBytes: 16384, ReplyPoolBytes: 262144, Backlog: 262144, IdleTimeout: 0 };

/** Sends until it is refused; how often it was not. */
function fill(wire: Wire, length: number): number {
  for (let n = 0; ; n++) {
    if (wire.push("x".repeat(length)) !== Outcome.Ok) return n;
    wire.drive.check();
  }
}

function stalled(drive: Drive, address: string): Wire {
  const wire = drive.webSocket(address);
  wire.stalled = true;
  return wire;
}

share("clients of one address hold no more reply blocks than it may, however many they are", () => {
  const drive = new Drive(REPLY);
  const [first, second] = [stalled(drive, A), stalled(drive, A)];
  const other = stalled(drive, B);
  assert.is(fill(first, 3000), 5, "four blocks of 4 KiB");
  assert.is(fill(second, 3000), 0);
  assert.is(fill(other, 3000), 5);
  assert.is(used(drive, Control.ReplyPoolUsed), 32768);
  assert.is(drive.engine.get(Control.MessagesRefused), 3);
  drive.end();
});

share("a refused client is notified once, when its address holds half of its quota", () => {
  const drive = new Drive(REPLY);
  const [first, second] = [stalled(drive, A), stalled(drive, A)];
  fill(first, 3000);
  fill(second, 3000);
  drive.turn();
  drive.turn();
  assert.equal([first.drains, second.drains], [0, 0]);
  first.deliver();
  assert.equal([first.drains, second.drains], [0, 0], "three of four blocks are taken");
  first.deliver();
  assert.equal([first.drains, second.drains], [1, 1]);
  drive.turn();
  assert.equal([first.drains, second.drains], [1, 1]);
  assert.is(fill(second, 3000), 2);
  drive.end();
});

share("a client that waits for room is notified when its address holds half of its quota", () => {
  const drive = new Drive(REPLY);
  const [first, second] = [stalled(drive, A), stalled(drive, A)];
  assert.is(drive.loop.awaitRoom(second), Outcome.Ok);
  second.push("x");
  fill(first, 3000);
  assert.is(drive.loop.awaitRoom(second), Outcome.Full, "the quota is scarce");
  second.unstall();
  drive.turn();
  assert.equal([second.drains, second.rooms], [0, 0]);
  first.deliver();
  first.deliver();
  assert.equal([second.drains, second.rooms], [0, 1]);
  drive.end();
});

share("a message that its address can never hold is refused, and no Drain runs in circles", () => {
  const drive = new Drive(REPLY);
  const wire = stalled(drive, A);
  assert.is(wire.push("x".repeat(20000)), Outcome.Full);
  for (let i = 0; i < 5; i++) drive.turn();
  assert.is(wire.drains, 0);
  assert.is(wire.push("x".repeat(9000)), Outcome.Ok);
  drive.end();
});

share("answers that find no block end their connection: AddressBuffers", () => {
  const drive = new Drive({ ...REPLY, AddressReplyBytes: 8192 });
  drive.answer = (wire) => void wire.respond(200, { body: "x".repeat(3500) });
  const wires = Array.from({ length: 3 }, () => drive.connect(A));
  for (const wire of wires) {
    wire.stalled = true;
    wire.send(GET);
  }
  assert.equal(
    wires.map((wire) => wire.log.at(-1)),
    ["GET / 1.1", "GET / 1.1", "closed AddressBuffers"],
  );
  const other = drive.connect(B).send(GET);
  assert.equal(statuses(other), [200]);
  drive.end();
});

share(
  "pipelined requests of an address that holds nearly all it may are not parsed, until it reads",
  () => {
    const drive = new Drive({ ...REPLY, AddressReplyBytes: 16384 });
    drive.answer = (wire) => void wire.respond(200, { body: "x".repeat(3500) });
    const wire = drive.connect(A);
    wire.stalled = true;
    wire.send(GET.repeat(20));
    assert.ok(wire.asked.length < 6, `${wire.asked.length} requests are out`);
    assert.not(wire.dead);
    wire.unstall();
    assert.equal(statuses(wire), new Array(20).fill(200));
    drive.end();
  },
);

function stalledAt(drive: Drive, address: string): Wire {
  const wire = drive.connect(address);
  wire.stalled = true;
  return wire;
}

// ---- answers that the host holds -------------------------------------------------------------------------

/** Bodies, each for one answer. */
function bodies(drive: Drive, bytes = 100000): (wire: Wire, status?: number) => Outcome {
  let number = SLOT_LIMIT;
  return (wire, status) => {
    number++;
    drive.bodies.set(number, new Uint8Array(bytes));
    return wire.respondStatic(number, status);
  };
}

share("large answers are held for all clients together as far as the pool is large", () => {
  const drive = new Drive({ Connections: 16, ReplyPoolBytes: 262144, RunBytes: 5000 });
  const answer = bodies(drive);
  const outcomes: Outcome[] = [];
  drive.answer = (wire) => void outcomes.push(answer(wire));
  const wires = Array.from({ length: 4 }, () => drive.connect());
  for (const wire of wires) {
    wire.stalled = true;
    wire.send(GET);
  }
  assert.equal(outcomes, [Outcome.Ok, Outcome.Ok, Outcome.Full, Outcome.Full]);
  assert.is(used(drive, Control.BodyBytes), 200000);
  for (const wire of wires.slice(2)) {
    wire.unstall();
    assert.equal(statuses(wire), [503]);
    assert.match(wire.text, /Retry-After: 1\r\nConnection: close/);
    assert.is(wire.log.at(-1), "end NoBuffer");
  }
  wires[0]?.unstall();
  assert.is(used(drive, Control.BodyBytes), 100000, "what has been read is held no more");
  const next = drive.connect().send(GET);
  assert.is(responsesOf(next.text)[0]?.body.length, 100000);
  wires[1]?.lose();
  assert.is(used(drive, Control.BodyBytes), 0);
  drive.end();
});

share("large answers count for their address", () => {
  const drive = new Drive({ ...REPLY, RunBytes: 5000, AddressReplyBytes: 131072 });
  const answer = bodies(drive);
  drive.answer = (wire) => void answer(wire);
  const [first, second, other] = [A, A, B].map((address) => stalledAt(drive, address)) as [
    Wire,
    Wire,
    Wire,
  ];
  for (const wire of [first, second, other]) wire.send(GET);
  second.unstall();
  assert.equal(statuses(second), [429]);
  assert.is(second.log.at(-1), "end AddressBuffers");
  first.unstall();
  other.unstall();
  assert.equal([first, other].map(statuses), [[200], [200]]);
  assert.equal(statuses(drive.connect(A).send(GET)), [200]);
  drive.end();
});

share("an address that holds nothing else may be given an answer larger than that", () => {
  const drive = new Drive({ ...REPLY, RunBytes: 5000, AddressReplyBytes: 65536 });
  const answer = bodies(drive);
  drive.answer = (wire) => void answer(wire);
  const [first, second] = [stalledAt(drive, A), stalledAt(drive, A)];
  first.send(GET);
  second.send(GET);
  assert.is(second.log.at(-1), "closed AddressBuffers", "there is no room for a word");
  first.unstall();
  assert.equal(statuses(first), [200]);
  drive.end();
});

share(
  "no body is held for an answer that has none, and none for those of the server's life",
  () => {
    const drive = new Drive({ ReplyPoolBytes: 262144, RunBytes: 5000 });
    const answer = bodies(drive);
    let status = 200;
    drive.answer = (wire) => void answer(wire, status);
    const wire = drive.connect();
    wire.stalled = true;
    wire.send(GET.replace("GET", "HEAD"));
    assert.is(drive.engine.get(Control.Result), 0);
    wire.deliver();
    status = 304;
    wire.send(GET);
    assert.equal([drive.engine.get(Control.Result), used(drive, Control.BodyBytes)], [0, 0]);
    wire.unstall();
    assert.match(
      wire.text,
      /^HTTP\/1.1 200 OK\r\n.*\r\nHTTP\/1.1 304 Not Modified\r\n.*\r\n\r\n$/s,
    );
    drive.bodies.set(1, new Uint8Array(1e6));
    drive.answer = (asked) => void asked.respondStatic(1);
    const second = drive.connect();
    second.stalled = true;
    second.send(GET);
    assert.is(used(drive, Control.BodyBytes), 0);
    assert.is(drive.engine.get(Control.Result), 1, "it is on its way all the same");
    second.unstall();
    assert.is(responsesOf(second.text)[0]?.body.length, 1e6);
    drive.end();
  },
);

share("pongs that find no block are dropped, and no connection fails for it", () => {
  const drive = new Drive({ ...REPLY, AddressReplyBytes: 8192 });
  const [full, wire] = [stalled(drive, A), stalled(drive, A)];
  while (full.push("x".repeat(400)) === Outcome.Ok);
  wire.send(frame(9, "p"));
  assert.is(drive.engine.get(Control.PongsDropped), 1);
  assert.not(wire.ended);
  drive.end();
});

share("a connection that moves to another address takes its buffers along", () => {
  const drive = new Drive({ ...REPLY, ...RECEIVE, AddressReplyBytes: 16384 });
  const { engine } = drive;
  drive.answer = (wire, asked) => {
    if (asked.target === "/last") return;
    if (asked.target === "/chat") wire.upgrade();
    else wire.respond(200, { body: "x".repeat(3500) });
  };
  const wire = drive.connect();
  wire.stalled = true;
  wire.send(`${GET}GET /last HTTP/1.1\r\nHost: a\r\n\r\n`);
  assert.is(engine.setAddress(wire.slot, wire.generation, A), Outcome.Ok);
  drive.check();
  assert.is(fill(stalled(drive, A), 3000), 3, "one block of four is its own");
  assert.is(engine.setAddress(wire.slot, wire.generation, B), Outcome.Ok);
  drive.check();
  assert.is(engine.setAddress(wire.slot, wire.generation, B), Outcome.Ok);
  drive.check();
  wire.unstall();
  drive.end();
});

share("the quota of addresses is set from the start or not at all", () => {
  const { engine } = new Drive();
  assert.throws(() => engine.configure(Param.AddressReplyBytes, 1e6), /fixed/);
  assert.throws(() => engine.configure(Param.AddressReceiveBytes, 1e6), /fixed/);
  assert.throws(
    () => settle({ maxReplyPerAddress: 1000 }),
    /^RangeError: maxReplyPerAddress: 1000 is less than maxBacklog|maxReplyPerAddress: 1000/,
  );
  assert.throws(
    () => settle({ maxReceivePerAddress: 1000 }),
    /maxReceivePerAddress: 1000 is less than maxPayloadLength/,
  );
  assert.is(settle({ maxReplyPerAddress: 1048576 }).values.maxReplyPerAddress, 1048576);
});

// ---- all of it -----------------------------------------------------------------------------------------

share("the bounds hold and the counts are exact, whatever happens", () => {
  for (let seed = 1; seed <= 15; seed++) {
    const random = new Random(seed);
    const limits = { AddressReceiveBytes: 16384, AddressReplyBytes: 32768 };
    const drive = new Drive({
      ...limits,
      ...{ Connections: 16, WebSockets: 16, EvictWhenFull: 1, Seed: seed, PayloadBytes: 10000 },
      ...{ ReceivePoolBytes: random.pick([65536, 262144]), Backlog: random.pick([2048, 65536]) },
      ...{ ReplyPoolBytes: random.pick([65536, 262144]), RunBytes: 700, BodyBytes: 10000 },
    });
    drive.answer = (wire, asked) => {
      if (asked.target === "/later") return;
      if (asked.target === "/chat") wire.upgrade();
      else wire.respond(200, { body: "x".repeat(random.int(0, 9000)) });
    };
    drive.message = (wire, data) => void wire.push(data);
    const addresses = [A, B, "2001:db8::1", ""];
    for (let step = 0; step < 500; step++) {
      const { wires } = drive;
      const wire = wires.length > 0 ? random.pick(wires) : undefined;
      const isHttp = wire !== undefined && wire.slot < 16;
      switch (random.int(0, 11)) {
        case 0:
        case 1:
          drive.tryConnect(random.pick(addresses));
          break;
        case 2:
          if (isHttp) wire.send(random.pick([GET, GET.repeat(3), HANDSHAKE, START.slice(0, 900)]));
          break;
        case 3:
          if (isHttp) wire.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
          break;
        case 4:
          if (wire?.open) wire.respond(200, { body: "y".repeat(random.int(0, 5000)) });
          break;
        case 5:
          if (wire && !isHttp && !wire.ended) {
            const message = text("z".repeat(random.int(0, 9000)));
            wire.send(message.subarray(0, random.int(1, message.length)));
          }
          break;
        case 6:
          if (wire && !isHttp) wire.push("p".repeat(random.int(0, 9000)));
          break;
        case 7:
          if (wire) wire.stalled = random.chance(0.6);
          break;
        case 8:
          if (wire && !wire.stalled) wire.unstall();
          else wire?.deliver();
          break;
        case 9:
          if (isHttp) drive.engine.setAddress(wire.slot, wire.generation, random.pick(addresses));
          break;
        case 10:
          drive.after(random.pick([1, 100, 1500, 4000]));
          break;
        default:
          if (random.chance(0.5)) wire?.lose();
          else if (wire && !isHttp && !wire.ended) wire.send(closeFrame(1000));
      }
      drive.publish("news");
      drive.turn();
      drive.check();
    }
    drive.end();
  }
});

share("a server bounds the memory held for one address, and others are served", async () => {
  const t = createTestServer({
    ...{ maxBacklog: 65536, maxReplyPerAddress: 262144, socketBuffer: 4096 },
    onError: () => undefined,
    handler: {
      request: (req, res) => (req.upgrade ? res.upgrade() : res.send(404)),
      message(ws, data) {
        for (let i = 0; i < 100; i++) ws.send(data);
      },
    },
  });
  const greedy = Array.from({ length: 20 }, () => t.connect("/", { remoteAddress: A }));
  const other = t.connect("/", { remoteAddress: B });
  await t.settle();
  for (const client of greedy) client.pause().send("g".repeat(2000));
  other.send("o".repeat(200));
  await t.settle();
  assert.is(other.messages.length, 100);
  const { replyPool } = await t.server.stats();
  assert.ok(
    replyPool.used <= 262144 && replyPool.used > 131072,
    `${replyPool.used} bytes are held`,
  );
  for (const client of greedy) client.reset();
  await t.close();
  assert.is((await t.server.stats()).replyPool.used, 0);
});

share.run();
