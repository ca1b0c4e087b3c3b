// Handlers that do everything wrong, drawn at random, beside clients that look at each byte they get.
//
// How it works:
//   1. From a seed a list of steps is drawn; it travels in a request's path, or in a message, to handlers/misuse.mjs.
//   2. Several clients do that at the same time. All that each of them sends bears a tag of its own.
//   3. A tag of another client's in what a client gets, or in what a handler reads, is a fault; so is a publication
//      that is not public, an answer that cannot be read, and a server that stops serving.

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type HandlerModule, type Options, type Server, serve } from "ringcast";
import {
  type TestClient,
  type TestServer,
  type TestSocket,
  createTestServer,
} from "ringcast/testing";
import { Random } from "../../host/testing/random";
import { CLOSE, TEXT, Wire, WsWire, fileUrl, sleep, takeAnswer, until, within } from "./peer";
import { portOf } from "../lib/port";

/** ms that a client waits for an answer: some handlers never give one. */
const PATIENCE = 150;
/** Clients at the same time. */
const CLIENTS = 12;

/** The names of all steps. */
export interface Vocabulary {
  readonly request: readonly string[];
  readonly message: readonly string[];
}

/** Draws a list of steps, in the notation of a path. */
export function drawSteps(words: readonly string[], seed: number): string {
  const random = new Random(seed);
  const steps = Array.from({ length: random.int(1, 4) }, () => {
    const quiet = random.chance(0.3) ? "~" : "";
    return `${quiet}${random.pick(words)}.${random.int(0, 999)}`;
  });
  return steps.join("/");
}

/** Tags in `bytes` that are not this one. */
function foreign(bytes: string, tag: string): string[] {
  return (bytes.match(/<<\d+>>/g) ?? []).filter((found) => found !== tag);
}

/** Writes a request that bears a tag in each of its parts. */
function writeRequest(
  steps: string,
  tag: string,
  random: Random,
): { method: string; text: string } {
  const body = tag.repeat(random.size(2000));
  const method = random.pick(["GET", "POST", "HEAD"]);
  const prefix = random.pick(["do", "do", "streamed"]);
  const version = random.chance(0.9) ? "1.1" : "1.0";
  const text =
    `${method} /${prefix}/${steps} HTTP/${version}\r\nHost: a\r\nCookie: ${tag}\r\nX-Tag: ${tag}\r\n` +
    `Content-Length: ${body.length}\r\n\r\n${body}`;
  return { method, text };
}

/** One client, and what it has seen that must not be. */
class Client {
  readonly #port: number;
  readonly #tag: string;
  readonly faults: string[];
  #wire: Wire | undefined;

  constructor(port: number, number: number, faults: string[]) {
    this.#port = port;
    this.#tag = `<<${number}>>`;
    this.faults = faults;
  }

  #judge(steps: string, bytes: string): void {
    const tags = foreign(bytes, this.#tag);
    if (tags.length > 0) this.faults.push(`${steps}: ${this.#tag} was sent ${tags[0]}`);
  }

  /** Sends a request, and looks at all that comes back. */
  async request(steps: string, random: Random): Promise<void> {
    const tag = this.#tag;
    this.#wire ??= await Wire.open(this.#port);
    const wire = this.#wire;
    const { method, text } = writeRequest(steps, tag, random);
    wire.write(text);
    // Some clients leave at once, some in the middle of an answer.
    const isHasty = random.chance(0.1);
    try {
      if (!isHasty) await within(takeAnswer(wire, method), "answer", PATIENCE);
      if (!isHasty && !wire.isOver && wire.length === 0) return;
    } catch {
      // There is none, or not a whole one.
    } finally {
      this.#judge(steps, wire.peek().toString("latin1"));
    }
    wire.reset();
    this.#wire = undefined;
  }

  /** Opens a WebSocket, sends it the steps, and looks at everything it receives. */
  async message(steps: string, random: Random): Promise<void> {
    const tag = this.#tag;
    const ws = await WsWire.open(this.#port, "/ws", undefined, `Cookie: ${tag}\r\n`);
    const done = new Promise<void>((resolve) => {
      ws.listen(({ opcode, payload }) => {
        const text = payload.toString("latin1");
        this.#judge(steps, text);
        if (opcode === CLOSE || text.startsWith("done ")) resolve();
      });
      ws.socket.once("close", () => resolve());
    });
    ws.send(TEXT, `do/${steps}`);
    ws.send(TEXT, `done/${tag.repeat(random.size(200))}`);
    if (!random.chance(0.1)) await within(done, "done", PATIENCE).catch(() => undefined);
    ws.reset();
  }

  leave(): void {
    this.#wire?.destroy();
  }
}

/** Listens on the WebSocket of a bystander: every message must be public, and whole. */
function listen(ws: WsWire, faults: string[]): { count: number; isOver: boolean } {
  const seen = { count: 0, isOver: false };
  ws.listen(({ opcode, payload }) => {
    if (opcode === CLOSE) {
      seen.isOver = true;
      faults.push(`a bystander was closed: ${payload.readUInt16BE(0)} ${payload.subarray(2)}`);
      return;
    }
    seen.count++;
    const text = payload.toString("latin1");
    if (opcode <= 2 && !text.startsWith("PUBLIC")) faults.push(`published: ${text.slice(0, 80)}`);
  });
  ws.socket.once("close", () => {
    seen.isOver = true;
  });
  return seen;
}

export interface Misused {
  /** Events that must not have happened; empty when all is well. */
  readonly faults: readonly string[];
  /** Messages that the bystander got. */
  readonly heard: number;
  /** Errors that were reported. */
  readonly errors: number;
}

/** Puts the handler where `placement` says. */
export type Placement = (url: URL) => Promise<Options>;

/** Runs `bodies` handlers from `seed` on in a placement. */
export async function misuse(
  words: Vocabulary,
  placement: Placement,
  seed: number,
  bodies: number,
): Promise<Misused> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-misuse-"));
  const leaks = path.join(folder, "leaks");
  const faults: string[] = [];
  let errors = 0;
  const url = fileUrl("handlers/misuse.mjs");
  url.searchParams.set("leaks", leaks);
  let server: Server | undefined;
  try {
    server = await serve({
      port: 0,
      ring: 262144,
      onError: () => {
        errors++;
      },
      ...(await placement(url)),
    });
    let death: unknown;
    server.finished.catch((error: unknown) => {
      death = error;
    });
    const port = portOf(server);
    const bystander = await WsWire.open(port, "/ws", undefined, "Cookie: <<0>>\r\n");
    const seen = listen(bystander, faults);
    let next = seed;
    const work = async (number: number): Promise<void> => {
      const client = new Client(port, number, faults);
      while (next < seed + bodies && death === undefined && faults.length === 0) {
        const at = next++;
        const random = new Random(at ^ 0x5eed);
        const isMessage = random.chance(0.4);
        const steps = drawSteps(isMessage ? words.message : words.request, at);
        try {
          await (isMessage ? client.message(steps, random) : client.request(steps, random));
        } catch (error) {
          faults.push(`seed ${at}, ${steps}: ${String(error)}`);
        }
      }
      client.leave();
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, i) => work(i + 1)));
    if (death !== undefined) faults.push(`the server ended before seed ${next}: ${String(death)}`);
    else await judgeServer(server, port, faults);
    if (seen.isOver) faults.push("the bystander was ended");
    bystander.destroy();
    if (existsSync(leaks)) faults.push(...readFileSync(leaks, "utf8").trim().split("\n"));
    return { faults, heard: seen.count, errors };
  } finally {
    if (server) await within(server.close(), "close").catch((error) => faults.push(String(error)));
    rmSync(folder, { recursive: true });
  }
}

/** Checks after all of it that the server answers, and holds no connection but the bystander's. */
async function judgeServer(server: Server, port: number, faults: string[]): Promise<void> {
  const wire = await Wire.open(port);
  wire.write("GET /tag HTTP/1.1\r\nHost: a\r\nCookie: <<99>>\r\nConnection: close\r\n\r\n");
  const answer = await takeAnswer(wire);
  wire.destroy();
  if (answer.body.toString() !== "<<99>>") faults.push(`the last answer was ${answer.body}`);
  const left = async (): Promise<number> => {
    const { connections, webSockets } = await server.stats();
    return connections + webSockets - 1;
  };
  await until("all have gone", async () => (await left()) === 0).catch(async () => {
    faults.push(`${await left()} connections are left`);
  });
}

/** Runs the same with a server in memory; the module that `load` returns makes its handler. */
export async function misuseInMemory(
  words: Vocabulary,
  load: (url: URL) => Promise<HandlerModule>,
  seed: number,
  bodies: number,
): Promise<Misused> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-misuse-"));
  const leaks = path.join(folder, "leaks");
  const url = fileUrl("handlers/misuse.mjs");
  url.searchParams.set("leaks", leaks);
  const faults: string[] = [];
  const t = createTestServer({ ring: 262144, handler: await load(url) });
  const heard: (string | Uint8Array)[] = [];
  try {
    const bystander = t.connect("/ws", { headers: { Cookie: "<<0>>" } });
    bystander.onMessage = (data) => heard.push(data);
    for (let at = seed; at < seed + bodies && faults.length === 0; at += 2) {
      const clients = [at, at + 1].map((each) => sendInMemory(t, words, each));
      await t.settle();
      // Timers of the handler are the runtime's own.
      if (at % 20 === 0) await sleep(3);
      await t.settle();
      for (const { steps, tag, client, seen } of clients) {
        const tags = foreign(seen(), tag);
        if (tags.length > 0) faults.push(`${steps}: ${tag} was sent ${tags[0]}`);
        client.reset();
      }
    }
    await t.settle();
    for (const data of heard) {
      const text = Buffer.from(data).toString("latin1");
      if (!text.startsWith("PUBLIC")) faults.push(`published: ${text.slice(0, 80)}`);
    }
    if (!bystander.isOpen) faults.push("the bystander was ended");
    const { connections, webSockets } = await t.server.stats();
    const left = connections + webSockets - 1;
    if (left !== 0) faults.push(`${left} connections are left`);
    if (existsSync(leaks)) faults.push(...readFileSync(leaks, "utf8").trim().split("\n"));
    return { faults, heard: heard.length, errors: t.errors.length };
  } finally {
    await t.close();
    rmSync(folder, { recursive: true });
  }
}

interface MemoryClient {
  readonly steps: string;
  readonly tag: string;
  readonly client: TestSocket | TestClient;
  /** All that it got. */
  seen(): string;
}

function sendInMemory(t: TestServer, words: Vocabulary, at: number): MemoryClient {
  const random = new Random(at ^ 0x5eed);
  const tag = `<<${at}>>`;
  if (random.chance(0.6)) {
    const steps = drawSteps(words.request, at);
    const client = t.socket().write(writeRequest(steps, tag, random).text);
    return { steps, tag, client, seen: () => client.text };
  }
  const steps = drawSteps(words.message, at);
  const client = t.connect("/ws", { headers: { Cookie: tag } });
  client.frame(TEXT, `do/${steps}`).frame(TEXT, `done/${tag.repeat(random.size(200))}`);
  const seen = (): string =>
    client.messages.map((data) => Buffer.from(data).toString("latin1")).join();
  return { steps, tag, client, seen };
}
