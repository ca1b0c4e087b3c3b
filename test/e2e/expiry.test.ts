// Requests that a handler keeps: valid until it has settled and they are answered or lost, and over from then on.

import * as assert from "uvu/assert";
import { type Ground, groundSuites, textOf } from "./ground";

/** Stays readable when the request is over. */
const READABLE: Readonly<Record<string, string>> = { method: '"POST"', path: '"/keep"' };
/**
 * Members that are the server's own, and what they give then: nothing of any request. A new member of the class has to
 * throw, or to be named here.
 */
const OWN: Readonly<Record<string, RegExp>> = {
  answered: /^undefined$/,
  bodyLimit: /^value (null|\d+)$/,
  bytes: /^value (\{\}|\{"type":"Buffer","data":\[\]\})$/,
  detach: /^undefined$/,
  forget: /^undefined$/,
  freeze: /^undefined$/,
  head: /^value \{("\w+":0,?){11}\}$/,
  isForgotten: /^value (true|false)$/,
  isInWindow: /^value false$/,
  isSettled: /^value true$/,
  // Of the access log, which these are called without.
  log: /^TypeError: Cannot read properties of undefined/,
  release: /^undefined$/,
  settled: /^undefined$/,
  arrivedAt: /^value -1$/,
  streams: /^undefined$/,
  unlog: /^TypeError: Cannot read properties of undefined/,
  upload: /^undefined$/,
};

function keep(way: string, tag: string): string {
  const body = `body of ${tag}`;
  const target = `/keep?${encodeURIComponent(way)}`;
  return `POST ${target} HTTP/1.1\r\nHost: a\r\nCookie: tag=${tag}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

function get(path: string, way: string, tag = "second"): string {
  return `GET ${path}?${encodeURIComponent(way)} HTTP/1.1\r\nHost: a\r\nCookie: tag=${tag}\r\n\r\n`;
}

async function probe(ground: Ground, way: string): Promise<Record<string, string>> {
  const [answer] = await ground.ask(get("/probe", way));
  assert.is(answer?.status, 200);
  return JSON.parse(textOf(answer as never)) as Record<string, string>;
}

/** Returns the outcome of `header("cookie")`. */
async function peek(ground: Ground, way: string): Promise<string> {
  const [answer] = await ground.ask(get("/peek", way));
  return JSON.parse(textOf(answer as never)) as string;
}

async function untilOver(ground: Ground, way: string): Promise<void> {
  await ground.until("over", async () => (await peek(ground, way)) !== 'value "tag=first"');
}

/** Checks that every member throws, and that nothing of another request shows. */
function checkOver(outcomes: Record<string, string>, way: string): void {
  const names = Object.keys(outcomes);
  for (const name of ["header", "headers", "url", "query", "host", "body", "text", "json"])
    assert.ok(names.includes(name), name);
  for (const [name, outcome] of Object.entries(outcomes)) {
    assert.not.match(outcome, /second|probe/, `${way}: ${name}`);
    const readable = READABLE[name];
    if (readable) assert.is(outcome, `value ${readable}`, `${way}: ${name}`);
    else if (name === "id") assert.match(outcome, /^value \d+$/);
    else if (name === "remoteAddress") assert.match(outcome, /^value "[\d.]+"$/);
    else if (OWN[name]) assert.match(outcome, OWN[name] as RegExp, `${way}: ${name}`);
    else assert.is(outcome, "ERR_REQUEST_OVER", `${way}: ${name}`);
  }
}

groundSuites("expiry", "expiry", (test, name) => {
  const answered = ["answered", "answered first", "answered last", "streamed", "static"];
  for (const way of answered) {
    test(`a request is over when it is ${way}, and its handler has settled`, async (ground) => {
      const [answer] = await ground.ask(keep(way, "first"));
      assert.is(textOf(answer as never), "kept");
      await untilOver(ground, way);
      checkOver(await probe(ground, way), way);
    });
  }

  for (const way of ["thrown", "rejected"]) {
    test(`a request is over when its handler has ${way}`, async (ground) => {
      const [answer] = await ground.ask(keep(way, "first"));
      assert.is(answer?.status, 500);
      await untilOver(ground, way);
      checkOver(await probe(ground, way), way);
    });
  }

  test("a handler reads its request until it has settled, though it is answered", async (ground) => {
    const way = "settles last";
    await ground.ask(keep(way, "first"));
    const seen = async (): Promise<string> =>
      textOf((await ground.ask(get("/seen", way)))[0] as never);
    await ground.until("seen", async () => (await seen()) !== "null");
    assert.equal(JSON.parse(await seen()), ["tag=first", "body of first"]);
    await untilOver(ground, way);
    checkOver(await probe(ground, way), way);
  });

  if (name !== "pool") {
    test("a request is read until it is answered, though its handler has returned", async (ground) => {
      const client = await ground.client();
      client.write(keep("timer", "first"));
      // Others come through the same window meanwhile.
      for (let i = 0; i < 5; i++) await ground.ask(get("/seen", "none"));
      assert.is(textOf((await ground.answers(client, 1))[0] as never), "kept");
      const [answer] = await ground.ask(get("/seen", "timer"));
      assert.equal(JSON.parse(textOf(answer as never)), ["tag=first", "body of first"]);
      checkOver(await probe(ground, "timer"), "timer");
    });

    test("a request is over when its client has left", async (ground) => {
      const client = await ground.client();
      client.write(keep("lost", "first"));
      await ground.until("kept", async () => (await peek(ground, "lost")) === 'value "tag=first"');
      client.reset();
      await untilOver(ground, "lost");
      checkOver(await probe(ground, "lost"), "lost");
    });
  }

  if (name === "memory" || name === "worker") {
    test("a request that `streams` has seen is over when its body is collected", async (ground) => {
      await ground.ask(keep("answered", "first"));
      checkOver(await probe(ground, "streams"), "streams");
    });
  }
});
