// Proxy mounts: requests, responses and WebSockets that are passed on to a server behind this one.

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type MountOptions, type Options, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket, WebSocketServer } from "ws";
import { portOf } from "../lib/port";
import { fileUrl, until, within } from "./peer";

const proxy = suite("proxy");

/** A request as the backend received it. */
interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly raw: readonly string[];
  readonly body: string;
}

type Respond = (res: http.ServerResponse, asked: Asked) => void;

/** A server behind the server. */
class Behind {
  readonly server = http.createServer({ keepAliveTimeout: 60000 });
  readonly asked: Asked[] = [];
  respond: Respond = (res, { url }) => void res.end(`behind ${url}`);

  constructor() {
    this.server.on("request", (req, res) => {
      let body = "";
      req.setEncoding("latin1");
      req.on("data", (piece: string) => {
        body += piece;
      });
      req.on("end", () => {
        const { method = "", url = "", headers, rawHeaders: raw } = req;
        const asked = { method, url, headers, raw, body };
        this.asked.push(asked);
        this.respond(res, asked);
      });
    });
  }

  async listen(where: string | number): Promise<number> {
    this.server.listen(typeof where === "string" ? where : { port: where, host: "127.0.0.1" });
    await once(this.server, "listening");
    const address = this.server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

let port = 0;
const errors: string[] = [];

async function serving(
  more: (behindPort: number) => readonly MountOptions[],
  body: (behind: Behind) => Promise<void>,
  options: Options = {},
): Promise<void> {
  errors.length = 0;
  const behind = new Behind();
  const behindPort = await behind.listen(0);
  const onError = (error: Error, where: string): void => {
    errors.push(`${where}: ${error.message}`);
  };
  const server = await within(
    serve({ port: 0, mounts: more(behindPort), onError, ...options }),
    "serve",
  );
  port = portOf(server);
  try {
    await body(behind);
    assert.equal(errors, []);
  } finally {
    behind.close();
    await within(server.close(), "close");
  }
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(
  target: string,
  headers: http.OutgoingHttpHeaders | readonly string[] = {},
  method = "GET",
  pieces: readonly string[] = [],
): Promise<Answer> {
  const answered = new Promise<Answer>((resolve, reject) => {
    const request = http.request(
      { host: "127.0.0.1", port, path: target, method, headers, agent },
      (response) => {
        let body = "";
        response.setEncoding("latin1");
        response.on("data", (piece: string) => {
          body += piece;
        });
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      },
    );
    request.on("error", reject);
    for (const piece of pieces) request.write(piece);
    request.end();
  });
  return within(answered, `${method} ${target}`);
}

const API = (behind: number): MountOptions[] => [
  { path: "/api", proxy: `http://127.0.0.1:${behind}`, timeout: 500 },
];

proxy("a request is passed on as it is, without the fields of its connection", () =>
  serving(API, async (behind) => {
    const answer = await ask("/api/a%20b/%2F?x=1&y=%22", {
      Host: "app.example",
      "X-Own": "1",
      Cookie: "a=b",
      Connection: "keep-alive, X-Hop",
      "X-Hop": "secret",
      "Keep-Alive": "timeout=5",
      TE: "trailers",
      "Proxy-Authorization": "Basic x",
      "X-Forwarded-For": "6.6.6.6",
      "X-Forwarded-Host": "evil",
      "X-Forwarded-Proto": "https",
      Forwarded: "for=6.6.6.6",
    });
    assert.is(answer.status, 404, "an escaped slash may be read in two ways");
    const right = await ask("/api/a%20b?x=1&y=%22", {
      Host: "app.example",
      "X-Own": "1",
      Cookie: "a=b",
      Connection: "keep-alive, X-Hop",
      "X-Hop": "secret",
      "Keep-Alive": "timeout=5",
      TE: "trailers",
      "Proxy-Authorization": "Basic x",
      "X-Forwarded-For": "6.6.6.6",
      "X-Forwarded-Host": "evil",
      "X-Forwarded-Proto": "https",
      Forwarded: "for=6.6.6.6",
    });
    assert.is(right.body, "behind /api/a%20b?x=1&y=%22");
    const [asked] = behind.asked;
    const { headers } = asked as Asked;
    assert.is(headers.host, "app.example");
    assert.is(headers["x-own"], "1");
    assert.is(headers.cookie, "a=b");
    for (const name of ["x-hop", "keep-alive", "te", "proxy-authorization"])
      assert.is(headers[name], undefined, name);
    assert.is(headers["x-forwarded-for"], "127.0.0.1");
    assert.is(headers["x-forwarded-host"], "app.example");
    assert.is(headers["x-forwarded-proto"], "http");
    assert.is(headers.forwarded, 'for=127.0.0.1;proto=http;host="app.example"');
    assert.is(headers.via, "1.1 ringcast");
  }),
);

proxy("the fields of a trusted peer are appended to", () =>
  serving(
    API,
    async (behind) => {
      await ask("/api/", {
        Host: "a",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "outer.example",
        "X-Forwarded-Proto": "https",
        Forwarded: "for=6.6.6.6",
        Via: "1.1 outer",
      });
      const { headers } = behind.asked[0] as Asked;
      assert.is(headers["x-forwarded-for"], "6.6.6.6, 127.0.0.1");
      assert.is(headers["x-forwarded-host"], "outer.example");
      assert.is(headers["x-forwarded-proto"], "https");
      assert.is(headers.forwarded, 'for=6.6.6.6, for=127.0.0.1;proto=http;host="a"');
      assert.is(headers.via, "1.1 outer, 1.1 ringcast");
    },
    { trustProxy: ["loopback"] },
  ),
);

proxy("bodies are passed on in both directions", () =>
  serving(API, async (behind) => {
    behind.respond = (res, { method, body }) => {
      res.writeHead(201, {
        "Set-Cookie": ["a=1", "b=2"],
        "Content-Type": "text/x",
        Connection: "X-Hop",
        "X-Hop": "1",
        "X-Kept": "2",
      });
      res.end(`${method} ${body.length} ${body.slice(0, 10)}`);
    };
    const large = "0123456789".repeat(300000);
    const chunked = await ask("/api/up", {}, "POST", [
      large.slice(0, 1500000),
      large.slice(1500000),
    ]);
    assert.equal([chunked.status, chunked.body], [201, "POST 3000000 0123456789"]);
    assert.is(behind.asked[0]?.headers["transfer-encoding"], "chunked");
    assert.equal(chunked.headers["set-cookie"], ["a=1", "b=2"]);
    assert.is(chunked.headers["content-type"], "text/x");
    assert.is(chunked.headers["x-kept"], "2");
    assert.is(chunked.headers["x-hop"], undefined);
    const counted = await ask("/api/up", { "Content-Length": 10 }, "PUT", ["0123456789"]);
    assert.is(counted.body, "PUT 10 0123456789");
    assert.is(behind.asked[1]?.headers["content-length"], "10");
    assert.is(behind.asked[1]?.headers["transfer-encoding"], undefined);
    const bare = await ask("/api/up", {}, "DELETE");
    assert.is(bare.body, "DELETE 0 ");
    behind.respond = (res) =>
      void res.writeHead(200, { "Content-Length": large.length }).end(large);
    const down = await ask("/api/down");
    assert.is(down.headers["content-length"], String(large.length));
    assert.ok(down.body === large);
    behind.respond = (res) => {
      for (let i = 0; i < 30; i++) res.write(large.slice(0, 100000));
      res.end();
    };
    const pieces = await ask("/api/down");
    assert.is(pieces.headers["transfer-encoding"], "chunked");
    assert.ok(pieces.body === large);
    const head = await ask("/api/down", {}, "HEAD");
    assert.equal([head.status, head.body], [200, ""]);
    behind.respond = (res) => void res.writeHead(200, { "Content-Length": 77 }).end();
    assert.is((await ask("/api/down", {}, "HEAD")).headers["content-length"], "77");
    for (const status of [204, 304, 404, 503]) {
      behind.respond = (res) => void res.writeHead(status, { ETag: '"x"' }).end();
      const one = await ask("/api/status");
      assert.equal([one.status, one.body, one.headers.etag], [status, "", '"x"']);
    }
    behind.respond = (res) => void res.writeHead(302, { Location: "/elsewhere" }).end();
    assert.is((await ask("/api/moved")).headers.location, "/elsewhere");
  }),
);

proxy("a backend that fails is 502, or 504, or the end of the response", () =>
  serving(
    (behind) => [...API(behind), { path: "/gone", proxy: "http://127.0.0.1:1" }],
    async (behind) => {
      assert.is((await ask("/gone/x")).status, 502);
      assert.is((await ask("/gone/x", {}, "POST", ["body"])).status, 502);
      behind.respond = () => undefined;
      assert.is((await ask("/api/late")).status, 504);
      behind.respond = (res) => void res.socket?.destroy();
      assert.is((await ask("/api/reset")).status, 502);
      behind.respond = (res) => void res.socket?.end("HTTP/1.1 banana\r\n\r\n");
      assert.is((await ask("/api/wrong")).status, 502);
      const codeOf = async (target: string): Promise<string | undefined> =>
        ask(target).then(
          ({ status }) => `${status}`,
          (error: NodeJS.ErrnoException) => error.code,
        );
      behind.respond = (res) => {
        res.writeHead(200, { "Content-Length": 100 });
        res.write("x");
        setTimeout(() => res.socket?.destroy(), 20);
      };
      assert.is(await codeOf("/api/short"), "ECONNRESET");
      errors.length = 0;
      behind.respond = (res) => {
        res.writeHead(200);
        res.write("x");
      };
      assert.is(await codeOf("/api/stalled"), "ECONNRESET");
      errors.length = 0;
      behind.respond = (res) => void res.end("fine");
      assert.is((await ask("/api/again")).body, "fine");
    },
  ),
);

proxy("a request on an idle connection that the backend closed is sent again", () =>
  serving(API, async (behind) => {
    const sockets = new Set<net.Socket>();
    behind.server.on("connection", (socket: net.Socket) => sockets.add(socket));
    assert.is((await ask("/api/1")).status, 200);
    assert.is((await ask("/api/2")).status, 200);
    assert.is(sockets.size, 1, "the connection is kept");
    let isCut = false;
    behind.server.prependListener("request", (req: http.IncomingMessage) => {
      if (isCut) return;
      isCut = true;
      req.socket.destroy();
    });
    assert.is((await ask("/api/3")).status, 200);
    assert.is(sockets.size, 2);
    isCut = false;
    assert.is((await ask("/api/4", {}, "POST", ["x"])).status, 502, "a POST is not repeated");
  }),
);

proxy("a client that leaves ends its request at the backend", () =>
  serving(API, async (behind) => {
    let closed = 0;
    behind.server.on("request", (req: http.IncomingMessage) => {
      req.socket.once("close", () => closed++);
    });
    behind.respond = () => undefined;
    const request = http.get({ host: "127.0.0.1", port, path: "/api/left", agent: false });
    request.on("error", () => undefined);
    await until("the backend is asked", () => behind.asked.length === 1);
    request.destroy();
    await until("its connection is closed", () => closed === 1);
    behind.respond = (res) => {
      res.writeHead(200);
      const pour = (): void => {
        while (res.write(Buffer.alloc(65536)));
        res.once("drain", pour);
      };
      pour();
    };
    const reading = http.get({ host: "127.0.0.1", port, path: "/api/read", agent: false });
    reading.on("error", () => undefined);
    const [response] = (await within(once(reading, "response"), "a response")) as [
      http.IncomingMessage,
    ];
    response.on("error", () => undefined);
    response.destroy();
    await until("its connection is closed, too", () => closed === 2);
  }),
);

proxy("WebSockets are passed on, and nothing else behind a refused one", () =>
  serving(API, async (behind) => {
    const sockets = new WebSocketServer({ noServer: true });
    behind.server.on("upgrade", (req, socket, first) => {
      if (req.url?.endsWith("/refused")) {
        socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        return;
      }
      sockets.handleUpgrade(req, socket, first, (ws) => {
        ws.send(`${req.headers.host} ${req.headers["x-forwarded-for"]}`);
        ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
        ws.on("close", () => sockets.emit("left"));
      });
    });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/ws`, ["chat"]);
    const heard: string[] = [];
    socket.on("message", (data) => heard.push(String(data)));
    await within(once(socket, "open"), "open");
    assert.is(socket.protocol, "chat");
    await until("the first message", () => heard.length === 1);
    assert.is(heard[0], `127.0.0.1:${port} 127.0.0.1`);
    const large = "x".repeat(1000000);
    socket.send(large);
    await until("the echo", () => heard.length === 2);
    assert.ok(heard[1] === large);
    const left = once(sockets, "left");
    socket.close(1000);
    await within(left, "the backend's close");
    const refused = new WebSocket(`ws://127.0.0.1:${port}/api/refused`);
    const [, response] = (await within(once(refused, "unexpected-response"), "403")) as [
      unknown,
      http.IncomingMessage,
    ];
    assert.is(response.statusCode, 403);
    // Bytes after a refused upgrade may be of either protocol, so they are read as neither.
    const raw = net.connect(port, "127.0.0.1");
    let text = "";
    raw.on("data", (bytes) => {
      text += bytes.toString("latin1");
    });
    const handshake =
      "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    raw.write(`GET /api/refused HTTP/1.1\r\n${handshake}GET /private HTTP/1.1\r\nHost: a\r\n\r\n`);
    await within(once(raw, "end"), "the end of the connection");
    assert.match(text, /^HTTP\/1\.1 403 [\s\S]*no$/);
    assert.not(behind.asked.some(({ url }) => url === "/private"));
    raw.destroy();
  }),
);

proxy("a Unix socket, and a path that is left out", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "ringcast-proxy-"));
  const file = path.join(folder, "app.sock");
  const inner = new Behind();
  await inner.listen(file);
  try {
    await serving(
      (behind) => [
        { path: "/app", proxy: `unix:${file}`, strip: true, headers: { "X-By": "proxy" } },
        { path: "/", proxy: `http://127.0.0.1:${behind}` },
        { path: "/own", handler: fileUrl("handlers/mounted.mjs") },
      ],
      async () => {
        for (const [target, body] of [
          ["/app", "behind /"],
          ["/app?x", "behind /?x"],
          ["/app/", "behind /"],
          ["/app/a%20b/?c=%20", "behind /a%20b/?c=%20"],
          ["/%61pp/x", "behind /x"],
          ["/application", "behind /application"],
          ["/own/x", "mounted GET /own/x "],
        ] as const) {
          const answer = await ask(target);
          assert.is(answer.body, body);
          assert.is(
            answer.headers["x-by"],
            target.includes("pp/") || /^\/app(\?|$)/.test(target) ? "proxy" : undefined,
          );
        }
      },
    );
  } finally {
    inner.close();
    rmSync(folder, { recursive: true });
  }
});

proxy.after(() => {
  agent.destroy();
});

proxy.run();
