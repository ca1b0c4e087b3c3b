// WebSockets (RFC 6455): messages in every form, the closing handshake, and what is refused.

import { type Bytes, concat, latin1Of, octetsOf, pattern, textOf, textPattern } from "./bytes";
import { Checks, ok, same, sameBytes } from "./harness";
import { handshake } from "../lib/handshake";
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closeFrame, frame } from "./peer";

export const websocket = new Checks("websocket");

const SIZES = [0, 1, 125, 126, 127, 1000, 65535, 65536, 70000, 1048576];

websocket.add("the handshake has its fields and its protocol", async (scene) => {
  const peer = await scene.open("shake", "Sec-WebSocket-Protocol: a, b\r\n");
  for (const field of ["Set-Cookie: a=1", "Set-Cookie: b=2", "Sec-WebSocket-Protocol: b"]) {
    ok(peer.head.includes(`\r\n${field}\r\n`), `${field} in ${peer.head}`);
  }
  same(JSON.parse(await peer.text("!who").line()), ["shake", "/ws", "b", true]);
});

websocket.add("offers that break their grammar are refused", async (scene) => {
  for (const value of ["", ",", "a b", "a, a", "a/b", '"a"', "\xe9", "a;b"]) {
    const { status } = await (await scene.connect()).ask(
      handshake("/ws?offers", `Sec-WebSocket-Protocol: ${value}\r\n`),
    );
    same([value, status], [value, 400]);
  }
  for (const value of ["", ";", "a;", "a b", 'a;b="c d"']) {
    const { status } = await (await scene.connect()).ask(
      handshake("/ws?offers", `Sec-WebSocket-Extensions: ${value}\r\n`),
    );
    same([value, status], [value, 400]);
  }
  await scene.open("offers", "Sec-WebSocket-Protocol: c,, d\r\nSec-WebSocket-Protocol: e\r\n");
});

websocket.add("an upgrade may wait, or be refused by an ordinary answer", async (scene) => {
  const refused = await scene.connect();
  const { status, fields, body } = await refused.ask(handshake("/refused"));
  same([status, fields.get("x-why"), textOf(body)], [401, "x", "who?\n"]);
  // A proxy may have taken the connection for a tunnel by now, so nothing more is read from it as HTTP.
  same((await refused.takeAll()).length, 0);
  const wire = await scene.connect();
  wire.send(concat([octetsOf(handshake("/later?late")), frame(TEXT, "early")]));
  const head = await wire.takeThrough("\r\n\r\n");
  ok(head.startsWith("HTTP/1.1 101 "), head);
  // A server's short frames.
  sameBytes(await wire.take(14), concat([Uint8Array.of(0x81, 12), octetsOf("welcome late")]), "1");
  sameBytes(await wire.take(7), concat([Uint8Array.of(0x81, 5), octetsOf("early")]), "2");
});

websocket.add("messages are answered before the Close, or the fault, after them", async (scene) => {
  const faults = [
    [closeFrame(1000), 1000, ""],
    [frame(3), 1002, "a frame has an unknown opcode"],
    [frame(TEXT, Uint8Array.of(0xff)), 1007, "a text is not valid UTF-8"],
  ] as const;
  for (const [last, code, reason] of faults) {
    const peer = await scene.open("before");
    peer.wire.send(
      concat([frame(TEXT, "one"), frame(BINARY, "two"), frame(TEXT, "!late 5 3"), last]),
    );
    for (const due of ["one", "two", "3"]) sameBytes((await peer.next()).payload, due, "a message");
    same(await peer.closing(), [code, reason]);
    same(await peer.gone(), "fin");
  }
});

websocket.add("messages wait until an asynchronous open has settled", async (scene) => {
  const wire = await scene.connect();
  wire.send(concat([octetsOf(handshake("/async?slow")), frame(TEXT, "early")]));
  await wire.takeThrough("\r\n\r\n");
  same(latin1Of((await wire.take(14)).subarray(2)), "welcome slow");
  same(latin1Of((await wire.take(7)).subarray(2)), "early");
});

websocket.add("text of 0 B to 1 MiB comes back", async (scene) => {
  const peer = await scene.open("text");
  for (const n of SIZES) {
    const text = "x".repeat(n);
    sameBytes(await peer.text(text).message(TEXT), text, `${n} bytes`);
  }
  const text = textPattern(20000);
  sameBytes(await peer.text(text).message(TEXT), text, "characters of every length");
});

websocket.add("binary messages of 0 B to 1 MiB come back", async (scene) => {
  const peer = await scene.open("binary");
  for (const n of SIZES) {
    const bytes = pattern(n, n);
    sameBytes(await peer.send(BINARY, bytes).message(BINARY), bytes, `${n} bytes`);
  }
});

websocket.add("fragments are one message, with control frames between them", async (scene) => {
  const peer = await scene.open("fragments");
  const bytes = pattern(300000, 4);
  const cuts = [0, 0, 1, 126, 1000, 70000, 70000, 200000, 300000];
  for (let i = 1; i < cuts.length; i++) {
    const final = i === cuts.length - 1;
    const piece = bytes.subarray(cuts[i - 1], cuts[i]);
    peer.send(i === 1 ? BINARY : CONTINUATION, piece, { final });
    if (!final) peer.send(PING, `between ${i}`);
    if (!final) sameBytes(await peer.message(PONG), `between ${i}`, "pong");
  }
  sameBytes(await peer.message(BINARY), bytes, "message");
  // Cut within a character.
  const euro = octetsOf("\xe2\x82\xac");
  peer.send(TEXT, euro.subarray(0, 1), { final: false });
  peer.send(CONTINUATION, euro.subarray(1, 2), { final: false });
  peer.send(CONTINUATION, euro.subarray(2));
  same(await peer.line(), "€");
});

websocket.add("frames that come byte by byte", async (scene) => {
  const peer = await scene.open("trickle");
  const trickle = async (octets: Uint8Array) => {
    for (const octet of octets) {
      peer.wire.send(Uint8Array.of(octet));
      await scene.running.wait(0);
    }
  };
  await trickle(frame(TEXT, "trickled"));
  // The server answers pings by itself: a pong may pass the answer of a handler on another thread.
  same(await peer.line(), "trickled");
  await trickle(concat([frame(PING, "p"), frame(BINARY, "b")]));
  sameBytes(await peer.message(PONG), "p", "pong");
  sameBytes(await peer.message(BINARY), "b", "binary");
});

websocket.add(
  "2,000 messages in one write, after the handshake, keep their order",
  async (scene) => {
    const numbers = Array.from({ length: 2000 }, (_, i) => `${i}`);
    const peer = await scene.open("many", "", concat(numbers.map((text) => frame(TEXT, text))));
    for (const text of numbers) same(await peer.line(), text);
  },
);

websocket.add("asynchronous handlers keep the order of messages", async (scene) => {
  const peer = await scene.open("ordered");
  peer.text("!late 20 first").text("second").text("!late 1 third").text("fourth");
  for (const text of ["first", "second", "third", "fourth"]) same(await peer.line(), text);
});

websocket.add("a message followed at once by a FIN gets its answer", async (scene) => {
  const peer = await scene.open("half");
  peer.wire.send(concat([frame(TEXT, "one"), frame(TEXT, "two")])).end();
  same([await peer.line(), await peer.line()], ["one", "two"]);
  same(await peer.gone(), "fin");
  same((await scene.log("half"))[0]?.[3], "PeerEnded");
  const late = await scene.open("half-late");
  late.wire.send(concat([frame(TEXT, "!late 20 one"), frame(TEXT, "two")])).end();
  same([await late.line(), await late.line()], ["one", "two"]);
  same(await late.gone(), "fin");
  same((await scene.log("half-late"))[0]?.[3], "PeerEnded");
});

websocket.add(
  "no message arrives after pause, in the same read or later, until resume",
  async (scene) => {
    const paused = await scene.open("paused");
    const other = await scene.open("other");
    paused.wire.send(
      concat([frame(TEXT, "!pause"), frame(TEXT, "!note 1"), frame(TEXT, "!note 2")]),
    );
    same(await scene.log("paused"), [["pause"]]);
    paused.text("!note 3");
    same(await other.text("still here").line(), "still here");
    other.text("!resume paused");
    same(await paused.text("last").line(), "last");
    same(
      await scene.log("paused", 3),
      ["1", "2", "3"].map((word) => ["note", word]),
    );
  },
);

websocket.add("a handler that pauses and resumes at once loses nothing", async (scene) => {
  const peer = await scene.open("blink");
  const texts = ["a", "b", "c", "d"];
  peer.wire.send(concat(texts.flatMap((text) => [frame(TEXT, "!blink"), frame(TEXT, text)])));
  for (const text of texts) same(await peer.line(), text);
});

websocket.add("no message arrives after terminate", async (scene) => {
  for (const first of ["!terminate", "!nap"]) {
    const peer = await scene.open("ended");
    const asked = [first, "!terminate", "!note after", "!note again"];
    peer.wire.send(concat(asked.map((text) => frame(TEXT, text))));
    await peer.gone();
    same(
      (await scene.log("ended")).map(([what]) => what),
      ["close"],
    );
  }
});

for (const how of ["reset", "end"] as const) {
  websocket.add(
    `a client that leaves (${how}) while a handler has not settled, or paused, is noticed`,
    async (scene) => {
      const texts = { never: ["!never", "more"], paused: ["!pause", "more"], stuck: ["early"] };
      for (const [name, said] of Object.entries(texts)) {
        const peer = await scene.open(`${name}-${how}`);
        peer.wire.send(concat(said.map((text) => frame(TEXT, text))));
        if (name === "paused") await scene.log(`paused-${how}`);
        peer.wire[how]();
        await scene.until(`${name} is noticed`, async () => {
          return (await scene.server.stats()).webSockets === 0;
        });
        same((await scene.log(`${name}-${how}`))[0]?.slice(0, 2), ["close", 1006]);
      }
    },
    { options: { closeTimeout: 100 } },
  );
}

websocket.add("a string may go as binary, and bytes come as bytes", async (scene) => {
  const peer = await scene.open("kinds");
  sameBytes(await peer.text("!binary abc").message(BINARY), "abc", "binary");
  same((await peer.text("!bytes 200000").message(BINARY)).length, 200000);
});

websocket.add("pings are answered, pings and pongs reported", async (scene) => {
  const peer = await scene.open("pings");
  for (const data of ["", "ping", "x".repeat(125)]) {
    sameBytes(await peer.send(PING, data).message(PONG), data, "pong");
  }
  peer.send(PONG, "unasked").text("!ping hello");
  sameBytes(await peer.message(PING), "hello", "ping");
  peer.send(PONG, "hello");
  same(await scene.log("pings", 5), [
    ["ping", ""],
    ["ping", "ping"],
    ["ping", "x".repeat(125)],
    ["pong", "unasked"],
    ["pong", "hello"],
  ]);
});

websocket.add("a client's Close is answered with its code, and reported", async (scene) => {
  const peer = await scene.open("theirs");
  peer.wire.send(closeFrame(4001, "bye €"));
  same((await peer.closing())[0], 4001);
  peer.wire.end();
  same(await peer.gone(), "fin");
  same(await scene.log("theirs"), [["close", 4001, "bye €", "PeerClosed", false]]);
  const bare = await scene.open("bare");
  bare.send(CLOSE);
  await bare.closing();
  bare.wire.end();
  await bare.gone();
  same((await scene.log("bare"))[0]?.[1], 1005);
});

websocket.add(
  "a Close of the server comes after the messages before it, and is reported",
  async (scene) => {
    const peer = await scene.open("ours");
    peer.text("before").text("!close 4000 as you wish");
    same(await peer.line(), "before");
    same(await peer.closing(), [4000, "as you wish"]);
    peer.wire.send(closeFrame(4000)).end();
    same(await peer.gone(), "fin");
    same(await scene.log("ours"), [
      ["close", 4000, "closed by the application", "Application", false],
    ]);
  },
);

websocket.add("terminate ends at once", async (scene) => {
  const peer = await scene.open("cut");
  await peer.text("!terminate").gone();
  same((await scene.log("cut"))[0]?.[1], 1006);
});

websocket.add("a client that leaves without a Close is 1006", async (scene) => {
  const reset = await scene.open("gone");
  reset.reset();
  same((await scene.log("gone"))[0]?.slice(0, 2), ["close", 1006]);
  const ended = await scene.open("ended");
  ended.wire.end();
  await ended.gone();
  same((await scene.log("ended"))[0]?.slice(0, 2), ["close", 1006]);
});

websocket.add("an error of a handler is close 1011, and reported", async (scene) => {
  const before = scene.running.errors.length;
  const message = await scene.open("failing");
  same(await message.text("!fail").text("!fail").closing(), [1011, "the handler failed"]);
  const pong = await scene.open("failing");
  same(await pong.send(PONG, "fail").closing(), [1011, "the handler failed"]);
  const ping = await scene.open("failing");
  ping.send(PING, "fail");
  sameBytes(await ping.message(PONG), "fail", "pong");
  same(await ping.closing(), [1011, "the handler failed"]);
  await scene.until("report", () => scene.running.errors.length > before + 2);
  const where = ["message", "pong", "ping"];
  const expected = where.map((name) => ({ where: name, message: "failed as asked" }));
  same(scene.running.errors.slice(before), expected);
});

/** Octets of text that is not UTF-8. */
const BAD_TEXT = ["\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82"];

/** Octets that fail a connection, by the code it is closed with (RFC 6455 7.4). */
const BAD: Readonly<Record<number, Readonly<Record<string, Bytes>>>> = {
  1002: {
    "no mask": frame(TEXT, "a", { masked: false }),
    "a reserved bit": frame(TEXT, "a", { reserved: 1 }),
    "compressed, not negotiated": frame(TEXT, "a", { reserved: 4 }),
    "an unknown opcode": frame(3, "a"),
    "an unknown control opcode": frame(11, "a"),
    "a fragmented ping": frame(PING, "a", { final: false }),
    "a ping of 126 bytes": frame(PING, "a".repeat(126)),
    "a continuation of nothing": frame(CONTINUATION, "a"),
    "text within a message": concat([frame(TEXT, "a", { final: false }), frame(TEXT, "b")]),
    "a length that is not in its shortest form": frame(TEXT, "a", { form: 2 }),
    "a Close of one octet": frame(CLOSE, "a"),
    "a Close with 1005": closeFrame(1005),
    "a Close with 999": closeFrame(999),
  },
  1007: {
    ...Object.fromEntries(
      BAD_TEXT.map((text) => [latin1Of(octetsOf(text)), frame(TEXT, octetsOf(text))]),
    ),
    "a first fragment": frame(TEXT, octetsOf("ok \xff"), { final: false }),
    "a Close whose reason is no text": frame(CLOSE, octetsOf("\x03\xe8\xff")),
  },
};

for (const [code, frames] of Object.entries(BAD)) {
  websocket.add(`${code} closes what is not allowed`, async (scene) => {
    for (const [name, bytes] of Object.entries(frames)) {
      const peer = await scene.open("bad", "", frame(TEXT, "good"));
      same(await peer.line(), "good", name);
      peer.wire.send(bytes);
      const [got, reason] = await peer.closing();
      same([got, reason !== ""], [Number(code), true], name);
      peer.wire.end();
      await peer.gone();
    }
  });
}

websocket.add(
  "1009 closes a message that is too long, in one frame or several",
  async (scene) => {
    for (const sizes of [[70001], [50000, 20001], [70000, 1]]) {
      const peer = await scene.open("long");
      sizes.forEach((n, i) => {
        const final = i === sizes.length - 1;
        peer.send(i === 0 ? BINARY : CONTINUATION, pattern(n), { final });
      });
      const [got, reason] = await peer.closing();
      same([got, reason.endsWith("is larger than maxPayloadLength")], [1009, true]);
    }
    const peer = await scene.open("fits");
    same((await peer.send(BINARY, pattern(70000)).message(BINARY)).length, 70000);
  },
  { options: { maxPayloadLength: 70000 } },
);

websocket.add(
  "a client whose queue is full is drained, and nothing it was promised is lost",
  async (scene) => {
    const peer = await scene.open("flood");
    peer.text("!flood");
    same(await scene.log("flood"), [["flood", true, true]]);
    let got = 0;
    let next = await peer.next();
    for (; next.opcode === BINARY; next = await peer.next()) {
      same(next.payload.length, 10000);
      got++;
    }
    same(textOf(next.payload), `drained ${got}`);
  },
  { options: { maxBacklog: 65536 } },
);
