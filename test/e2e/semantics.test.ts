// HTTP's rules for fields, hosts, JSON, lengths and upgrades, as handlers see and send them, in all places.

import * as assert from "uvu/assert";
import { upgradeFields } from "../lib/handshake";
import { type Ground, type TestAnswer, fieldOf, groundSuites, textOf } from "./ground";

async function ask(
  ground: Ground,
  target: string,
  fields = "",
  method = "GET",
): Promise<TestAnswer> {
  const head = `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
  const [answer] = await ground.ask(Buffer.from(head, "latin1"), [method]);
  return answer as TestAnswer;
}

function post(path: string, body: string, fields = ""): string {
  return `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
}

const json = (answer: TestAnswer): unknown => JSON.parse(textOf(answer));

const HANDSHAKE = upgradeFields();
const NEXT = "GET /host HTTP/1.1\r\nHost: next\r\n\r\n";

groundSuites("semantics", "semantics", (test, name) => {
  test("fields of Cookie are joined by a semicolon, others by a comma", async (ground) => {
    const fields = "Cookie: a=1\r\nX-List: 1\r\ncookie: b=2; c=3\r\nx-list: 2\r\n";
    assert.equal(json(await ask(ground, "/cookie", fields)), ["a=1; b=2; c=3", "1, 2"]);
  });

  test("req.host is the target's, else the Host field's", async (ground) => {
    for (const [target, host, due] of [
      ["/host", "a.example", "a.example"],
      ["/host", "a.example:8080", "a.example:8080"],
      ["/host", "a.example.", "a.example."],
      ["/host", "[::1]:80", "[::1]:80"],
      ["http://b.example:81/host", "a.example", "b.example:81"],
      ["http://[::1]/host", "a.example", "[::1]"],
    ] as const) {
      const [answer] = await ground.ask(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      assert.is(json(answer as TestAnswer), due);
    }
  });

  test(
    "the option hosts judges req.host: with a port, an address, a dot at its end",
    async (ground) => {
      for (const [target, host, status] of [
        ["/host", "a.example", 200],
        ["/host", "A.example.", 200],
        ["/host", "a.example.:80", 200],
        ["/host", "[::1]:80", 200],
        ["/host", "b.example", 421],
        ["/host", "a.example..", 400],
        ["http://a.example./host", "b.example", 200],
        ["http://b.example/host", "a.example", 421],
      ] as const) {
        const [answer] = await ground.ask(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        const what = `${target} ${host}`;
        if (status === 400) assert.ok([400, 421].includes(answer?.status ?? 0), what);
        else assert.is(answer?.status, status, what);
      }
    },
    { hosts: ["a.example", "[::1]"] },
  );

  test("a field's value is a string or a number, and the error names any other", async (ground) => {
    assert.equal(json(await ask(ground, "/values")), [
      "TypeError: header: the value of X-A is undefined, not a string or number",
      "TypeError: header: the value of X-A is null, not a string or number",
      "TypeError: header: the value of X-A is an object, not a string or number",
      "TypeError: header: the value of X-A is undefined, not a string or number",
      "TypeError: header: the value of X-A is true, not a string or number",
      "TypeError: header: undefined is not a field name",
      "TypeError: type: 5 is not a string",
      "TypeError: header: the value of X-B is undefined, not a string or number",
      "TypeError: json: undefined cannot be written as JSON",
    ]);
  });

  test("of a field's value blanks alone are taken off", async (ground) => {
    const answer = await ask(ground, "/octets");
    assert.is(fieldOf(answer, "x-octets"), "\xa0a\xa0");
    assert.is(fieldOf(answer, "x-blank"), "");
  });

  test("an answer has one Content-Type: the last field's, else the argument's", async (ground) => {
    for (const [query, due] of [
      ["none", undefined],
      ["none&text/z", "text/z"],
      ["header", "text/a"],
      ["header&text/z", "text/a"],
      ["twice&text/z", "text/b"],
      ["headers&text/z", "text/c"],
    ] as const)
      assert.is(fieldOf(await ask(ground, `/type?${query}`), "content-type"), due, query);
  });

  test("a client's bad JSON is 400 and not reported, unless the handler catches it", async (ground) => {
    for (const path of ["/json", "/fetch-json"]) {
      const client = await ground.client();
      // The connection persists.
      client.write(post(path, "{") + post(path, '"x"'));
      const [bad, good] = await ground.answers(client, 2);
      assert.is(bad?.status, 400, path);
      assert.is(good?.status, path === "/json" ? 201 : 200, path);
    }
    const [good] = await ground.ask(post("/json", "[1]"));
    assert.equal(json(good as TestAnswer), { got: [1] });
    assert.is(fieldOf(good as TestAnswer, "content-type"), "application/json");
    assert.is(fieldOf(good as TestAnswer, "x-a"), "b");
    const [caught] = await ground.ask(post("/caught", "{"));
    assert.match(textOf(caught as TestAnswer), /^SyntaxError: /);
    assert.equal(ground.errors, []);
  });

  test("a body over the limit of collect is 413 and not reported", async (ground) => {
    const [whole] = await ground.ask(post("/collect", "0123456789"));
    assert.is(textOf(whole as TestAnswer), "0123456789");
    const [large] = await ground.ask(post("/collect", "0123456789a"));
    assert.is(large?.status, 413);
    const chunks = "6\r\n012345\r\n6\r\n6789ab\r\n0\r\n\r\n";
    const [chunked] = await ground.ask(
      `POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`,
    );
    assert.is(chunked?.status, 413);
    const [caught] = await ground.ask(post("/collect-caught", "0123456789a"));
    assert.equal([caught?.status, textOf(caught as TestAnswer)], [200, "RangeError"]);
    assert.equal(ground.errors, []);
  });

  if (name === "memory" || name === "worker") {
    test("a client that asks before it sends too much gets 413, and no 100", async (ground) => {
      const client = await ground.client();
      client.write(
        "POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n",
      );
      await ground.over(client);
      const text = Buffer.from(client.received).toString();
      assert.match(text, /^HTTP\/1\.1 413 /);
      assert.match(text, /\r\nConnection: close\r\n/);
    });
  }

  for (const path of ["/refuse", "/refuse-stream"]) {
    test(`bytes after a refused WebSocket handshake are not read: ${path}`, async (ground) => {
      const client = await ground.client();
      client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${HANDSHAKE}\r\n${NEXT}`);
      await ground.over(client);
      const [refused, ...others] = await ground.answers(client, 1);
      assert.equal([refused?.status, others.length], [403, 0]);
      assert.is(fieldOf(refused as TestAnswer, "connection"), "close");
      // The fields that a proxy goes by, in a request that is no valid handshake.
      const other = await ground.client();
      other.write(
        `GET ${path} HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade\r\n\r\n${NEXT}`,
      );
      await ground.over(other);
      assert.is((await ground.answers(other, 1)).length, 1);
    });
  }

  test("a request for another protocol, or without Connection: upgrade, is a plain request", async (ground) => {
    for (const fields of ["Upgrade: h2c\r\nConnection: upgrade\r\n", "Upgrade: websocket\r\n"]) {
      const client = await ground.client();
      client.write(`GET /refuse HTTP/1.1\r\nHost: a\r\n${fields}\r\n${NEXT}`);
      const [refused, next] = await ground.answers(client, 2);
      assert.equal([refused?.status, json(next as TestAnswer)], [403, "next"]);
    }
  });

  test("an upgrade may not set the handshake's own fields", async (ground) => {
    for (const field of [
      "Sec-WebSocket-Accept",
      "sec-websocket-extensions",
      "SEC-WebSocket-Version",
    ]) {
      const answer = await ask(ground, `/upgrade?${field}`, HANDSHAKE);
      assert.equal(json(answer), [
        `TypeError: header: ${field} belongs to the handshake, so the server sets it`,
      ]);
    }
    const protocol = await ask(ground, "/upgrade?Sec-WebSocket-Protocol", HANDSHAKE);
    assert.match(textOf(protocol), /use \{ protocol \}/);
    for (const field of ["Upgrade", "Connection"])
      assert.match(textOf(await ask(ground, `/upgrade?${field}`, HANDSHAKE)), /frames the message/);
  });

  test("HEAD has the Content-Length that a fetch function states", async (ground) => {
    for (const target of [
      "/fetch?length=12345678",
      "/fetch?length=12345678&body",
      "/fetch?length=4294967295",
    ]) {
      const client = await ground.client();
      client.write(`HEAD ${target} HTTP/1.1\r\nHost: a\r\n\r\n${NEXT}`);
      const [head, next] = await ground.answers(client, 2, ["HEAD"]);
      assert.is(fieldOf(head as TestAnswer, "content-length"), target.match(/\d+/)?.[0]);
      assert.is(fieldOf(head as TestAnswer, "x-kept"), "yes");
      assert.is(json(next as TestAnswer), "next");
    }
    // Where the value is no length, the server frames the body.
    const odd = await ask(ground, "/fetch?length=1e3", "", "HEAD");
    assert.is(odd.status, 200);
    assert.is.not(fieldOf(odd, "content-length"), "1e3");
    assert.equal(ground.errors, []);
  });
});
