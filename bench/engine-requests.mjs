// Request heads: the time from bytes in a Buffer to method, target and every field, for the engine, for undici's llhttp
// and for http-parser-js.
//
// Each parser gets the same Buffer, copies it to where it parses (http-parser-js reads it in place), and stops when
// JavaScript has all of the head in one of three forms:
//
//   offsets   where each part begins and ends, as numbers in memory that JavaScript reads: all that the engine and
//             llhttp tell by themselves, the one in its table, the other by a call for each part
//   views     a Buffer of each part, as undici makes them
//   strings   a string of each part: the only form of http-parser-js

import { createRequire } from "node:module";
import { Host } from "./engine-host.mjs";
import { assert, nanos, sink } from "./engine-rounds.mjs";

const require = createRequire(import.meta.url);
const { HTTPParser, methods } = require("http-parser-js");
const { METHODS } = require("undici/lib/llhttp/constants.js");

export const FORMS = ["offsets", "views", "strings"];

/** The class that undici's views have. */
const FastBuffer = Buffer[Symbol.species];

// ---- requests --------------------------------------------------------------------------------------------------

const FIELDS = [
  ["Host", "dashboard.example.com"],
  ["User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"],
  ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
  ["Accept-Language", "en-GB,en;q=0.7,de;q=0.3"],
  ["Accept-Encoding", "gzip, deflate, br, zstd"],
  ["Referer", "https://dashboard.example.com/overview"],
  ["Connection", "keep-alive"],
  ["Upgrade-Insecure-Requests", "1"],
  ["Sec-Fetch-Dest", "document"],
  ["Sec-Fetch-Mode", "navigate"],
  ["Sec-Fetch-Site", "same-origin"],
];

/** Returns a request of exactly `bytes` bytes with `count` fields. The last field, a cookie, fills the rest. */
function makeRequest(count, bytes) {
  const target = count === 1 ? "/" : "/api/v1/streams/4711?since=1700000000";
  const fields = FIELDS.slice(0, Math.min(count, FIELDS.length));
  for (let i = fields.length; i < count; i++) fields.push([`X-Custom-${i}`, `value-${i}`]);
  const text = () =>
    `GET ${target} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  if (bytes > 0) {
    const cookie = ["Cookie", ""];
    fields[count - 1] = cookie;
    cookie[1] = "session=0123456789abcdef; ".repeat(400).slice(0, bytes - text().length);
    assert(text().length === bytes && /\w$/.test(cookie[1]), `no request of ${bytes} bytes`);
  }
  return { target, fields, data: Buffer.from(text(), "latin1") };
}

export const REQUESTS = [
  { name: "GET, 1 field", ...makeRequest(1, 0) },
  { name: "GET, 3 fields", ...makeRequest(3, 0) },
  { name: "GET, 12 fields", ...makeRequest(12, 600) },
  { name: "GET, 30 fields", ...makeRequest(30, 1500) },
  { name: "GET, 12 fields, long cookie", ...makeRequest(12, 4096) },
];

/** Offsets of each part in the order of the bytes. */
function offsetsOf({ target, fields, data }) {
  const list = [4, target.length];
  let at = data.indexOf("\r\n") + 2;
  for (const [name, value] of fields) {
    list.push(at, name.length, at + name.length + 2, value.length);
    at += name.length + value.length + 4;
  }
  return list;
}

// ---- the engine ------------------------------------------------------------------------------------------------

/** Connections that take turns: so that none has to answer before it gets its next request. */
const CONNECTIONS = 64;

/** Functions that read a head out of the engine, by form; each returns the result. */
const takers = {
  /** @param {Host} host */
  offsets(host, slot, keep) {
    const { engine } = host;
    const at = engine.head(slot);
    const entry = at.table >>> 1;
    keep?.push(at.target, at.targetLength, ...engine.u16.subarray(entry, entry + at.fields * 4));
    sink.value += at.targetLength + at.fields;
    return engine.methodName(at.method);
  },
  views(host, slot, keep) {
    const { engine } = host;
    const { u16 } = engine;
    const { buffer } = engine.u8;
    const at = engine.head(slot);
    const list = [new FastBuffer(buffer, at.head + at.target, at.targetLength)];
    for (let i = 0, entry = at.table >>> 1; i < at.fields * 2; i++, entry += 2) {
      list.push(new FastBuffer(buffer, at.head + u16[entry], u16[entry + 1]));
    }
    sink.value += list.length;
    keep?.push(...list);
    return engine.methodName(at.method);
  },
  strings(host, slot, keep) {
    const { engine } = host;
    const { u16, u8 } = engine;
    const { latin1 } = host.abi;
    const at = engine.head(slot);
    const list = [latin1(u8, at.head + at.target, at.targetLength)];
    for (let i = 0, entry = at.table >>> 1; i < at.fields * 2; i++, entry += 2) {
      list.push(latin1(u8, at.head + u16[entry], u16[entry + 1]));
    }
    sink.value += list.length;
    keep?.push(...list);
    return engine.methodName(at.method);
  },
};

/** Returns true when a parser's result is the request. */
function isRequest(request, form, method, kept) {
  if (method !== "GET") return false;
  const texts = [request.target, ...request.fields.flat()];
  const wanted = form === "offsets" ? offsetsOf(request) : texts;
  const got = form === "offsets" ? kept : kept.map((part) => part.toString("latin1"));
  return got.length === wanted.length && wanted.every((part, i) => part === got[i]);
}

function engineVariant(name, binding, module, request, form) {
  const host = new Host(binding, module);
  const { EventKind } = binding;
  const take = takers[form];
  const connections = [];
  const open = () => {
    while (connections.length < CONNECTIONS) connections.push(host.connect());
  };
  const shut = () => {
    for (const c of connections.splice(0)) host.end(c);
  };
  const parse = (c, keep) => {
    host.feed(c, request.data);
    if (host.events !== 1 || host.event(0).kind !== EventKind.Request) return "";
    const method = take(host, c.slot, keep);
    host.dropEvents();
    return method;
  };
  return {
    name,
    check() {
      const kept = [];
      open();
      const method = parse(connections[0], kept);
      assert(isRequest(request, form, method, kept), `${name}: ${form}: ${kept}`);
      shut();
    },
    run(n) {
      let took = 0;
      let done = 0;
      while (done < n) {
        open();
        // A request without a response holds the receive window, so its connection ends before the next is read. The
        // clock does not advance meanwhile; reading it twice is part of the figure.
        for (const c of connections.splice(0)) {
          const from = nanos();
          const method = parse(c);
          took += nanos() - from;
          if (method !== "GET") throw new Error("no request");
          host.end(c);
        }
        done += CONNECTIONS;
      }
      return took / done;
    },
  };
}

// ---- llhttp ----------------------------------------------------------------------------------------------------

/** The parts that the callbacks reported of the current request. */
const parts = { at: new Int32Array(1024), count: 0, list: [], method: "", base: 0, data: null };

function noteOffsets(at, length) {
  parts.at[parts.count++] = at - parts.base;
  parts.at[parts.count++] = length;
  return 0;
}
function noteView(at, length) {
  const start = at - parts.base + parts.data.byteOffset;
  parts.list.push(new FastBuffer(parts.data.buffer, start, length));
  return 0;
}
function noteString(at, length) {
  const start = at - parts.base;
  parts.list.push(parts.data.latin1Slice(start, start + length));
  return 0;
}
const notes = { offsets: noteOffsets, views: noteView, strings: noteString };

const llhttpModule = new WebAssembly.Module(require("undici/lib/llhttp/llhttp_simd-wasm.js"));

/** Runs undici's llhttp with undici's way of driving it. Each part is noted in the requested form. */
function makeLlhttp(form) {
  const note = notes[form];
  const env = {
    wasm_on_message_begin: () => 0,
    wasm_on_url: (_, at, length) => note(at, length),
    wasm_on_status: () => 0,
    wasm_on_header_field: (_, at, length) => note(at, length),
    wasm_on_header_value: (_, at, length) => note(at, length),
    wasm_on_headers_complete: (parser) => {
      parts.method = METHODS[llhttp.llhttp_get_method(parser)];
      return 0;
    },
    wasm_on_body: () => 0,
    wasm_on_message_complete: () => 0,
  };
  const llhttp = new WebAssembly.Instance(llhttpModule, { env }).exports;
  return llhttp;
}

function llhttpVariant(request, form) {
  const llhttp = makeLlhttp(form);
  const { data } = request;
  const REQUEST = 1;
  const parser = llhttp.llhttp_alloc(REQUEST);
  const size = Math.ceil(data.length / 4096) * 4096;
  const pointer = llhttp.malloc(size);
  const parse = () => {
    parts.count = 0;
    parts.list = [];
    parts.base = pointer;
    parts.data = data;
    parts.method = "";
    new Uint8Array(llhttp.memory.buffer, pointer, size).set(data);
    if (llhttp.llhttp_execute(parser, pointer, data.length) !== 0) throw new Error("llhttp failed");
    if (parts.method !== "GET") throw new Error("no request");
    sink.value += parts.count + parts.list.length;
  };
  return {
    name: "llhttp",
    check() {
      parse();
      const kept = form === "offsets" ? [...parts.at.subarray(0, parts.count)] : parts.list;
      assert(isRequest(request, form, parts.method, kept), `llhttp: ${form}: ${kept}`);
    },
    run(n) {
      const from = nanos();
      for (let i = 0; i < n; i++) parse();
      return (nanos() - from) / n;
    },
  };
}

// ---- http-parser-js --------------------------------------------------------------------------------------------

function parserJsVariant(request) {
  // Reading it turns arguments of the callback on.
  assert(HTTPParser.kOnExecute > 0, "http-parser-js has no kOnExecute");
  const parser = new HTTPParser(HTTPParser.REQUEST);
  let list = [];
  let method = "";
  parser[HTTPParser.kOnHeadersComplete] = (_major, _minor, headers, number, url) => {
    method = methods[number];
    list = headers;
    list.unshift(url);
    return 0;
  };
  const parse = () => {
    method = "";
    const done = parser.execute(request.data);
    if (done !== request.data.length || method !== "GET") throw new Error("no request");
    sink.value += list.length;
  };
  return {
    name: "http-parser-js",
    check() {
      parse();
      assert(isRequest(request, "strings", method, list), `http-parser-js: ${list}`);
    },
    run(n) {
      const from = nanos();
      for (let i = 0; i < n; i++) parse();
      return (nanos() - from) / n;
    },
  };
}

/** Returns the parsers that take turns for a request in one of the forms. */
export function requestVariants({ binding, modules }, request, form) {
  const variants = modules.map(({ name, module }) =>
    engineVariant(name, binding, module, request, form),
  );
  variants.push(llhttpVariant(request, form));
  if (form === "strings") variants.push(parserJsVariant(request));
  return variants;
}
