// Responses that state their length: status × method × version × what their body comes to, in all places. A body of
// that length persists; any other breaks off, and no byte of it is taken for the next response.

import * as assert from "uvu/assert";
import {
  type Ground,
  type GroundTest,
  type TestAnswer,
  fieldOf,
  groundSuites,
  textOf,
} from "./ground";

const STATUSES = [200, 204, 205, 206, 304, 404];
const METHODS = ["GET", "HEAD", "POST"];
const KINDS = ["exact", "short", "long", "failing"] as const;
const WAYS = ["begin", "stream", "fetch"];

interface Cell {
  readonly way: string;
  readonly status: number;
  readonly kind: (typeof KINDS)[number];
  readonly method: string;
  readonly minor: 0 | 1;
}

function requestOf({ way, status, kind, method, minor }: Cell): string {
  const body = method === "POST" ? "abc" : "";
  const lines = [`${method} /?${way}&${status}&${kind} HTTP/1.${minor}`, "Host: a"];
  if (minor === 0) lines.push("Connection: keep-alive");
  if (body !== "") lines.push(`Content-Length: ${body.length}`);
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

const NEXT = "GET /?next HTTP/1.1\r\nHost: a\r\n\r\n";
const isBodiless = (status: number): boolean => [204, 205, 304].includes(status);

/** Characters of the bodies, each of which is sent once, or LARGE times. */
const BODIES = { exact: "body", short: "bod", long: "body!", failing: "bo" };
const LARGE = 50_000;

/** Returns true when a response is complete: its body is the stated one, or is not looked at. */
function isWhole({ way, status, kind, method }: Cell): boolean {
  if (kind === "exact" || isBodiless(status)) return true;
  if (kind === "failing" && (way === "begin" || way === "fetch"))
    return way === "fetch" && method === "HEAD";
  // A small body of `fetch` is sent at once, with its own length.
  return method === "HEAD" || way === "fetch";
}

/**
 * Checks a response that breaks off. Bytes that the kernel had not sent may be lost with it. A failure that is known
 * before the response begins gets 500.
 */
function checkBroken(cell: Cell, received: Uint8Array): void {
  const what = JSON.stringify(cell);
  const [head = "", body = ""] = Buffer.from(received).toString("latin1").split("\r\n\r\n");
  if (head.startsWith("HTTP/1.1 500 ")) return;
  const times = cell.way === "large" ? LARGE : 1;
  const stated = new RegExp(`^content-length: ${4 * times}$`, "im");
  if (received.length > 0) assert.match(head, stated, what);
  assert.not.match(head, /transfer-encoding/i, what);
  assert.ok(body.length < 4 * times && /^b*o*d*y*$/.test(body), `${what}: ${body.length} bytes`);
}

async function check(ground: Ground, cell: Cell): Promise<void> {
  const what = JSON.stringify(cell);
  const { way, method, status, kind } = cell;
  const client = await ground.client();
  client.write(requestOf(cell) + NEXT);
  if (!isWhole(cell)) {
    await ground.over(client);
    checkBroken(cell, client.received);
    client.reset();
    return;
  }
  const [answer, next] = (await ground.answers(client, 2, [method])) as [TestAnswer, TestAnswer];
  client.reset();
  assert.is(textOf(next), "next", what);
  const isBare = method === "HEAD" || isBodiless(status);
  assert.is(answer.status, status, what);
  const times = way === "large" ? LARGE : 1;
  const body = BODIES[way === "fetch" ? kind : "exact"];
  assert.is(answer.body.length, isBare ? 0 : times * body.length, what);
  const length = `${times * (isBare ? 4 : body.length)}`;
  const stated = status === 204 ? undefined : status === 205 ? "0" : length;
  const found = [fieldOf(answer, "content-length"), fieldOf(answer, "transfer-encoding")];
  assert.equal(found, [stated, undefined], what);
}

/** Tests all cells of some methods. */
function testCells(test: GroundTest, methods: readonly string[]): void {
  for (const way of WAYS) {
    for (const kind of KINDS) {
      test(`a length stated to ${way} is kept, with a body that is ${kind}`, async (ground) => {
        const cells: Cell[] = [];
        for (const status of STATUSES)
          for (const method of methods)
            for (const minor of [0, 1] as const) cells.push({ way, status, kind, method, minor });
        await Promise.all(cells.map((cell) => check(ground, cell)));
        if (kind === "exact") assert.equal(ground.errors, []);
      });
    }
  }
}

groundSuites("lengths", "lengths", (test) => {
  testCells(test, METHODS);

  for (const kind of KINDS) {
    test(`a large Response keeps its stated length, with a body that is ${kind}`, async (ground) => {
      for (const method of METHODS)
        for (const minor of [0, 1] as const)
          await check(ground, { way: "large", status: 200, kind, method, minor });
    });
  }

  test("errors name the bytes that are too many, or missing", async (ground) => {
    const expected = {
      short: "end: the body lacks 1 of the 4 bytes of its Content-Length",
      long: "write: 3 bytes are more than the 2 that the Content-Length 4 leaves",
    };
    for (const [kind, message] of Object.entries(expected)) {
      ground.errors.length = 0;
      const cell = { way: "stream", status: 200, kind, method: "GET", minor: 1 } as Cell;
      await check(ground, cell);
      await ground.until("the report", () => ground.errors.length > 0);
      assert.equal(ground.errors.splice(0), [{ where: "request", message }]);
    }
  });

  test("a whole body has the stated length, which is a whole number", async (ground) => {
    const ask = async (stated: string): Promise<string> => {
      const request = `GET /?whole&${stated} HTTP/1.1\r\nHost: a\r\n\r\n`;
      return textOf((await ground.ask(request))[0] as TestAnswer);
    };
    for (const stated of ["4", "4n", "04"]) assert.is(await ask(stated), "body");
    for (const stated of ["3", "5n", "9007199254740991"])
      assert.match(
        await ask(stated),
        /RangeError.*Content-Length is \d+, and the body has 4 bytes/,
      );
    for (const stated of ["-1", "1.5", "x", "", "9007199254740992", "4,4", "+4", "0x4"])
      assert.match(await ask(stated), /RangeError.*not a whole number from 0 to 9007199254740991/);
    const head = "HEAD /?whole&9007199254740991 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert.is((await ground.ask(head, ["HEAD"]))[0]?.status, 200);
  });
});

groundSuites("lengths, streamed uploads", "lengths-streamed", (test, name) => {
  // Elsewhere uploads cannot be streamed.
  if (name === "memory" || name === "worker") testCells(test, ["POST"]);
});
