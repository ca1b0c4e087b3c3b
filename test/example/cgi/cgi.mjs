// A handler that runs the scripts of a folder (CGI/1.1, RFC 3875), for the mount
// { path: "/cgi-bin", handler: "cgi.mjs" }.
//
// A script gets the request in its environment and on its standard input, and nothing of this process's environment but
// PATH. It is killed, with all processes that it has started, when the client leaves or TIMEOUT is over, and at an
// orderly end of the server. A response that breaks off is reset, so the client does not take a part for the whole.
//
// Differences from RFC 3875: a Location that is a path redirects the client (6.2.2 has the server answer itself), words
// of the query are no arguments (4.4), and requests have at most `maxBodyLength` bytes.

import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, lstat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("cgi-bin", import.meta.url));
/** Path of the mount. */
const MOUNT = "/cgi-bin/";
/** Time (ms) that a script has for its whole response, scripts that run at a time, and bytes of a head. */
const { TIMEOUT = 30000, PROCESSES = 16 } = process.env;
const HEAD_BYTES = 65536;
/** Fields of one connection, and Content-Length: the server writes them. */
const OWN = /^(?:connection|keep-alive|te|trailer|transfer-encoding|upgrade|content-length|date)$/i;
/** Fields that scripts do not get: credentials, and the one that programs take for a setting of theirs (httpoxy). */
const SECRET =
  /^(?:authorization|proxy-authorization|proxy|connection|content-type|content-length)$/;

let running = 0;

/** Returns the script of a path, and the rest of the path; undefined: there is none. */
async function find(req) {
  const [name, ...rest] = decodeURIComponent(req.path.slice(MOUNT.length)).split("/");
  if (!/^\w[\w.-]*$/.test(name)) return undefined;
  const file = path.join(FOLDER, name);
  try {
    if (!(await lstat(file)).isFile()) return undefined;
    await access(file, constants.X_OK);
  } catch {
    return undefined;
  }
  return { file, name: MOUNT + name, rest: rest.length === 0 ? "" : `/${rest.join("/")}` };
}

/** Returns the variables of a request (RFC 3875 4.1). */
function variables(req, { name, rest }) {
  const host = new URL(`${req.secure ? "https" : "http"}://${req.header("host") ?? "localhost"}`);
  const own = {
    PATH: process.env.PATH,
    GATEWAY_INTERFACE: "CGI/1.1",
    SERVER_SOFTWARE: "ringcast",
    SERVER_PROTOCOL: "HTTP/1.1",
    SERVER_NAME: host.hostname,
    SERVER_PORT: host.port || (req.secure ? "443" : "80"),
    REQUEST_METHOD: req.method,
    SCRIPT_NAME: name,
    QUERY_STRING: req.query,
    REMOTE_ADDR: req.remoteAddress,
    ...(req.secure ? { HTTPS: "on" } : {}),
    ...(rest === "" ? {} : { PATH_INFO: rest }),
  };
  const type = req.header("content-type");
  if (type !== undefined) own.CONTENT_TYPE = type;
  if (req.body.length > 0) own.CONTENT_LENGTH = String(req.body.length);
  for (const [field, value] of req.headers) {
    const lower = field.toLowerCase();
    // "a_b" would have the variable of "a-b".
    if (SECRET.test(lower) || !/^[a-z0-9-]+$/.test(lower)) continue;
    const variable = `HTTP_${lower.toUpperCase().replaceAll("-", "_")}`;
    const before = own[variable];
    own[variable] =
      before === undefined ? value : `${before}${lower === "cookie" ? "; " : ", "}${value}`;
  }
  return own;
}

/** Reads the output of a script up to the empty line. @returns the lines, and the bytes after them */
async function readHead(script) {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const { value, done } = await script.next();
    if (done) throw new Error("the script has ended before an empty line");
    bytes = Buffer.concat([bytes, value]);
    const text = bytes.toString("latin1");
    const end = /(?:^|\r?\n)\r?\n/.exec(text);
    if (end)
      return {
        lines: text.slice(0, end.index).split(/\r?\n/),
        body: bytes.subarray(end.index + end[0].length),
      };
    if (bytes.length > HEAD_BYTES)
      throw new Error(`the script's head has more than ${HEAD_BYTES} bytes`);
  }
}

/** Reads the fields of a script (RFC 3875 6.3). @throws Error for lines that are none */
function readFields(lines) {
  const answer = { status: 0, type: "", fields: [] };
  for (const line of lines) {
    const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined)
      throw new Error(`the script's line is no field: ${JSON.stringify(line)}`);
    const lower = name.toLowerCase();
    if (lower === "status")
      answer.status = Number(/^[2-5]\d\d(?= |$)/.exec(value)?.[0] ?? Number.NaN);
    else if (lower === "content-type") answer.type = value;
    else if (!OWN.test(lower)) answer.fields.push([name, value]);
  }
  const isMoved = answer.fields.some(([name]) => name.toLowerCase() === "location");
  if (Number.isNaN(answer.status)) throw new Error("the script's Status is not from 200 to 599");
  if (answer.status === 0 && answer.type === "" && !isMoved)
    throw new Error("the script has sent neither Content-Type nor Location nor Status");
  return { ...answer, status: answer.status || (isMoved ? 302 : 200) };
}

/** A script that runs. */
class Script {
  #child;
  #timer;
  #error;
  #pieces;
  /** Resolves when the process is gone and its output is read. @see check */
  #ended;
  isLate = false;

  constructor(found, env, body) {
    // In a group of its own, which is killed as a whole.
    const options = { cwd: FOLDER, env, detached: true, stdio: ["pipe", "pipe", "inherit"] };
    this.#child = spawn(found.file, [], options);
    this.#ended = new Promise((resolve) => this.#child.once("close", (...how) => resolve(how)));
    this.#child.once("error", (error) => {
      this.#error = error;
    });
    // A script need not read its input.
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdin.end(body);
    this.#pieces = this.#child.stdout[Symbol.asyncIterator]();
    this.#timer = setTimeout(() => {
      this.isLate = true;
      this.kill(new Error(`the script was killed after ${TIMEOUT} ms`));
    }, Number(TIMEOUT));
    running++;
    this.#ended.then(() => {
      running--;
      clearTimeout(this.#timer);
    });
  }

  /** Kills the script and the processes that it has started. @param why the error of reading on */
  kill(why) {
    this.#error ??= why;
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // They have ended.
    }
    this.#child.stdout.destroy();
  }

  /** Returns the next piece of the output, as an iterator does. */
  async next() {
    try {
      return await this.#pieces.next();
    } catch (error) {
      throw this.#error ?? error;
    }
  }

  /** Waits for the end of the script. @throws Error when that was not in order */
  async check() {
    const [code, signal] = await this.#ended;
    if (this.#error) throw this.#error;
    if (code !== 0) throw new Error(`the script has ended with ${signal ?? code}`);
  }

  /** The rest of the output. A script that fails makes it fail. */
  async *body(first) {
    try {
      if (first.length > 0) yield first;
      for (;;) {
        const { value, done } = await this.next();
        if (done) break;
        yield value;
      }
      await this.check();
    } finally {
      this.kill();
    }
  }
}

export default {
  async request(req, res) {
    const found = await find(req);
    if (!found || req.upgrade) return res.send(404, "text/plain", "There is no such script.\n");
    if (running >= Number(PROCESSES)) return res.header("Retry-After", 1).send(503);
    const script = new Script(found, variables(req, found), req.body);
    res.signal.addEventListener("abort", () => script.kill(new Error("the client has left")), {
      once: true,
    });
    try {
      const { lines, body } = await readHead(script);
      const { status, type, fields } = readFields(lines);
      for (const [name, value] of fields) res.header(name, value);
      return await res.stream(status, type, script.body(body));
    } catch (error) {
      script.kill();
      // The response was reset, or its client has left.
      if (res.sent) throw error;
      console.error(`${found.name}: ${error.message}`);
      return res.send(script.isLate ? 504 : 502);
    }
  },
};
