// The handler of the server suite, for every platform and place: web standards alone, and no import that
// is left at run time. Its log tells each client's events under the client's name: GET /log?name.
//
// The default export is the module's, beside the engine; `closures` is the same on the application's thread,
// where bodies are not streamed.

import type { Data, Handler, HandlerServer, Request, Response, WebSocket } from "ringcast";

import { sequenceOf } from "./bytes";
import { GOOD, problemsOf } from "./data";
import { sleep } from "../lib/wait";

interface User {
  readonly name: string;
  readonly via: string;
  /** Messages that its queue took in a flood. */
  flooded: number;
}

type Socket = WebSocket<User>;

/** A piece of an answer in pieces, with its number first. */
const PIECE = 50000;

class Log {
  readonly #entries = new Map<string, unknown[][]>();

  note(name: string, ...entry: unknown[]): void {
    const entries = this.#entries.get(name) ?? [];
    entries.push(entry);
    this.#entries.set(name, entries);
  }

  take(name: string): unknown[][] {
    const entries = this.#entries.get(name) ?? [];
    this.#entries.delete(name);
    return entries;
  }
}

function describe(req: Request): string {
  const { method, url, path, query, httpVersion, headers, upgrade } = req;
  const lower = req.header("x-test");
  return JSON.stringify({ method, url, path, query, httpVersion, headers, upgrade, lower });
}

async function* pieces(count: number): AsyncGenerator<string> {
  for (let i = 0; i < count; i++) {
    if (i % 8 === 7) await sleep(1);
    yield `${i}`.padStart(8) + "x".repeat(PIECE);
  }
}

/** Writes pieces by hand, as fast as the client takes them. */
async function writePieces(res: Response, count: number): Promise<void> {
  res.begin(200, "text/plain", { "X-Pieces": count });
  for (let i = 0; i < count && !res.sent; i++) {
    const piece = `${i}`.padStart(8) + "x".repeat(PIECE);
    while (!res.sent && !res.write(piece)) await res.ready();
  }
  await res.end("end");
}

type Route = (req: Request, res: Response) => unknown;

function routesOf(server: HandlerServer, log: Log): Record<string, Route> {
  const body = server.body("static\n", "text/plain");
  const json = (res: Response, value: unknown): unknown =>
    res.send(200, "application/json", JSON.stringify(value));
  const all: Route = (req, res) => res.send(200, "application/json", describe(req));
  return {
    "/hello": (_req, res) => res.send(200, "text/plain", "hello\n"),
    "/all": all,
    "/": all,
    "*": all,
    "/echo": (req, res) => res.send(200, req.header("content-type") ?? "", req.body),
    "/text": (req, res) => res.send(200, "text/plain", req.text()),
    "/large": (req, res) => res.send(200, "", new Uint8Array(Number(req.query)).fill(7)),
    "/static": (_req, res) => res.static(body, 200, { "X-Static": "yes" }),
    "/none": (_req, res) => res.send(204),
    "/close": (_req, res) => res.close().send(200, "text/plain", "bye"),
    "/headers": (_req, res) =>
      res
        .header("Set-Cookie", ["a=1", "b=2"])
        .send(201, "text/plain", "made", { "X-Latin": "\xe9", Location: "/made" }),
    "/throw"() {
      throw new Error("thrown");
    },
    async "/reject"() {
      await sleep(1);
      throw new RangeError("rejected");
    },
    async "/late"(req, res) {
      const before = describe(req);
      await sleep(Number(req.query));
      const after = describe(req);
      return res.send(200, "text/plain", before === after ? req.url : `changed: ${after}`);
    },
    "/data": (_req, res) => {
      const problems = problemsOf({ body: (data) => res.send(200, "", data) }, "bodies");
      res.begin(200, "application/json");
      problems.push(...problemsOf({ write: (data) => res.write(data) }, "bodies"));
      return res.end(JSON.stringify(problems));
    },
    "/good": (req, res) => res.send(200, "", GOOD[Number(req.query)]?.make() as Data),
    "/written": (req, res) =>
      res.stream(200, "", ["<", GOOD[Number(req.query)]?.make() as Data, ">"]),
    "/stream": (_req, res) => res.stream(200, "text/plain", ["one,", "two,", "three"]),
    "/pieces": (req, res) => writePieces(res, Number(req.query)),
    "/generated": (req, res) => res.stream(200, "text/plain", pieces(Number(req.query))),
    "/log": (req, res) => json(res, log.take(req.query)),
    async "/upload/count"(req, res) {
      let bytes = 0;
      let sum = 0;
      for await (const piece of req.stream()) {
        bytes += piece.length;
        for (const byte of piece) sum = (sum * 31 + byte) >>> 0;
      }
      return res.send(200, "text/plain", `${bytes} ${sum}`);
    },
    "/upload/echo": (req, res) => res.stream(200, "", req.stream()),
    async "/upload/broken"(req, res) {
      try {
        for await (const piece of req.stream()) log.note(req.query, "piece", piece.length > 0);
      } catch (error) {
        log.note(req.query, "broken", (error as Error).name, (error as Error).cause);
      }
      return res.send(200);
    },
  };
}

/** A client's request by a text that begins with "!": a word, then its arguments. */
type Asked = (ws: Socket, ...words: string[]) => unknown;

function askedOf(server: HandlerServer, log: Log): Record<string, Asked> {
  const tell = (ws: Socket, value: unknown): boolean => ws.send(JSON.stringify(value));
  return {
    id: (ws) => tell(ws, ws.id),
    who: (ws) => tell(ws, [ws.data.name, ws.data.via, ws.protocol, ws.open]),
    close: (ws, code, ...words) => ws.close(code ? Number(code) : undefined, words.join(" ")),
    terminate: (ws) => ws.terminate(),
    ping: (ws, data) => ws.ping(data),
    binary: (ws, text) => ws.send(text ?? "", { binary: true }),
    bytes: (ws, n) => ws.send(new Uint8Array(Number(n)).fill(66)),
    fail() {
      throw new Error("failed as asked");
    },
    never: () => new Promise(() => undefined),
    nap: () => sleep(5),
    note: (ws, word) => log.note(ws.data.name, "note", word),
    pause(ws) {
      ws.pause();
      log.note(ws.data.name, "pause");
    },
    /** Pauses and resumes within one call. */
    blink(ws) {
      ws.pause();
      ws.resume();
    },
    resume(_ws, name) {
      server.each((other) => {
        if ((other as Socket).data.name === name) other.resume();
      });
    },
    async late(ws, ms, text) {
      await sleep(Number(ms));
      ws.send(text ?? "");
    },
    subscribe: (ws, topic = "") => tell(ws, [ws.subscribe(topic), [...ws.subscriptions].sort()]),
    unsubscribe: (ws, topic = "") => tell(ws, [ws.unsubscribe(topic), ws.isSubscribed(topic)]),
    publish: (ws, topic = "", text = "") => tell(ws, ws.publish(topic, text)),
    broadcast: (ws, text = "") => tell(ws, server.broadcast(text)),
    async position(ws) {
      const before = await server.position();
      server.publish("without subscribers", "lost");
      server.broadcast("all");
      tell(ws, sequenceOf(await server.position()) - sequenceOf(before));
    },
    except: (ws, text = "") => server.broadcast(text, { except: ws.id }),
    stage(ws) {
      const stage = server.stage().text('{"n":').text(41).truncate(5).text(42n);
      stage.text(',"b":').reserve(4, (view) => {
        view.set([116, 114, 117, 101]);
        return 4;
      });
      stage.text("}").broadcast();
      server.stage().text("dropped").discard();
      server
        .stage()
        .bytes(Uint8Array.of(1, 2, 3))
        .send(ws.id, { binary: true });
    },
    data(ws) {
      const problems = problemsOf({
        send: (data, options) => ws.send(data, options),
        ping: (data) => ws.ping(data),
        broadcast: (data, options) => server.broadcast(data, { ...options, except: ws.id }),
        publish: (data, options) => server.publish("nobody's", data, options),
        "stage.bytes"(data) {
          const stage = server.stage();
          try {
            stage.bytes(data as Uint8Array);
          } finally {
            stage.discard();
          }
        },
      });
      for (const { make } of GOOD) ws.send(make() as Data, { binary: true });
      return tell(ws, problems);
    },
    async held(ws, tag = "", rounds) {
      // Kept across turns in which others publish, then in a timer of its own.
      const first = server.stage().text(`${tag}:`);
      const second = server.stage();
      for (let i = 0; i < Number(rounds); i++) {
        await sleep(1);
        first.text(tag).reserve(100, (view) => view.fill(tag.charCodeAt(0), 0, 50).length / 2);
        second.bytes(new Uint8Array(700).fill(tag.charCodeAt(0)));
        server.broadcast(`${tag} in between`);
      }
      await sleep(1);
      second.publish(`topic-${tag}`);
      // A message that is never finished.
      server.stage().text(`${tag} forgotten`);
      return first.send(ws.id);
    },
    each(ws) {
      const names: string[] = [];
      server.each((other) => names.push((other as Socket).data.name));
      return tell(ws, [server.count(), names.sort()]);
    },
    mixed(ws, count) {
      for (let i = 0; i < Number(count); i++) {
        server.broadcast(`all ${i}`);
        ws.send(`one ${i}`);
      }
    },
    flood(ws) {
      const message = new Uint8Array(10000);
      let sent = 0;
      while (sent < 5000 && ws.send(message)) sent++;
      ws.data.flooded = sent;
      log.note(ws.data.name, "flood", sent < 5000, ws.lag.queued > 0);
    },
  };
}

function accept(req: Request, res: Response): boolean {
  const data: User = { name: req.query, via: req.path, flooded: 0 };
  const protocol = req.protocols.includes("b") ? "b" : "";
  return res.upgrade({ data, protocol, headers: { "Set-Cookie": ["a=1", "b=2"] } });
}

/** Authenticates asynchronously, as with a remote service. */
async function authenticate(req: Request, res: Response): Promise<boolean> {
  await sleep(5);
  if (req.path === "/refused") return res.send(401, "text/plain", "who?\n", { "X-Why": "x" });
  return accept(req, res);
}

function make(server: HandlerServer): Handler<User> {
  const log = new Log();
  const routes = routesOf(server, log);
  const asked = askedOf(server, log);
  const text = (data: Uint8Array): string => new TextDecoder().decode(data);
  return {
    request(req, res) {
      if (req.upgrade) return req.path === "/ws" ? accept(req, res) : authenticate(req, res);
      const route = routes[req.path];
      return route ? route(req, res) : res.send(404, "text/plain", "Not Found\n");
    },
    async open(ws) {
      if (ws.data.via === "/async") await sleep(20);
      if (ws.data.name.startsWith("stuck")) await new Promise(() => undefined);
      if (ws.data.via !== "/ws") ws.send(`welcome ${ws.data.name}`);
    },
    message(ws, data) {
      if (typeof data !== "string" || !data.startsWith("!")) return ws.send(data);
      const [word = "", ...rest] = data.slice(1).split(" ");
      const ask = asked[word];
      if (!ask) throw new Error(`${data}: unknown`);
      return ask(ws, ...rest);
    },
    drain: (ws) => ws.send(`drained ${ws.data.flooded}`),
    ping(ws, data) {
      if (text(data) === "fail") throw new Error("failed as asked");
      log.note(ws.data.name, "ping", text(data));
    },
    async pong(ws, data) {
      log.note(ws.data.name, "pong", text(data));
      if (text(data) === "fail") throw new Error("failed as asked");
    },
    close: (ws, info) =>
      log.note(ws.data.name, "close", info.code, info.reason, info.cause, ws.open),
    shutdown: (ws) => ws.send("shutdown"),
  };
}

/** For the application's thread. */
export const closures = make;

/** Returns the handler for a module beside the engine. Bodies of /upload are streamed. */
export default function module(server: HandlerServer): Handler<User> {
  return { ...make(server), streams: (req) => req.path.startsWith("/upload/") };
}
