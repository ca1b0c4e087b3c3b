// Well-behaved clients of a server that others flood: WebSockets that get the paced broadcast, and one request after
// the other, each on a connection of its own. Beside them a client of the metronome: how late the machine is.
//
// Messages: { watch: { port, secure, metronome } } is answered with "open"; "begin" with "begun": from now on it
// counts; "report" with what it saw since.

import http from "node:http";
import https from "node:https";
import net from "node:net";
import { WebSocket } from "ws";
import { now, read } from "./pace.mjs";

const CLIENTS = 4;
/** ms between two requests. */
const REST = 50;

let target;
let requesting;
let seen;

const fresh = () => ({ lost: 0, ended: 0, late: [], machine: [], failed: 0, answers: [] });

class Reader {
  #next = -1;

  /** @param late where it keeps how late each was */
  see(text, late) {
    const { number, sent } = read(text);
    if (this.#next >= 0 && number !== this.#next) seen.lost += Math.abs(number - this.#next);
    this.#next = number + 1;
    late.push(now() - sent);
  }
}

function watch({ port, secure }) {
  const opened = [];
  for (let i = 0; i < CLIENTS; i++) {
    const reader = new Reader();
    const socket = new WebSocket(`${secure ? "wss" : "ws"}://127.0.0.1:${port}/`, {
      rejectUnauthorized: false,
      perMessageDeflate: false,
    });
    socket.on("message", (data) => reader.see(data.toString(), seen.late));
    socket.on("close", () => {
      if (target?.port === port) seen.ended++;
    });
    socket.on("error", () => undefined);
    opened.push(new Promise((resolve) => socket.once("open", resolve)));
  }
  return Promise.all(opened);
}

function listen(port) {
  const reader = new Reader();
  let rest = "";
  const socket = net.connect(port, "127.0.0.1");
  socket.on("data", (bytes) => {
    const lines = (rest + bytes.latin1Slice()).split("\n");
    rest = lines.pop();
    for (const line of lines) reader.see(line, seen.machine);
  });
}

/** Sends one request and resolves when its connection is closed. */
function ask({ port, secure }) {
  const { get } = secure ? https : http;
  return new Promise((resolve) => {
    const began = now();
    const options = { host: "127.0.0.1", port, agent: false, rejectUnauthorized: false };
    const request = get({ ...options, path: "/?100" }, (response) => {
      let length = 0;
      response.on("data", (bytes) => {
        length += bytes.length;
      });
      response.on("end", () => {
        if (response.statusCode === 200 && length === 100) seen.answers.push(now() - began);
        else seen.failed++;
      });
      response.on("close", resolve);
    });
    request.on("error", () => {
      seen.failed++;
      resolve();
    });
  });
}

async function request() {
  while (requesting) {
    await ask(target);
    await new Promise((resolve) => setTimeout(resolve, REST));
  }
}

/** Returns the 99th percentile. */
function p99(values) {
  const sorted = values.sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0;
}

seen = fresh();
let asked = Promise.resolve();
const orders = {
  async watch(what) {
    target = undefined;
    if (what.metronome) listen(what.metronome);
    await watch(what);
    target = what;
    process.send("open");
  },
  begin() {
    seen = fresh();
    requesting = true;
    asked = request();
    process.send("begun");
  },
  async report() {
    requesting = false;
    await asked;
    const { lost, ended, late, machine, failed, answers } = seen;
    process.send({
      ...{ count: late.length, lost, ended, answered: answers.length, failed },
      ...{ p99: p99(late), machine: p99(machine), answer: p99(answers) },
      max: late.at(-1) ?? 0,
    });
  },
};
process.on("message", ({ order, ...rest }) => orders[order](rest));
process.on("disconnect", () => process.exit());
