// Origins, hosts, subprotocols and the Server field over real sockets.

import { readFileSync } from "node:fs";
import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { fileUrl, serving } from "./peer";

const origin = suite("origin");

/** Returns the outcome of an upgrade: "101" with the subprotocol, or the status of the refusal. */
function outcome(server: Server, options: object, protocols: string[] = []): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${server.address.port}/`, protocols, options);
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.once("unexpected-response", (_, response) => {
      resolve(String(response.statusCode));
      response.resume();
      socket.terminate();
    });
    socket.once("open", () => {
      resolve(`101 ${socket.protocol}`.trim());
      socket.terminate();
    });
  });
}

origin("a page connects to its own origin alone", () =>
  serving("echo", {}, async (server) => {
    const own = `http://127.0.0.1:${server.address.port}`;
    assert.is(await outcome(server, {}), "101");
    assert.is(await outcome(server, { origin: own }), "101");
    assert.is(await outcome(server, { origin: "http://evil.example" }), "403");
    assert.is(await outcome(server, { origin: "null" }), "403");
    assert.is((await server.stats()).closed.OriginRefused, 2);
  }),
);

origin("origins widens it, requireOrigin narrows it", () =>
  serving("echo", { origins: ["https://a.example"], requireOrigin: true }, async (server) => {
    assert.is(await outcome(server, { origin: "https://a.example" }), "101");
    assert.is(await outcome(server, { origin: "https://b.example" }), "403");
    assert.is(await outcome(server, {}), "403");
  }),
);

origin("over TLS a page of http: is refused, and reported with the option", async () => {
  const errors: string[] = [];
  const read = (name: string): Buffer => readFileSync(new URL(fileUrl(`tls/${name}`)));
  const server = await serve({
    port: 0,
    handler: fileUrl("handlers/echo.mjs"),
    tls: { key: read("key.pem"), cert: read("cert.pem") },
    onError: ({ message }, where) => errors.push(`${where}: ${message}`),
  });
  const at = `127.0.0.1:${server.address.port}`;
  const ask = (from: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`wss://${at}/`, { origin: from, rejectUnauthorized: false });
      socket.on("error", reject);
      socket.on("upgrade", ({ statusCode = 0 }) => resolve(statusCode));
      socket.on("open", () => socket.terminate());
      socket.on("unexpected-response", (_, response) => {
        resolve(response.statusCode ?? 0);
        response.resume();
        socket.terminate();
      });
    });
  assert.is(await ask(`https://${at}`), 101);
  assert.is(await ask(`http://${at}`), 403);
  assert.is(await ask(`http://${at}`), 403);
  await server.close();
  assert.is(errors.length, 1);
  assert.match(
    errors[0] ?? "",
    /^origin: origins: an upgrade from the origin "http:.* add it to origins$/,
  );
});

origin("a host that is not listed is 421", () =>
  serving("echo", { hosts: ["good.example"] }, async (server) => {
    assert.is(await outcome(server, { headers: { Host: "good.example" } }), "101");
    assert.is(await outcome(server, { headers: { Host: "rebound.example" } }), "421");
    const answer = await fetch(`http://127.0.0.1:${server.address.port}/`);
    assert.is(answer.status, 421);
  }),
);

origin("the first subprotocol of the client's that is listed is chosen", () =>
  serving("echo", { protocols: ["b", "c"] }, async (server) => {
    assert.is(await outcome(server, {}, ["a", "c", "b"]), "101 c");
    assert.is(await outcome(server, {}), "101");
  }),
);

origin("the handler's choice of a subprotocol comes before the list's", () =>
  serving(
    "echo",
    {
      protocols: ["b", "c"],
      handler: fileUrl("handlers/protocol.mjs"),
      onError: () => undefined,
    },
    async (server) => {
      const choose = (name: string): object => ({ headers: { "X-Choose": name } });
      assert.is(await outcome(server, choose("c"), ["b", "c", "d"]), "101 c");
      assert.is(await outcome(server, choose("d"), ["b", "c", "d"]), "101 d");
      assert.is(await outcome(server, choose("e"), ["c", "b", "d"]), "101 c");
      assert.is(await outcome(server, choose("d")), "101");
      assert.is(await outcome(server, choose("bad"), ["b"]), "500");
    },
  ),
);

for (const serverHeader of ["", "Ringcast", `a${"b".repeat(254)}c`]) {
  origin(`serverHeader of ${serverHeader.length} characters is in every answer`, () =>
    serving("echo", { serverHeader }, async (server) => {
      const expected = serverHeader === "" ? null : serverHeader;
      const at = `http://127.0.0.1:${server.address.port}/`;
      assert.is((await fetch(at)).headers.get("server"), expected);
      const refused = await fetch(at, {
        headers: { "X-Long": "x".repeat(20000) },
      });
      assert.is(refused.status, 431);
      assert.is(refused.headers.get("server"), expected);
      const socket = new WebSocket(at.replace("http", "ws"));
      const { headers } = await new Promise<{ headers: Record<string, unknown> }>((resolve) =>
        socket.once("upgrade", resolve),
      );
      assert.is(headers.server ?? null, expected);
      socket.terminate();
    }),
  );
}

for (const [name, options] of [
  ["serverHeader", { serverHeader: "a\r\nb" }],
  ["serverHeader", { serverHeader: " a" }],
  ["serverHeader", { serverHeader: "\u00e9" }],
  ["serverHeader", { serverHeader: 1 }],
  ["origins", { origins: ["a.example"] }],
  ["origins", { origins: "https://a.example" }],
  ["hosts", { hosts: ["a b"] }],
  ["protocols", { protocols: ["a,b"] }],
] as const) {
  origin(`${JSON.stringify(options)} is refused by name`, async () => {
    const error = await serve(options as unknown as Options).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    assert.instance(error, TypeError);
    assert.match(error?.message ?? "", new RegExp(`^${name}:`));
  });
}

origin("a serverHeader that is too long is a RangeError", async () => {
  const error = await serve({ serverHeader: "a".repeat(257) }).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  assert.instance(error, RangeError);
  assert.match(error?.message ?? "", /^serverHeader: 257 /);
});

origin.run();
