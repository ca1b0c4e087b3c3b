// `ringcast/client` with positions over WebSockets that the test controls.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type ConnectOptions, type Lost, connect } from "../../host/client";
import { type Clock, FakeSocket, inWorld } from "../lib/client-world";

const client = suite("client positions");

const URL_HERE = "ws://a.example/live";
const at = (n: number, epoch = "k2v9x0aa"): string =>
  `${epoch}-${n.toString(36).padStart(11, "0")}`;

function recorded(options: ConnectOptions = {}) {
  const log: unknown[] = [];
  const losses: Lost[] = [];
  const connection = connect(URL_HERE, {
    positions: true,
    onMessage: (data, { position }) => {
      const text = typeof data === "string" ? data : [...new Uint8Array(data)].join();
      log.push(position === undefined ? text : `${text} ${position}`);
    },
    onGap: (reason, topic) => log.push(`gap ${reason}${topic === undefined ? "" : ` ${topic}`}`),
    onLost: (lost) => losses.push(lost),
    onBack: ({ first, positions }) => log.push(`${first ? "first" : "back"} ${positions}`),
    ...options,
  });
  return { connection, log, losses };
}

function test(title: string, body: (clock: Clock) => void, globals = {}): void {
  client(title, () => inWorld(body, globals));
}

/** Opens the last socket with a subprotocol. */
function opened(protocol = "ringcast.1"): FakeSocket {
  FakeSocket.last.protocol = protocol;
  return FakeSocket.last.open();
}

const bytes = (text: string, ...more: number[]): ArrayBuffer =>
  Uint8Array.from([...new TextEncoder().encode(text), ...more]).buffer;

test("takes positions from text and bytes, and resumes after the largest", (clock) => {
  const { connection, log } = recorded();
  assert.equal(FakeSocket.last.offered, ["ringcast.1"]);
  assert.is(FakeSocket.last.url, URL_HERE);
  const first = opened();
  first.get('!\n{"type":"hello"}');
  first.get("\nfor me\nalone");
  first.get(bytes("\n", 10, 0, 255));
  first.get(`${at(4)}!\n{"type":"live"}`);
  assert.is(connection.position, at(4));
  first.get(`${at(6)}\nsix`);
  first.get(bytes(`${at(5)}\n`, 1, 10, 2));
  first.get(bytes(`${at(7)}\n`));
  assert.is(connection.position, at(7));
  first.end(1001);
  clock.advance(500);
  assert.is(FakeSocket.last.url, `${URL_HERE}?since=${at(7)}`);
  const second = opened();
  second.get(`${at(7)}!\n{"type":"hello"}`);
  second.get(`${at(8)}\n`);
  assert.equal(log, [
    "first true",
    ...["for me\nalone", "10,0,255"],
    ...[`six ${at(6)}`, `1,10,2 ${at(5)}`, ` ${at(7)}`],
    ...["back true", ` ${at(8)}`],
  ]);
  connection.close();
  assert.is(clock.waiting, 0);
});

test("reports the server's gaps, and ignores other control messages", (clock) => {
  const { connection, log, losses } = recorded({ since: at(1) });
  assert.is(FakeSocket.last.url, `${URL_HERE}?since=${at(1)}`);
  const first = opened();
  first.get('!\n{"type":"hello"}');
  first.get('!\n{"type":"gap","reason":"expired"}');
  first.get("\nsnapshot");
  first.get(`${at(1, "b0000000")}!\n{"type":"live"}`);
  first.get('!\n{"type":"gap","reason":"lapped","topic":"a"}');
  first.get('!\n{"type":"later","reason":"than this client"}');
  first.get("!\nno JSON");
  first.get("!\nnull");
  first.get('!\n{"type":"close","code":1001,"reason":"bye"}');
  assert.equal(losses, []);
  assert.equal(log, ["first true", "gap expired", "snapshot", "gap lapped a"]);
  assert.is(connection.position, at(1, "b0000000"));
  connection.close();
  assert.is(clock.waiting, 0);
});

test("a server that does not know the subprotocol gets one more attempt at once, and it says so", (clock) => {
  const { connection, log, losses } = recorded();
  FakeSocket.last.error().end();
  assert.is(FakeSocket.all.length, 2);
  assert.equal(FakeSocket.last.offered, []);
  opened("").get(`${at(1)}\nnot taken apart`);
  clock.advance(1);
  assert.is(FakeSocket.all.length, 2, "the error was of the first attempt");
  FakeSocket.last.end(1001);
  clock.advance(500);
  assert.equal(FakeSocket.last.offered, ["ringcast.1"]);
  assert.is(FakeSocket.last.url, URL_HERE);
  FakeSocket.last.end();
  opened("");
  assert.equal(log, ["first false", `${at(1)}\nnot taken apart`, "back false", "gap unsupported"]);
  assert.is(losses.length, 1);
  connection.close();
  assert.is(clock.waiting, 0);
});

test("when both attempts fail there is a wait, and once it is known there is only one", (clock) => {
  const { connection, losses } = recorded();
  FakeSocket.last.end();
  FakeSocket.last.end();
  assert.is(losses.length, 1);
  clock.advance(500);
  assert.equal(FakeSocket.last.offered, ["ringcast.1"]);
  opened().end(1006);
  clock.advance(1000);
  const made = FakeSocket.all.length;
  FakeSocket.last.end();
  assert.is(FakeSocket.all.length, made, "the server is known to have positions");
  assert.is(losses.length, 3);
  connection.close();
});

test("runtimes that open without the subprotocol are served, too", () => {
  const { log } = recorded({ since: at(3) });
  opened("").get("plain");
  assert.is(FakeSocket.all.length, 1);
  assert.equal(log, ["first false", "gap unsupported", "plain"]);
});

test("an attempt that does not open in time is given up, without another", (clock) => {
  const { losses, connection } = recorded({ openTimeout: 100 });
  clock.advance(100);
  assert.is(FakeSocket.all.length, 1);
  assert.equal(FakeSocket.last.closedWith, [undefined, undefined]);
  assert.equal([losses[0]?.code, losses[0]?.reason], [1006, "timeout"]);
  FakeSocket.last.end();
  assert.is(losses.length, 1);
  connection.close();
  assert.is(clock.waiting, 0);
});

test("beside subprotocols of its own it asks by the query, and the first message decides", (clock) => {
  const { connection, log } = recorded({ protocols: ["chat"], since: at(2) });
  assert.equal(FakeSocket.last.offered, ["chat"]);
  assert.is(FakeSocket.last.url, `${URL_HERE}?since=${at(2)}&ringcast=1`);
  const first = opened("chat");
  first.get(`${at(2)}!\n{"type":"hello"}`);
  first.get(`${at(3)}\nthree`);
  first.end();
  clock.advance(500);
  // A server that does not know it.
  const second = opened("chat");
  second.get(`${at(4)}\nfour`);
  second.get('!\n{"type":"gap"}');
  assert.equal(log, [
    ...["first true", `three ${at(3)}`],
    ...["back true", "gap unsupported", `${at(4)}\nfour`, '!\n{"type":"gap"}'],
  ]);
  assert.is(connection.position, at(3));
  connection.close();
});

client.run();
