// A WebSocket that is held while a message of it is being handled: the bytes after it stay unparsed in a buffer of its
// own, the receive window belongs to the next connection that is read, and the end of its peer is detected.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Outcome } from "../../assembly/abi";
import { Random } from "../../host/testing/random";
import { Runner } from "../../host/testing/run";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { Drive, type Wire } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { frame, lines, text } from "../lib/frame";
import { testEngine } from "../lib/wasm";

const held = suite("held");

/** Holds the connection whenever it is called, until `letGo`. */
function holdsEach(drive: Drive): void {
  drive.message = (wire) => drive.hold(wire, true);
}

held("a message assembled of two reads leaves the window", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  const other = drive.webSocket();
  const frame = text("a message of two reads");
  wire.send(frame.subarray(0, 12));
  holdsEach(drive);
  wire.send(frame.subarray(12));
  drive.message = () => undefined;
  other.send(text("x").subarray(0, 3));
  drive.hold(wire, false);
  wire.send(text("next"));
  other.send(text("x").subarray(3));
  assert.equal(wire.log.slice(1), ['text "a message of two reads"', 'text "next"']);
  assert.equal(other.log.slice(1), ['text "x"']);
  drive.end();
});

held("messages that the handler has not come to are taken back, and not counted", () => {
  const drive = new Drive();
  const { engine } = drive;
  const wire = drive.webSocket();
  holdsEach(drive);
  const words = ["one", "two", "three"];
  wire.send(Buffer.concat(words.map((word) => text(word))));
  for (let count = 1; count <= words.length; count++) {
    assert.equal(
      wire.log.slice(1),
      words.slice(0, count).map((word) => `text "${word}"`),
    );
    assert.is(engine.get(Control.MessagesIn), count);
    drive.hold(wire, false);
  }
  drive.end();
});

held("a message that is taken back counts once towards messageRate", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 5, IdleTimeout: 0 });
  const wire = drive.webSocket();
  holdsEach(drive);
  wire.send(Buffer.concat(Array.from({ length: 5 }, () => text("x"))));
  for (let i = 0; i < 5; i++) drive.hold(wire, false);
  assert.is(wire.messages.length, 5);
  drive.hold(wire, false);
  drive.message = () => undefined;
  wire.send(text("x"));
  assert.is(wire.log.at(-1), "end Rate");
  drive.end();
});

held("a connection that is released continues with a buffer that became free meanwhile", () => {
  const drive = new Drive({ WindowBytes: 65536, PayloadBytes: 65536 });
  // Begun messages take all that the pool has, but the quarter for small buffers.
  const begun = frame(2, "x".repeat(60000)).subarray(0, 50000);
  const hogs = Array.from({ length: 3 }, () => drive.webSocket().send(begun));
  const wire = drive.webSocket();
  holdsEach(drive);
  wire.send(Buffer.concat([text("one"), text("x".repeat(20000))]));
  drive.message = () => undefined;
  assert.ok(wire.rest);
  hogs[0]?.lose();
  assert.is(wire.messages.length, 1);
  // Nothing but the release says that it may continue.
  wire.held = false;
  drive.loop.release(wire);
  drive.turn();
  assert.is(wire.messages.length, 2);
  drive.end();
});

for (const [what, bad, end] of [
  ["bad UTF-8", text(Uint8Array.of(0x61, 0xff)), "end WsBadUtf8"],
  ["an unknown opcode", Uint8Array.of(0x83), "end WsUnknownOpcode"],
] as const) {
  held(`${what} after a message ends the connection when that has been handled`, () => {
    const drive = new Drive();
    const wire = drive.webSocket();
    holdsEach(drive);
    wire.send(Buffer.concat([text("first"), text("second"), bad]));
    assert.equal(wire.log.slice(1), ['text "first"']);
    drive.hold(wire, false);
    assert.equal(wire.log.slice(1), ['text "first"', 'text "second"']);
    drive.hold(wire, false);
    assert.equal(wire.log.slice(1), ['text "first"', 'text "second"', end]);
    drive.end();
  });
}

held("a peer that ends its side gets the answers to its messages", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  drive.message = (_, data) => {
    wire.push(data);
    drive.hold(wire, true);
  };
  wire.send(Buffer.concat([text("first"), text("second")])).finish();
  drive.hold(wire, false);
  assert.not(wire.dead);
  assert.equal(lines(wire.take()), ["text first", "text second"]);
  wire.stalled = true;
  wire.push("last");
  drive.hold(wire, false);
  assert.equal(wire.log.slice(1), ['text "first"', 'text "second"', 'peer close 1006 ""']);
  assert.is(wire.push("late"), Outcome.Gone);
  wire.unstall();
  assert.equal(lines(wire.take()), ["text last"]);
  assert.is(wire.log.at(-1), "closed PeerEnded");
  drive.end();
});

held("a peer that ended its side is waited for no longer than closeTimeout", () => {
  const drive = new Drive({ CloseTimeout: 2000 });
  const wire = drive.webSocket();
  drive.after(100000 - 40000);
  holdsEach(drive);
  wire.send(text("first")).finish();
  drive.after(1999);
  assert.not(wire.dead);
  drive.after(1);
  assert.is(wire.log.at(-1), "closed PeerEnded");
  drive.end();
});

held("a client whose Close waits unread while it is held does not end as CloseTimeout", () => {
  for (const isHeld of [true, false]) {
    const drive = new Drive({ CloseTimeout: 2000 });
    const wire = drive.webSocket();
    drive.hold(wire, isHeld);
    wire.close(1000);
    drive.turn();
    assert.equal(lines(wire.take()), ["close 1000"]);
    if (isHeld) wire.send(text("first"), frame(8, "\x03\xe8"));
    drive.after(1999);
    assert.not(wire.dead);
    drive.after(isHeld ? 2000 : 1);
    assert.is(wire.log.at(-1), `closed ${isHeld ? "Application" : "CloseTimeout"}`);
    drive.end();
  }
});

held("bytes that come while a connection is held use the room of handled ones", () => {
  const drive = new Drive();
  const { engine } = drive;
  const wire = drive.webSocket();
  holdsEach(drive);
  const message = text("x".repeat(1000));
  for (let i = 0; i < 60; i++) wire.send(message);
  for (let i = 0; i < 1000; i++) {
    drive.hold(wire, false);
    wire.send(message);
    engine.x.gauge();
    const used = engine.get(Control.ReceivePoolUsed);
    assert.ok(used <= 131072, `${used} bytes are held for 60 KB`);
  }
  assert.is(wire.messages.length, 1001);
  drive.end();
});

held(
  "a held connection that finds no buffer keeps its bytes with the host, and closes no other",
  () => {
    const drive = new Drive({
      WindowBytes: 65536,
      ReceivePoolBytes: 65536,
      BufferTimeout: 1000,
      IdleTimeout: 0,
    });
    const wire = drive.webSocket();
    holdsEach(drive);
    wire.send(Buffer.concat([text("first"), text("x".repeat(30000)), text("x".repeat(30000))]));
    assert.ok((wire.rest?.length ?? 0) > 60000);
    drive.after(100000);
    assert.not(wire.ended);
    drive.message = () => undefined;
    drive.hold(wire, false);
    assert.equal(
      wire.messages.map(({ length }) => length),
      [5, 30000, 30000],
    );
    drive.end();
  },
);

/** Draws a client's output: frames, and the events that the host must receive. */
function talk(r: Random): { bytes: Uint8Array; log: string[]; messages: string[] } {
  const frames: Uint8Array[] = [];
  const log: string[] = [];
  const messages: string[] = [];
  const ping = (): void => {
    const opcode = r.pick([9, 10]);
    const word = `p${r.int(0, 99)}`;
    frames.push(frame(opcode, word));
    log.push(`${opcode === 9 ? "ping" : "pong"} ${JSON.stringify(word)}`);
  };
  for (let i = r.int(1, 40); i > 0; i--) {
    if (r.chance(0.1)) {
      ping();
      continue;
    }
    const opcode = r.pick([1, 2]);
    const payload = `${i}:${"m".repeat(r.size(r.chance(0.1) ? 30000 : 300))}`;
    const parts = r.chance(0.85) ? 1 : r.int(2, 4);
    const mask = [r.int(0, 255), r.int(0, 255), r.int(0, 255), r.int(0, 255)];
    for (let part = 0; part < parts; part++) {
      const from = Math.floor((payload.length * part) / parts);
      const to = Math.floor((payload.length * (part + 1)) / parts);
      const final = part === parts - 1;
      frames.push(frame(part === 0 ? opcode : 0, payload.slice(from, to), { final, mask }));
      if (!final && r.chance(0.3)) ping();
    }
    const brief = payload.length > 40 ? `(${payload.length})` : JSON.stringify(payload);
    log.push(`${opcode === 1 ? "text" : "binary"} ${brief}`);
    messages.push(payload);
  }
  return { bytes: Buffer.concat(frames), log, messages };
}

held("clients that hold all buffers do not wait for each other once they are released", () => {
  const drive = new Drive({ ReceivePoolBytes: 65536, WindowBytes: 8192 });
  const wires = [drive.webSocket(), drive.webSocket()];
  const message = text("x".repeat(1000));
  for (const wire of wires) drive.hold(wire, true);
  for (let i = 0; i < 40; i++) for (const wire of wires) wire.send(message);
  assert.ok(
    wires.every(({ rest }) => (rest?.length ?? 0) > 0),
    "both wait for a larger buffer",
  );
  for (const wire of wires) drive.hold(wire, false);
  assert.equal(
    wires.map(({ messages }) => messages.length),
    [40, 40],
  );
  drive.end();
});

held("wherever reads are cut and handlers hold, messages come once, whole and in order", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const r = new Random(seed);
    const WindowBytes = r.pick([512, 4096, 65536]);
    const drive = new Drive({ WindowBytes, ReceivePoolBytes: 4194304, IdleTimeout: 0 });
    const wires = [drive.webSocket(), drive.webSocket()];
    const talks = wires.map(() => talk(r));
    const sent = wires.map(() => 0);
    const isHeld = new Set<Wire>();
    const chance = r.pick([0.02, 0.3, 1]);
    drive.message = (wire) => {
      if (!r.chance(chance)) return;
      isHeld.add(wire);
      drive.hold(wire, true);
    };
    const isDone = (): boolean =>
      isHeld.size === 0 && sent.every((at, i) => at === talks[i]?.bytes.length);
    while (!isDone()) {
      const i = r.int(0, 1);
      const wire = wires[i] as Wire;
      const { bytes } = talks[i] as { bytes: Uint8Array };
      if (isHeld.has(wire) && r.chance(0.5)) {
        isHeld.delete(wire);
        drive.hold(wire, false);
      } else {
        const from = sent[i] as number;
        const to = Math.min(bytes.length, from + r.size(r.pick([40, 3000, 100000])) + 1);
        sent[i] = to;
        if (to > from) wire.send(bytes.subarray(from, to));
      }
    }
    for (const [i, wire] of wires.entries()) {
      assert.equal(wire.log.slice(1), talks[i]?.log, `seed ${seed}`);
      assert.equal(
        wire.messages.map((bytes) => Buffer.from(bytes).toString()),
        talks[i]?.messages,
        `seed ${seed}`,
      );
    }
    drive.end();
  }
});

for (const [what, bytes, log] of [
  ["a Close", Uint8Array.of(0x88, 0x80, 0, 0, 0, 0), ['peer close 1005 ""', "end PeerClosed"]],
  ["a fault", Uint8Array.of(0x83), ["end WsUnknownOpcode"]],
] as const) {
  held(`${what} waits for messages that are handled elsewhere`, () => {
    const drive = new Drive();
    const { engine } = drive;
    const wire = drive.webSocket();
    const { slot, generation } = wire;
    engine.x.relay(slot, generation, 1);
    wire.send(Buffer.concat([text("first"), text("second")]));
    wire.send(bytes);
    assert.equal(wire.log.slice(1), ['text "first"', 'text "second"', "end waits"]);
    assert.is(wire.take().length, 0);
    drive.check();
    engine.x.relay(slot, generation, 0);
    drive.hold(wire, false);
    assert.equal(wire.log.slice(4), log);
    drive.end();
  });
}

held(
  "4,000 clients behind an asynchronous handler take buffers of the pool, and nothing else",
  async () => {
    const [clients, messages] = [4000, 14];
    const clock = new VirtualClock();
    const runner = new Runner(clock);
    const net = new MemoryNet(clock);
    const pool = 16777216;
    const engine = testEngine({
      ...{ Connections: 4096, WebSockets: 4096, ReplyPoolBytes: 4194304, WindowBytes: 65536 },
      ...{ ReceivePoolBytes: pool, IdleTimeout: 0 },
    });
    const pump = new Pump({ engine, clock });
    const waiting: (() => void)[] = [];
    let calls = 0;
    pump.setHandler({
      request: (_, res) => res.upgrade(),
      message() {
        calls++;
        return new Promise<void>((resolve) => {
          waiting.push(resolve);
        });
      },
    });
    net.open(engine.windowView(), pump.accept);
    const sockets: (MemorySocket | undefined)[] = [];
    while (sockets.length < clients) {
      // As many as wait to be accepted at a time.
      for (let i = 0; i < 500; i++) {
        const socket = net.connect(4096, `#${sockets.length}`);
        socket?.send(Buffer.from(HANDSHAKE));
        sockets.push(socket);
      }
      await runner.settle();
    }
    const message = text("m".repeat(119));
    const talk = Buffer.concat(Array.from({ length: messages }, () => message));
    for (const socket of sockets) socket?.send(talk);
    await runner.settle();
    engine.x.gauge();
    // One message of each has been parsed. The rest lies where the plan says: nothing of it is with the host.
    assert.is(calls, clients);
    assert.is(engine.get(Control.MessagesIn), clients);
    const used = engine.get(Control.ReceivePoolUsed);
    const unparsed = clients * (talk.length - message.length);
    assert.ok(
      used >= unparsed && used <= Math.min(pool, clients * 65536),
      `${used} bytes are held`,
    );
    assert.ok(used <= 2 * unparsed, `${used} bytes are held for ${unparsed}`);
    assert.ok(pump.connections.every(({ rest }) => rest === undefined));
    // Clients that leave are noticed, and give their buffers back.
    for (const socket of sockets.slice(0, clients / 2)) socket?.reset();
    await runner.settle();
    assert.is(pump.count(), clients / 2);
    engine.x.gauge();
    assert.is(engine.get(Control.ReceivePoolUsed), used / 2);
    // The others' messages are handled, each once.
    while (waiting.length > 0) {
      for (const resolve of waiting.splice(0)) resolve();
      await runner.settle();
    }
    assert.is(calls, clients + (clients / 2) * (messages - 1));
    engine.x.gauge();
    assert.is(engine.get(Control.ReceivePoolUsed), 0);
    pump.endAll();
    await runner.settle();
    pump.stop();
  },
);

held.run();
