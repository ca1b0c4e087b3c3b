// Bugs that the simulator must find: each is one change of a source, made in a copy that only a test build sees.
//
// Invariant: the text that a mutant changes stands in its source exactly once, so that one that no longer fits is
// an error, and never a mutant that changes nothing.

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { root } from "./build.mjs";
import { bundlePrograms } from "./programs.mjs";

const run = promisify(execFile);

/** By name: what it harms, the source, what stands there, what stands there instead. */
export const MUTANTS = {
  "ring-lap": {
    about: "ring: a reader may be lapped by 64 bytes",
    file: "assembly/ring.ts",
    from: "tail > (ring.capacity as u64) ? tail - (ring.capacity as u64) : 0;",
    to: "tail > (ring.capacity as u64) + 64 ? tail - (ring.capacity as u64) - 64 : 0;",
  },
  "ring-index": {
    about: "ring: a reader may be one index entry further behind than there are",
    file: "assembly/engine.ts",
    from: "const floor = min(floorFor(ring, tail, paramU32(Param.Frames) as u64), ring.committed);",
    to: "const floor = min(floorFor(ring, tail, (paramU32(Param.Frames) as u64) + 1), ring.committed);",
  },
  "ring-edge": {
    about: "ring: what begins a lap is taken to go on with what ended the one before",
    file: "assembly/ring.ts",
    from: "return (offset & ((ring.capacity - 1) as u64)) == 0;",
    to: "return ring.capacity == 0 && offset == 0;",
  },
  "treap-stay": {
    about: "treap: who has been written to stays where it stood",
    file: "assembly/output.ts",
    from: "  remove(c);\n  complete(c);",
    to: "  complete(c);",
  },
  "treap-lose": {
    about: "treap: with a reader that is taken out go those that are further on below it",
    file: "assembly/order.ts",
    from: "if (link == c.slot + 1) return merge(c.left, c.right);",
    to: "if (link == c.slot + 1) return c.left != 0 ? c.left : c.right;",
  },
  "cursor-join": {
    about: "cursor: a new reader gets the publication before it came",
    file: "assembly/input.ts",
    from: "w.sequence = engine.sequence;",
    to: "w.sequence = max(engine.sequence, engine.firstSequence + 1) - 1;",
  },
  "cursor-cut": {
    about: "cursor: a run that is cut within a frame goes on at the next",
    file: "assembly/due.ts",
    from: "if (offsetIn(ring, frame(cut)) < end) c.flags |= Flag.MidFrame;",
    to: "if (offsetIn(ring, frame(cut)) > end) c.flags |= Flag.MidFrame;",
  },
  "wait-renew": {
    about: "who pays: the budget of time that the publisher waits for readers is never renewed",
    file: "assembly/engine.ts",
    from: "  engine.waited = 0;\n",
    to: "",
  },
  "pool-sending": {
    about: "pool: the block of a write that was under way at the end is lost",
    file: "assembly/output.ts",
    from: "  if (c.sending != 0) giveBlock(c, block(c.sending));\n",
    to: "",
  },
  "pool-buddy": {
    about: "pool: a block is joined with a buddy that is not free",
    file: "assembly/pool.ts",
    from: "if (load<u8>(pool.map + buddy) != ((order as u8) | FREE)) break;",
    to: "if ((load<u8>(pool.map + buddy) & 31) != (order as u8)) break;",
  },
  "reply-order": {
    about: "reply queue: a message overtakes what was published before it",
    file: "assembly/reply.ts",
    from: "if (c.replyTail != 0 && !(tail.flags & BlockFlag.Static) && tail.at == at) {",
    to: "if (c.replyTail != 0 && !(tail.flags & BlockFlag.Static)) {",
  },
  "reply-count": {
    about: "reply queue: what is written still counts as queued",
    file: "assembly/reply.ts",
    from: "  c.backlog -= length;\n",
    to: "",
  },
  "timer-heap": {
    about: "timers: the heap looks at one of two children alone",
    file: "assembly/timers.ts",
    from: "if (child + 1 < count) {",
    to: "if (child + 1 < count && count > 1000) {",
  },
  "timer-sooner": {
    about: "timers: a deadline does not come nearer",
    file: "assembly/timers.ts",
    from: "} else if (due < c.due) {",
    to: "} else if (due < c.due - 1000000) {",
  },
  "topic-leave": {
    about: "topics: what was published before an unsubscription in the same turn is lost",
    file: "assembly/topics.ts",
    from: "if (t.dirty != 0 && makeDue(c, s, t.first)) markDirty(c);",
    to: "",
  },
  "topic-until": {
    about: "topics: who has unsubscribed gets one more",
    file: "assembly/topics.ts",
    from: "s.until = engine.sequence;",
    to: "s.until = engine.sequence + 1;",
  },
  "topic-except": {
    about: "generations: who has the slot of the one that is left out is left out, too",
    file: "assembly/due.ts",
    from: "return f.exceptGeneration == c.generation && f.except == c.slot;",
    to: "return f.exceptGeneration != 0 && f.except == c.slot;",
  },
  "stale-live": {
    about: "generations: a stale id reaches who has the slot now",
    file: "assembly/conn.ts",
    from: "if (c.generation != generation || c.state == State.Free || c.state == State.Dead) {",
    to: "if (generation == 0 || c.state == State.Free || c.state == State.Dead) {",
  },
  "pong-within": {
    about: "pong slot: a pong goes out between the pieces of a frame",
    file: "assembly/flush.ts",
    from: "if (c.pong != 0 && !has(c, Flag.MidFrame | Flag.MidReply)) {",
    to: "if (c.pong != 0) {",
  },
  "pong-newest": {
    about: "pong slot: a pong that is pending stays, the newest is dropped",
    file: "assembly/send.ts",
    from: "  if (c.pong != 0) {\n    giveBlock(c, block(c.pong));\n",
    to: "  if (c.pong != 0) return;\n  if (c.pong != 0) {\n    giveBlock(c, block(c.pong));\n",
  },
  "deflate-room": {
    about: "compressed ring: nobody makes room in it",
    file: "assembly/engine.ts",
    from: "return makeRoom(deflated, deflateAt + (isRead ? (bytes as u64) : 0));",
    to: "return Outcome.Ok;",
  },
  "deflate-bit": {
    about: "compressed ring: a frame does not say that it is compressed",
    file: "assembly/engine.ts",
    from: "flags | FrameFlag.Compressed);\n",
    to: "flags);\n",
  },
  "event-limit": {
    about: "event table: more is written than it holds",
    file: "assembly/conn.ts",
    from: "return engine.inboundEvents >= EVENT_LIMIT;",
    to: "return engine.inboundEvents >= EVENT_LIMIT * 16;",
  },
  "http-next": {
    about: "pipelining: what follows a request that is answered late is not looked at",
    file: "worker/requests.ts",
    from: "      request.detach();\n      this.#pump.resumeLater(peer);\n",
    to: "      request.detach();\n",
  },
  "http-keep": {
    about: "pipelining: a request that waits for its answer reads the next one's bytes",
    file: "worker/server.ts",
    from: "      if (x.retain(peer.slot, peer.generation) === 0) this.handleEvents();\n",
    to: "      if (peer.ws && x.retain(peer.slot, peer.generation) === 0) this.handleEvents();\n",
  },
  "upload-rest": {
    about: "upload: the request behind a streamed body is lost",
    file: "assembly/upload.ts",
    from: "  c.start = (readTo - data) as u32;\n",
    to: "  c.start = c.end;\n",
  },
  "upload-full": {
    about: "upload: what the reader has taken still counts as held",
    file: "worker/upload.ts",
    from: "      this.#held -= Math.max(piece.length, LEAST);\n",
    to: "",
  },
  "write-early": {
    about: "writes: one that is outstanding is said to be complete",
    file: "worker/server.ts",
    from: "if (peer.link.write(bytes)) u32[",
    to: "if (peer.link.write(bytes) || bytes.length > 300) u32[",
  },
  "inbox-wait": {
    about: "inbox: a publication that must wait is dropped",
    file: "worker/inbox.ts",
    from: "    if (outcome !== Outcome.Wait) return true;\n",
    to: "    if (outcome !== Outcome.Wait || kind === RecordKind.Broadcast) return true;\n",
  },
  "remote-wait": {
    about: "hand-over: a request that the application has no room for is forgotten",
    file: "worker/remote.ts",
    from: "    if (this.#isFull()) this.#waiting.add(pending);\n    else this.#tellRequest(pending);",
    to: "    if (!this.#isFull()) this.#tellRequest(pending);",
  },
  "remote-taken": {
    about: "hand-over: a WebSocket whose messages the application has handled is not read on",
    file: "worker/remote.ts",
    from: "        if (this.#stalled.has(lane)) this.#release(lane);\n",
    to: "",
  },
  "lane-kept": {
    about: "hand-over: a message that found no room a second time is lost",
    file: "worker/lane.ts",
    from: '      if (this.#send(first.bytes, first.flags) === "full") return false;\n      this.#kept.shift();\n',
    to: '      this.#kept.shift();\n      if (this.#send(first.bytes, first.flags) === "full") return false;\n',
  },
  "pool-next": {
    about: "hand-over: a request that waits for a thread is not given to the next that is free",
    file: "worker/pool.ts",
    from: "      this.#running--;\n      this.#next();\n",
    to: "      this.#running--;\n",
  },
  "order-hold": {
    about: "hand-over: a message is handled while the one before has not settled",
    file: "worker/messages.ts",
    from: "    peer.queue ??= [];\n    this.#pump.hold(peer, Hold.Order);\n",
    to: "",
  },
  "shutdown-close": {
    about: "shutdown: WebSockets are not told of it",
    file: "worker/farewell.ts",
    from: "    engine.x.close(peer.slot, peer.generation, code, engine.scratch, 0, CloseReason.Shutdown);\n",
    to: "",
  },
  "shutdown-late": {
    about: "shutdown: an upgrade that was under way opens all the same",
    file: "worker/answers.ts",
    from: 'if (agreed === "malformed" || this.#pump.farewell.isBegun) {',
    to: 'if (agreed === "malformed") {',
  },
};

async function patched({ file, from, to }) {
  const text = await readFile(path.join(root, file), "utf8");
  const count = text.split(from).length - 1;
  if (count !== 1) throw new Error(`${file}: ${JSON.stringify(from)} stands there ${count} times`);
  return text.replace(from, () => to);
}

/** The engine with a mutant in it, optimized less than the real one: it is built in half of the time. */
async function buildEngine(dir, { file }, text) {
  await cp(path.join(root, "assembly"), path.join(dir, "assembly"), { recursive: true });
  await cp(path.join(root, "asconfig.json"), path.join(dir, "asconfig.json"));
  await symlink(path.join(root, "node_modules"), path.join(dir, "node_modules"));
  await writeFile(path.join(dir, file), text);
  const options = [
    "--optimizeLevel",
    "1",
    "--noAssert",
    "--outFile",
    path.join(dir, "engine.wasm"),
  ];
  const asc = path.join(root, "node_modules/.bin/asc");
  await run(asc, ["assembly/index.ts", "--target", "mutant", ...options], { cwd: dir });
}

/** Bundles the simulator into a file. @param name of a mutant that is put in; undefined: none */
export async function bundleSimulator(outfile, name) {
  const mutant = name === undefined ? undefined : MUTANTS[name];
  if (name !== undefined && !mutant) throw new Error(`there is no mutant ${name}`);
  const plugins = [];
  if (mutant) {
    const dir = path.dirname(outfile);
    const text = await patched(mutant);
    const inEngine = mutant.file.startsWith("assembly/");
    if (inEngine) await buildEngine(dir, mutant, text);
    plugins.push({
      name: "mutant",
      setup({ onLoad, onResolve }) {
        onLoad({ filter: /\.ts$/ }, ({ path: file }) =>
          file === path.join(root, mutant.file) ? { contents: text, loader: "ts" } : undefined,
        );
        onResolve({ filter: /\/engine(\.debug)?\.wasm$/ }, () =>
          inEngine ? { path: path.join(dir, "engine.wasm") } : undefined,
        );
      },
    });
  }
  await bundlePrograms({ entryPoints: ["test/simulate.ts"], outfile, plugins });
}

/** Calls `fn` with a folder that lives as long as the call. */
async function within(fn) {
  // Beside the cache, where packages are found.
  const base = path.join(root, ".cache");
  await mkdir(base, { recursive: true });
  const dir = await mkdtemp(path.join(base, "mutant-"));
  try {
    return await fn(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** ms that the seeds of one mutant may take. */
const HUNT_MILLIS = 300000;

/**
 * Puts a mutant in and runs seeds until one finds it, or does not come to an end.
 * @returns what the simulator says: `found` undefined when no seed does
 */
export async function hunt(name, { seeds, from, steps, shrink }) {
  return within(async (dir) => {
    const file = path.join(dir, "simulate.mjs");
    await bundleSimulator(file, name);
    const options = { seeds, from, steps, shrink };
    const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const started = Date.now();
    try {
      const limits = { maxBuffer: 1 << 28, timeout: HUNT_MILLIS, killSignal: "SIGKILL" };
      await run(process.execPath, ["--enable-source-maps", file, ...args], limits);
      return { name, ms: Date.now() - started };
    } catch (error) {
      const text = String(error.stderr);
      // A mutant that runs in circles is found, too: nobody can say in which seed.
      if (error.killed) return { name, ms: HUNT_MILLIS, endless: true };
      const seed = Number(/^seed (\d+): /m.exec(text)?.[1] ?? Number.NaN);
      if (Number.isNaN(seed))
        throw new Error(`${name}: the simulator itself failed: ${text || error}`);
      const length = Number(/^(\d+) steps:$/m.exec(text)?.[1] ?? Number.NaN);
      const ms = Date.now() - started;
      return { name, ms, found: { seeds: seed - from + 1, length, text } };
    }
  });
}
