// Streamed bodies, on the engine itself: when each piece is emitted, the effect of a response on the rest, and the
// cost. Decoding and refusals are compared with collected bodies in http.test.ts.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Answer, Control, Outcome, Trait } from "../../assembly/abi";
import { Drive, type Wire } from "../lib/drive";
import { handshake } from "../lib/handshake";
import { fieldOf, responsesOf } from "../lib/response";
import { describeSplit, splits } from "../lib/split";

const upload = suite("upload");

const head = (...lines: string[]): string => `${lines.join("\r\n")}\r\n\r\n`;
const post = (...fields: string[]): string => head("POST / HTTP/1.1", "Host: a", ...fields);
const CHUNKED = post("Transfer-Encoding: chunked");
const GET = head("GET /next HTTP/1.1", "Host: a");
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** Returns a drive in which every body is streamed, its pieces noted. */
function streaming(params: object = {}): Drive {
  return new Drive(params).streamed(() => true);
}

function poolUsed(drive: Drive): number {
  drive.engine.x.gauge();
  return drive.engine.get(Control.ReceivePoolUsed);
}

const statuses = (wire: Wire): number[] => responsesOf(wire.text).map((reply) => reply.status);

upload("the head is emitted before the body, which comes piece by piece", () => {
  const drive = streaming();
  const seen: string[] = [];
  drive.began = (_, asked) => seen.push(`${asked.method} ${asked.traits & Trait.BodyToCome}`);
  drive.came = (_, piece) => seen.push(Buffer.from(piece).toString());
  const wire = drive.connect().send(post("Content-Length: 6"), "a", "bc", `def${GET}`);
  assert.equal(seen, [`POST ${Trait.BodyToCome}`, "a", "bc", "def"]);
  assert.equal(wire.log, ['POST / 1.1 "abcdef"', "GET /next 1.1"]);
  drive.end();
});

upload("the chunks of one read are one piece", () => {
  const drive = streaming();
  const seen: string[] = [];
  drive.came = (_, piece) => seen.push(Buffer.from(piece).toString());
  drive.connect().send(`${CHUNKED}1\r\na\r\n2;x\r\nbc\r\n3\r\nd`, "ef\r\n0\r\n\r\n");
  assert.equal(seen, ["abcd", "ef"]);
  drive.end();
});

upload("a request without a body, and an upgrade, are not asked about", () => {
  const drive = streaming();
  drive.began = () => assert.unreachable("asked");
  drive.connect().send(GET + post() + post("Content-Length: 0") + GET);
  const wire = drive.connect().send(`${handshake("/", "Content-Length: 2\r\n")}hi`);
  assert.match(wire.text, /^HTTP\/1\.1 101 /);
  drive.end();
});

upload("the host decides request by request, on one connection", () => {
  const drive = new Drive().streamed((asked) => asked.target === "/streamed");
  const streamed: string[] = [];
  drive.came = (_, piece) => streamed.push(Buffer.from(piece).toString());
  const request = (target: string, body: string): string =>
    head(`PUT ${target} HTTP/1.1`, "Host: a", `Content-Length: ${body.length}`) + body;
  const input = request("/a", "1") + request("/streamed", "2") + request("/b", "3") + GET;
  for (const pieces of splits(Buffer.from(input))) {
    streamed.length = 0;
    const wire = drive.connect();
    for (const piece of pieces) wire.send(piece);
    assert.equal(
      wire.log,
      ['PUT /a 1.1 "1"', 'PUT /streamed 1.1 "2"', 'PUT /b 1.1 "3"', "GET /next 1.1"],
      describeSplit(pieces),
    );
    assert.equal(streamed, ["2"]);
    wire.lose();
  }
  drive.end();
});

upload("asking may be switched on and off between requests", () => {
  const drive = new Drive();
  let asked = 0;
  const decide = (): boolean => {
    asked++;
    return true;
  };
  const wire = drive.connect();
  for (const on of [false, true, false, true]) {
    drive.streamed(on ? decide : undefined);
    wire.send(`${post("Content-Length: 2")}hi`);
  }
  assert.is(asked, 2);
  assert.is(wire.log.length, 4);
  drive.end();
});

upload("it owns no buffer, however long it takes", () => {
  const drive = streaming();
  const wires = Array.from({ length: 8 }, () => drive.connect());
  for (const wire of wires) for (const byte of CHUNKED) wire.send(byte);
  for (let i = 0; i < 300; i++) {
    for (const wire of wires) wire.send(`10;${"e".repeat(500)}`, "\r\n0123456789", "abcdef\r");
    assert.is(poolUsed(drive), 0);
    for (const wire of wires) wire.send("\n");
  }
  for (const wire of wires) wire.send("0\r\nX: y", "\r\n\r\n");
  assert.is(wires[0]?.asked[0]?.body.length, 4800);
  drive.end();
});

upload("it is bounded by its own limit alone", () => {
  const plain = streaming({ BodyBytes: 10 });
  const wire = plain.connect().send(post("Content-Length: 40000"), "x".repeat(40000));
  assert.is(wire.asked[0]?.body.length, 40000);
  plain.end();
  const drive = streaming({ BodyBytes: 1000, StreamBytes: 10 });
  const over = [
    post("Content-Length: 11"),
    `${CHUNKED}b\r\n`,
    `${CHUNKED}a\r\n0123456789\r\n1\r\n`,
  ];
  for (const input of over) {
    const refused = drive.connect().send(input);
    assert.equal(refused.log, ["end LargeRequest"], input);
    assert.equal(statuses(refused), [413]);
  }
  const taken = drive.connect().send(post("Content-Length: 10"), "0123456789");
  taken.send(CHUNKED, "a\r\n0123456789\r\n0\r\n\r\n");
  assert.is(taken.asked.length, 2);
  drive.end();
});

upload("lengths have 53 bits", () => {
  const drive = streaming();
  const wire = drive.connect().send(post("Content-Length: 9007199254740991"), "x".repeat(5000));
  assert.is(
    wire.upload?.pieces.reduce((sum, piece) => sum + piece.length, 0),
    5000,
  );
  const chunked = drive.connect().send(`${CHUNKED}100000000\r\n`, "x".repeat(5000));
  assert.is(
    chunked.upload?.pieces.reduce((sum, piece) => sum + piece.length, 0),
    5000,
  );
  const over = drive.connect().send(post("Content-Length: 9007199254740992"));
  assert.equal(over.log, ["end LargeRequest"]);
  drive.end();
});

// ---- answers -----------------------------------------------------------------------------------

upload(
  "an answer before the body's end ends the connection; later bytes are never a request",
  () => {
    const input = `${post("Content-Length: 200")}${GET}`;
    for (const pieces of splits(Buffer.from(input + GET))) {
      const drive = streaming();
      drive.began = (wire) => {
        wire.respond(403, { body: "no" });
      };
      const wire = drive.connect();
      for (const piece of pieces) wire.send(piece);
      assert.equal(wire.log, ["end Ok"], describeSplit(pieces));
      const [reply] = responsesOf(wire.text);
      assert.is(reply?.status, 403);
      assert.is(reply && fieldOf(reply, "connection"), "close");
      drive.end();
    }
  },
);

upload("an answer after the body's end keeps the connection", () => {
  const drive = streaming();
  const wire = drive.connect().send(`${post("Content-Length: 2")}hi${GET}`);
  assert.equal(wire.log, ['POST / 1.1 "hi"', "GET /next 1.1"]);
  assert.equal(statuses(wire), [200, 200]);
  drive.end();
});

upload("an answer may stream while the body comes", () => {
  const drive = streaming();
  drive.began = (wire) => {
    assert.is(wire.begin(), Outcome.Ok);
  };
  drive.came = (wire, piece) => {
    assert.is(wire.piece(piece), Outcome.Ok);
  };
  drive.answer = (wire, { method }) => {
    if (method === "POST") wire.conclude();
    else wire.respond(200);
  };
  const input = `${CHUNKED}3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n${GET}`;
  for (const pieces of splits(Buffer.from(input))) {
    const wire = drive.connect();
    for (const piece of pieces) wire.send(piece);
    assert.equal(wire.log, ['POST / 1.1 "abcdef"', "GET /next 1.1"], describeSplit(pieces));
    const [first = "", second] = wire.text.split("0\r\n\r\n");
    const body = first.slice(first.indexOf("\r\n\r\n") + 4);
    assert.is([...body.matchAll(/\r\n([a-f]+)\r\n/g)].map((match) => match[1]).join(""), "abcdef");
    assert.match(second ?? "", /^HTTP\/1\.1 200 /);
    wire.lose();
  }
  drive.end();
});

upload("an answer that streams to its end before the body's ends the connection", () => {
  const drive = streaming();
  drive.began = (wire) => {
    wire.begin();
    wire.conclude();
  };
  const wire = drive.connect().send(`${post("Content-Length: 100")}${GET}`);
  assert.equal(wire.log, ["end Ok"]);
  drive.end();
});

upload("a body that breaks off after the head of the answer is reset", () => {
  for (const [input, reason] of [
    ["x", "BadChunk"],
    ["0\r\n x", "BadChunk"],
    ["fffffffffffff", "BadChunk"],
  ] as const) {
    const drive = streaming();
    drive.began = (wire) => {
      wire.begin();
    };
    const wire = drive.connect().send(CHUNKED, input);
    assert.equal(wire.broken, [reason]);
    assert.equal(wire.log, [`closed ${reason}`]);
    assert.ok(wire.reset);
    drive.end();
  }
});

upload("pieces before a fault are handed out first", () => {
  const drive = streaming();
  const seen: string[] = [];
  drive.came = (_, piece) => seen.push(Buffer.from(piece).toString());
  const wire = drive.connect().send(`${CHUNKED}3\r\nabc\r\nx`);
  assert.equal(seen, ["abc"]);
  assert.equal(wire.broken, ["BadChunk"]);
  assert.equal(wire.log, ["end BadChunk"]);
  assert.equal(statuses(wire), [400]);
  drive.end();
});

upload("FIN within the body: reported, and the end", () => {
  for (const answered of [false, true]) {
    const drive = streaming();
    if (answered) {
      drive.began = (wire) => {
        wire.begin();
      };
    }
    const wire = drive
      .connect()
      .send(`${GET}${post("Content-Length: 5")}he`)
      .finish();
    assert.equal(wire.broken, ["PeerEnded"]);
    assert.equal(wire.log, ["GET /next 1.1", "closed PeerEnded"]);
    assert.is(wire.reset, answered);
    drive.end();
  }
});

upload("FIN after the body: its response is sent", () => {
  const drive = streaming();
  drive.answer = () => undefined;
  const wire = drive
    .connect()
    .send(`${post("Content-Length: 2")}hi`)
    .finish();
  assert.equal(wire.log, ['POST / 1.1 "hi"']);
  wire.respond(200);
  drive.turn();
  assert.equal(statuses(wire), [200]);
  assert.equal(wire.log.slice(1), ["closed PeerClosed"]);
  drive.end();
});

// ---- Expect ------------------------------------------------------------------------------------

const EXPECTING = post("Expect: 100-continue", "Content-Length: 5");

upload("100 (Continue) is sent at the first pull, once", () => {
  const drive = streaming();
  drive.began = () => undefined;
  drive.came = () => undefined;
  const wire = drive.connect().send(EXPECTING);
  drive.after(100);
  assert.is(wire.text, "");
  wire.pull().pull();
  drive.turn();
  assert.is(wire.text, CONTINUE);
  wire.send("hello", EXPECTING);
  wire.pull();
  drive.turn();
  assert.equal(statuses(wire), [100, 200, 100]);
  drive.end();
});

upload("100 (Continue) is not sent when the body has begun, to HTTP/1.0, or with an answer", () => {
  const drive = streaming();
  const begun = drive.connect().send(`${EXPECTING}h`);
  assert.is(begun.text, "");
  const late = drive.connect();
  drive.began = () => undefined;
  late.send(EXPECTING, "he");
  late.pull();
  drive.turn();
  assert.is(late.text, "");
  drive.began = (wire) => {
    wire.pull();
  };
  const old = head("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 5");
  assert.is(drive.connect().send(old).text, "");
  drive.began = (wire) => {
    wire.respond(403);
    wire.pull();
  };
  const refused = drive.connect().send(EXPECTING);
  assert.equal(statuses(refused), [403]);
  assert.equal(refused.log, ["end Ok"]);
  drive.end();
});

upload("an answer that begins first asks with a 2xx, and ends the connection with another", () => {
  const drive = streaming();
  for (const [status, expected] of [
    [200, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n(?![\s\S]*close)/],
    [403, /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*Connection: close\r\n/],
  ] as const) {
    drive.began = (wire) => {
      wire.begin(status);
      wire.pull();
    };
    const wire = drive.connect().send(EXPECTING);
    assert.match(wire.text, expected);
    wire.lose();
  }
  drive.end();
});

upload("a body that is collected gets 100 (Continue) as usual", () => {
  const drive = new Drive().streamed(() => false);
  const wire = drive.connect().send(EXPECTING);
  assert.is(wire.text, CONTINUE);
  wire.send("hello");
  assert.equal(statuses(wire), [100, 200]);
  drive.end();
});

// ---- time --------------------------------------------------------------------------------------

upload("silence counts while the host waits, each byte is progress", () => {
  const drive = streaming({ RequestTimeout: 1000 });
  drive.began = () => undefined;
  drive.came = () => undefined;
  const wire = drive.connect().send(CHUNKED);
  drive.after(5000);
  assert.equal(wire.log, [], "nobody waits for it");
  wire.pull();
  drive.after(900);
  wire.send("5");
  drive.after(900);
  wire.send("\r\nhel");
  drive.after(5000);
  assert.equal(wire.broken, [], "it has its piece");
  wire.pull();
  drive.after(900);
  assert.equal(wire.broken, []);
  drive.after(200);
  assert.equal(wire.broken, ["RequestTimeout"]);
  assert.equal(statuses(wire), [408]);
  drive.end();
});

upload("a timeout after the head of the answer is a reset", () => {
  const drive = streaming({ RequestTimeout: 1000 });
  drive.began = (wire) => {
    wire.begin();
    wire.pull();
  };
  const wire = drive.connect().send(CHUNKED);
  drive.after(1100);
  assert.equal(wire.log, ["closed RequestTimeout"]);
  assert.ok(wire.reset);
  drive.end();
});

// ---- the rest ----------------------------------------------------------------------------------

upload("an upgrade may follow on the same connection", () => {
  const drive = streaming();
  const wire = drive.connect().send(CHUNKED, "5\r\nhello\r\n0\r\n\r\n");
  wire.take();
  wire.send(handshake());
  drive.publish("hi");
  drive.turn();
  assert.match(wire.text, /^HTTP\/1\.1 101 /);
  assert.ok(wire.text.endsWith("\r\n\r\n\x81\x02hi"));
  drive.end();
});

upload("stream and collect answer once", () => {
  const drive = streaming();
  const { x } = drive.engine;
  let outcomes: number[] = [];
  drive.began = ({ slot, generation }) => {
    outcomes = [x.stream(slot, generation), x.collect(slot, generation)];
  };
  const wire = drive.connect().send(post("Content-Length: 5"));
  assert.equal(outcomes, [Outcome.Gone, Outcome.Gone]);
  wire.send("hello");
  assert.is(wire.log.length, 1);
  drive.end();
});

upload("an answer may end the connection that the body would keep", () => {
  const drive = streaming();
  drive.answer = (wire) => {
    wire.respond(200, { flags: Answer.Close });
  };
  const wire = drive.connect().send(`${post("Content-Length: 2")}hi${GET}`);
  assert.equal(wire.log, ['POST / 1.1 "hi"', "end Ok"]);
  drive.end();
});

upload.run();
