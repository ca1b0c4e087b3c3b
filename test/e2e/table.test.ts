// Framing of answers: status × way to answer × method × version, in all places. The answer that follows on the
// connection is intact, or the connection ends.

import * as assert from "uvu/assert";
import { upgradeFields } from "../lib/handshake";
import { type Ground, type TestAnswer, fieldOf, groundSuites, textOf } from "./ground";

const STATUSES = [100, 101, 199, 200, 204, 205, 206, 299, 304, 404, 500, 599, 600];
const WAYS = ["text", "bytes", "empty", "large", "static", "stream", "pieces", "end", "fetch"];
const METHODS = ["GET", "HEAD", "POST", "OPTIONS"];

interface Cell {
  readonly status: number;
  readonly way: string;
  readonly method: string;
  readonly minor: 0 | 1;
  /** The fields of a WebSocket handshake. */
  readonly upgrade?: boolean;
}

/** The fields of a handshake without Connection, which the cells combine with others. */
const HANDSHAKE = upgradeFields().replace("Connection: Upgrade\r\n", "");

function requestOf({ status, way, method, minor, upgrade }: Cell): string {
  const body = method === "POST" ? "abc" : "";
  const options = [minor === 0 ? "keep-alive" : "", upgrade ? "upgrade" : ""].filter(Boolean);
  const lines = [`${method} /?${way}&${status} HTTP/1.${minor}`, "Host: a"];
  if (options.length > 0) lines.push(`Connection: ${options.join()}`);
  if (body !== "") lines.push(`Content-Length: ${body.length}`);
  return `${lines.join("\r\n")}\r\n${upgrade ? HANDSHAKE : ""}\r\n${body}`;
}

const NEXT = "GET /?next HTTP/1.1\r\nHost: a\r\n\r\n";

/** Checks a response against its cell. */
function checkAnswer(cell: Cell, answer: TestAnswer): void {
  const what = JSON.stringify(cell);
  const { method, minor } = cell;
  const isWrong = cell.way !== "end" && (cell.status < 200 || cell.status > 599);
  const status = isWrong ? 500 : cell.way === "end" ? 200 : cell.status;
  assert.is(answer.status, status, what);
  const length = fieldOf(answer, "content-length");
  const coding = fieldOf(answer, "transfer-encoding");
  if (isWrong) return;
  const body = cell.way === "empty" ? "" : cell.way === "large" ? "body".repeat(20000) : "body";
  const isBodiless = status === 204 || status === 205 || status === 304;
  assert.is(textOf(answer), method === "HEAD" || isBodiless ? "" : body, what);
  if (status === 204 || status === 304)
    assert.equal([length, coding], [undefined, undefined], what);
  else if (status === 205) assert.equal([length, coding], ["0", undefined], what);
  else if (cell.way === "stream" || cell.way === "pieces")
    assert.equal([length, coding], [undefined, minor === 1 ? "chunked" : undefined], what);
  else assert.equal([length, coding], [`${body.length}`, undefined], what);
}

async function check(ground: Ground, cell: Cell): Promise<void> {
  const what = JSON.stringify(cell);
  const client = await ground.client();
  client.write(requestOf(cell) + NEXT);
  const [answer] = await ground.answers(client, 1, [cell.method]);
  checkAnswer(cell, answer as TestAnswer);
  const connection = fieldOf(answer as TestAnswer, "connection") ?? "";
  const persists = cell.minor === 1 ? connection !== "close" : connection === "keep-alive";
  if (persists) {
    const [, next] = await ground.answers(client, 2, [cell.method]);
    assert.equal([next?.status, textOf(next as TestAnswer)], [200, "next"], what);
  } else {
    await ground.over(client);
    assert.is((await ground.answers(client, 1, [cell.method])).length, 1, what);
  }
  client.reset();
  // All but those without any framing persist.
  const isWrong = (cell.status < 200 || cell.status > 599) && cell.way !== "end";
  const isStreamed = cell.way === "stream" || cell.way === "pieces";
  const isBare = cell.method === "HEAD" || [204, 205, 304].includes(cell.status);
  const isFramed = cell.minor === 1 || !isStreamed || isBare;
  assert.is(persists, isFramed && !isWrong && !cell.upgrade, what);
}

async function checkAll(ground: Ground, cells: readonly Cell[]): Promise<void> {
  for (let i = 0; i < cells.length; i += 16)
    await Promise.all(cells.slice(i, i + 16).map((cell) => check(ground, cell)));
}

groundSuites("table", "table", (test) => {
  for (const way of WAYS) {
    test(`answers by ${way} are framed, whatever the status, method and version`, async (ground) => {
      const cells: Cell[] = [];
      for (const status of STATUSES)
        for (const method of METHODS)
          for (const minor of [0, 1] as const) cells.push({ status, way, method, minor });
      await checkAll(ground, cells);
    });
  }

  test("a handshake that gets another answer than 101 ends the connection", async (ground) => {
    const cells: Cell[] = [];
    for (const way of WAYS)
      for (const status of [200, 204, 205, 304, 403])
        cells.push({ status, way, method: "GET", minor: 1, upgrade: true });
    await checkAll(ground, cells);
  });

  test("a streamed answer without a body returns from its iterable, unread", async (ground) => {
    const take = async (): Promise<unknown> =>
      JSON.parse(
        textOf((await ground.ask("GET /?returned HTTP/1.1\r\nHost: a\r\n\r\n"))[0] as TestAnswer),
      );
    for (const status of [204, 205, 304]) {
      await ground.ask(requestOf({ status, way: "stream", method: "GET", minor: 1 }));
      assert.equal(await take(), [status]);
    }
    await ground.ask(requestOf({ status: 200, way: "stream", method: "HEAD", minor: 1 }), ["HEAD"]);
    assert.equal(await take(), [200]);
    await ground.ask(requestOf({ status: 200, way: "stream", method: "GET", minor: 1 }));
    assert.equal(await take(), []);
    for (const status of [204, 205, 304]) {
      await ground.ask(requestOf({ status, way: "forbidden", method: "GET", minor: 1 }));
      const message = "a response with this status has no body";
      assert.equal(await take(), [`write: ${message},end: ${message}`]);
    }
    assert.equal(ground.errors, []);
  });
});
