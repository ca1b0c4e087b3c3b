// Keep-alive, pipelining, and the end of an HTTP/1.1 connection.

import { type Area, head } from "../lib/case";

const get = (target: string, ...fields: string[]): string =>
  head(`GET ${target} HTTP/1.1`, "Host: a", ...fields);

export const persistence: Area = {
  name: "persistence",
  of: "requests",
  cases: [
    ["1.1 persists", "RFC 9112 9.3", get("/"), ["GET / 1.1", "> 200"]],
    [
      "close ends it, in a list and in any case",
      "RFC 9112 9.6, RFC 9110 7.6.1",
      get("/", "Connection: x, CLOSE"),
      ["GET / 1.1 last", "end Ok", "> 200 | Connection: close"],
    ],
    [
      "close wins over keep-alive",
      "RFC 9112 9.3",
      get("/", "Connection: keep-alive", "Connection: close"),
      ["GET / 1.1 last", "end Ok", "> 200 | Connection: close"],
    ],
    [
      "1.0 persists when it asks to",
      "RFC 9112 9.3, RFC 9112 C.2.2",
      head("GET / HTTP/1.0", "Connection: keep-alive"),
      ["GET / 1.0", "> 200 | Connection: keep-alive"],
    ],
    [
      "pipelined requests are answered in order",
      "RFC 9112 9.3.2",
      get("/1") + get("/2") + get("/3"),
      ["GET /1 1.1", "GET /2 1.1", "GET /3 1.1", "> 200", "> 200", "> 200"],
    ],
    [
      "a body stands between two requests",
      "RFC 9112 9.3.2, RFC 9112 6.3",
      `${head("PUT /1 HTTP/1.1", "Host: a", "Content-Length: 2")}hi${get("/2")}`,
      ['PUT /1 1.1 "hi"', "GET /2 1.1", "> 200", "> 200"],
    ],
    [
      "chunks and trailers stand between two requests",
      "RFC 9112 7.1",
      `${head("PUT /1 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")}2\r\nhi\r\n0\r\nX: y\r\n\r\n${get("/2")}`,
      ['PUT /1 1.1 "hi"', "GET /2 1.1", "> 200", "> 200"],
    ],
    [
      "the answer to HEAD has no body that the next answer could be",
      "RFC 9110 9.3.2",
      head("HEAD /1 HTTP/1.1", "Host: a") + get("/2"),
      ["HEAD /1 1.1", "GET /2 1.1", "> 200", "> 200"],
      { heads: [0] },
    ],
    [
      "no byte after the last request is read",
      "RFC 9112 9.6",
      get("/1", "Connection: close") + get("/2"),
      ["GET /1 1.1 last", "end Ok", "> 200 | Connection: close"],
    ],
    [
      "garbage after a good request is refused after its answer",
      "RFC 9112 9.3.2",
      `${get("/1")}\0\0\0\0`,
      ["GET /1 1.1", "end BadRequest", "> 200", "> 400 | Connection: close"],
    ],
    [
      "no byte after a refusal is read",
      "RFC 9112 9.6",
      head("GET /1 HTTP/1.1") + get("/2"),
      ["end MissingHost", "> 400 | Connection: close"],
    ],
    ["FIN on an idle connection ends it", "RFC 9112 9.6", "", ["closed PeerClosed"], { fin: true }],
    [
      "a FIN after a request does not prevent its response",
      "RFC 9112 9.6",
      get("/"),
      ["GET / 1.1", "closed PeerClosed", "> 200"],
      { fin: true },
    ],
    [
      "FIN within a request leaves the answers before it",
      "RFC 9112 8",
      `${get("/1")}GET /2 HT`,
      ["GET /1 1.1", "closed PeerEnded", "> 200"],
      { fin: true },
    ],
    [
      "FIN within a body is no request",
      "RFC 9112 8",
      `${head("PUT / HTTP/1.1", "Host: a", "Content-Length: 5")}hel`,
      ["closed PeerEnded"],
      { fin: true },
    ],
    [
      "FIN before the last chunk is no request",
      "RFC 9112 8",
      `${head("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")}3\r\nhel\r\n`,
      ["closed PeerEnded"],
      { fin: true },
    ],
  ],
};
