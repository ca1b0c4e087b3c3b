// Requests by wrk, and the check that every answer is the right one.

import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { toolPath } from "../.scripts/tools.mjs";
import { start } from "./child.mjs";
import { LOAD_CORE } from "./servers.mjs";
import { cpuOf } from "./usage.mjs";

const SCRIPT = fileURLToPath(new URL("wrk.lua", import.meta.url));
const ANSWER_LIMIT = 5_000; // milliseconds

/** Checks that wrk is installed. @throws {Error} when there is no wrk */
export function needWrk() {
  toolPath("wrk");
}

/**
 * @typedef {object} Requests
 * @property {number} connections
 * @property {number} depth requests on their way in each
 * @property {number} bodyBytes 0: GET; else POST
 * @property {number} seconds whole ones
 * @property {string} [path] default: "/"
 * @property {string} [expected] the body of a response to GET; default: "hello\n"
 */

/**
 * Returns the size of one response in bytes.
 * @param {number} port
 * @param {Pick<Requests, "bodyBytes" | "path" | "expected">} requests
 * @throws {Error} when it is not the right one
 */
export async function answerBytes(port, { bodyBytes, path = "/", expected: body = "hello\n" }) {
  const expected = bodyBytes > 0 ? `${bodyBytes}\n` : body;
  const head = `${bodyBytes > 0 ? "POST" : "GET"} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n`;
  const fields = `Content-Type: text/plain\r\nContent-Length: ${bodyBytes}\r\n`;
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(ANSWER_LIMIT, () => socket.destroy(new Error(`no answer: ${text}`)));
  socket.write(`${head}${bodyBytes > 0 ? fields : ""}\r\n${"x".repeat(bodyBytes)}`);
  let text = "";
  while (!text.endsWith(`\r\n\r\n${expected}`)) {
    const [bytes] = await once(socket, "data");
    text += bytes.latin1Slice();
    if (text.length > 1000 + expected.length) break;
  }
  socket.destroy();
  if (!text.startsWith("HTTP/1.1 200 ") || !text.endsWith(`\r\n\r\n${expected}`)) {
    throw new Error(`wrong answer: ${text}`);
  }
  return text.length;
}

/** Runs wrk. @returns {Promise<number[]>} the numbers that wrk.lua prints */
async function counts(port, { connections, depth, bodyBytes, seconds, path = "/" }) {
  const url = `http://127.0.0.1:${port}${path}`;
  const options = ["-t1", `-c${connections}`, `-d${seconds}`, "-s", SCRIPT, url];
  const child = start(LOAD_CORE, [toolPath("wrk"), ...options, "--", `${depth}`, `${bodyBytes}`]);
  let text = "";
  child.stdout.on("data", (bytes) => {
    text += bytes;
  });
  await once(child, "close");
  const found = /^counts (.*)$/m.exec(text)?.[1];
  if (found === undefined) throw new Error(`wrk: ${text}`);
  return found.split(" ").map(Number);
}

/**
 * Loads a server with requests.
 * @param {{ child: import("./child.mjs").Child, port: number }} server
 * @param {Requests} job
 * @throws {Error} when not every request was answered rightly
 */
export async function requests({ child, port }, job) {
  const bytesEach = await answerBytes(port, job);
  const before = cpuOf(child.pid);
  const [messages, bytes, micros, failed, p99Micros, loadSeconds] = await counts(port, job);
  const after = cpuOf(child.pid);
  // A response that is cut at the end counts as bytes, not as a response.
  const cut = bytes - messages * bytesEach;
  if (failed > 0 || messages === 0 || cut < 0 || cut > job.connections * job.depth * bytesEach) {
    throw new Error(
      `${child.name}: wrk counts ${messages} answers of ${bytesEach} bytes, ${bytes} bytes, ${failed} failures`,
    );
  }
  return {
    rate: (messages / micros) * 1e6,
    serverNanos: ((after.all - before.all) / messages) * 1e3,
    appNanos: ((after.main - before.main) / messages) * 1e3,
    serverShare: (after.all - before.all) / micros,
    loadShare: (loadSeconds * 1e6) / micros,
    p99: p99Micros / 1000,
  };
}
