// Answers that come piece by piece: chunked, to the end of the connection, with backpressure, cancelled.

import type { Server } from "ringcast";
import { Client, fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CONNECT, Wire, httpUrl, reported, serving, standstill, until } from "./peer";
import { portOf } from "../lib/port";

const streams = suite("streams");

async function withServer(fn: (server: Server, origin: string) => Promise<void>): Promise<void> {
  await serving("streams", {}, (server, port) => fn(server, httpUrl(port)));
  const wrong = reported.filter(({ message }) => message !== "as asked");
  assert.equal(wrong, []);
}

/** Sends bytes and reads to the end. */
async function raw(server: Server, text: string): Promise<string> {
  const wire = await Wire.open(portOf(server));
  const all = await wire.write(text).takeAll();
  wire.destroy();
  return all.toString("latin1");
}

streams("pieces arrive as chunks, and the connection persists", () =>
  withServer(async (_, origin) => {
    const client = new Client(origin, { pipelining: 4, ...CONNECT });
    const paths = ["/pieces?3", "/pieces?0", "/iterable?5", "/pieces?20000"];
    const answers = await Promise.all(
      paths.map(async (path) => {
        const answer = await client.request({ path, method: "GET" });
        assert.is(answer.headers["transfer-encoding"], "chunked");
        return answer.body.text();
      }),
    );
    const pieces = (n: number): string =>
      Array.from({ length: n }, (_, i) => `piece ${i}\n`).join("");
    assert.is(answers[0], pieces(3));
    assert.is(answers[1], "");
    assert.is(answers[2], ["A", "B", "C", "D", "E"].map((c) => c.repeat(100000)).join(""));
    assert.is(answers[3], pieces(20000));
    await client.close();
  }),
);

streams("HTTP/1.0 gets the body up to the end of the connection", () =>
  withServer(async (server) => {
    const text = await raw(server, "GET /pieces?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.not.match(text, /transfer-encoding|content-length/i);
    assert.match(text, /Connection: close/);
    assert.ok(text.endsWith("\r\n\r\npiece 0\npiece 1\n"));
  }),
);

streams("HEAD and 204 have no body, and do not end the connection", () =>
  withServer(async (server) => {
    const request = (line: string, close = ""): string =>
      `${line} HTTP/1.1\r\nHost: a\r\n${close}\r\n`;
    const text = await raw(
      server,
      request("HEAD /pieces?2") +
        request("GET /empty") +
        request("GET /pieces?1", "Connection: close\r\n"),
    );
    assert.is(text.match(/HTTP\/1\.1/g)?.length, 3);
    assert.ok(text.endsWith("8\r\npiece 0\n\r\n0\r\n\r\n"), text);
    assert.is(text.match(/piece/g)?.length, 1);
  }),
);

streams("an iterable that throws breaks the body off", () =>
  withServer(async (server) => {
    const received = await raw(server, "GET /throws HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.match(received, /one/);
    assert.not.match(received, /\r\n0\r\n\r\n$/);
    assert.is((await server.stats()).closed.HandlerError, 1);
  }),
);

for (const how of ["reset", "end"] as const) {
  streams(`a body without end is bounded, and cancelled when the client leaves (${how})`, () =>
    withServer(async (server, origin) => {
      const wire = await Wire.open(portOf(server));
      wire.socket.pause();
      wire.write("GET /forever HTTP/1.1\r\nHost: a\r\n\r\n");
      await until("answer", async () => (await server.stats()).bytesIn > 0);
      await standstill("bytes out", async () => (await server.stats()).bytesOut);
      const { replyPool } = await server.stats();
      assert.ok(replyPool.used < 4 << 20, `${replyPool.used} bytes are queued`);
      if (how === "reset") wire.reset();
      else wire.destroy();
      await until("the iterable is returned from", async () => {
        const { left } = (await (await fetch(`${origin}/left`)).json()) as { left: string[] };
        return left.length === 1;
      });
    }),
  );
}

streams.run();
