// HTTP/1.1 heads: request line, target, version, fields, Host.

import { type Area, type Case, head } from "../lib/case";

const OK = "> 200";
const LAST = ["end Ok", "> 200 | Connection: close"];

export const heads: Area = {
  name: "heads",
  of: "requests",
  cases: [
    [
      "the RFC's example is taken",
      "RFC 9112 2.1, RFC 9110 7.2",
      "GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\n" +
        "Accept-Language: en, mi\r\n\r\n",
      ["GET /hello.txt 1.1", OK],
    ],
    [
      "a method is any token the server knows",
      "RFC 9110 9.1",
      head("PROPFIND /a HTTP/1.1", "Host: a"),
      ["PROPFIND /a 1.1", OK],
    ],
    [
      "HEAD is answered without a body",
      "RFC 9110 9.3.2",
      head("HEAD / HTTP/1.1", "Host: a"),
      ["HEAD / 1.1", OK],
      { heads: [0] },
    ],
    [
      "origin-form keeps path and query as they are",
      "RFC 9112 3.2.1",
      head("GET /where?q=now%20&r=%C3%A9 HTTP/1.1", "Host: a"),
      ["GET /where?q=now%20&r=%C3%A9 1.1", OK],
    ],
    [
      "absolute-form is taken",
      "RFC 9112 3.2.2",
      head("GET http://www.example.org/pub/WWW/ HTTP/1.1", "Host: www.example.org"),
      ["GET http://www.example.org/pub/WWW/ 1.1", OK],
    ],
    [
      "asterisk-form is for OPTIONS",
      "RFC 9112 3.2.4",
      head("OPTIONS * HTTP/1.1", "Host: www.example.org:8001"),
      ["OPTIONS * 1.1", OK],
    ],
    [
      "a higher minor version is read as 1.1",
      "RFC 9110 2.5",
      head("GET / HTTP/1.5", "Host: a"),
      ["GET / 1.1", OK],
    ],
    [
      "HTTP/1.0 needs no Host and closes",
      "RFC 9112 3.2, RFC 9112 9.3",
      head("GET / HTTP/1.0"),
      ["GET / 1.0 last", ...LAST],
    ],
    [
      "one empty line before a request is ignored",
      "RFC 9112 2.2",
      `\r\n${head("GET / HTTP/1.1", "Host: a")}`,
      ["GET / 1.1", OK],
    ],
    [
      "field names are compared without case",
      "RFC 9110 5.1",
      head("GET / HTTP/1.1", "hOsT: a", "CONNECTION: close"),
      ["GET / 1.1 last", ...LAST],
    ],
    [
      "white space around a value is no part of it",
      "RFC 9112 5.1",
      head("GET / HTTP/1.1", "Host: \t a \t", "Connection:close"),
      ["GET / 1.1 last", ...LAST],
    ],
    [
      "a field may have no value",
      "RFC 9110 5.5",
      head("GET / HTTP/1.1", "Host: a", "X:", "Y: "),
      ["GET / 1.1", OK],
    ],
    [
      "obs-text is opaque data",
      "RFC 9110 5.5",
      head("GET / HTTP/1.1", "Host: a", "X: \x80\xff"),
      ["GET / 1.1", OK],
    ],
    [
      "every octet of a token may stand in a name",
      "RFC 9110 5.6.2",
      head("GET / HTTP/1.1", "Host: a", "!#$%&'*+-.^_`|~09azAZ: 1"),
      ["GET / 1.1", OK],
    ],
    [
      "a Host may be an IPv6 address with a port",
      "RFC 9110 7.2, RFC 3986 3.2.2",
      head("GET / HTTP/1.1", "Host: [2001:db8::1]:8080"),
      ["GET / 1.1", OK],
    ],
    [
      "a Host's port may be empty",
      "RFC 3986 3.2.3",
      head("GET / HTTP/1.1", "Host: a:"),
      ["GET / 1.1", OK],
    ],
    ...["100-continue, 100-Continue", ",100-continue,", "", ","].map(
      (value): Case => [
        `the list of expectations "${value}" has no other`,
        "RFC 9110 10.1.1, RFC 9110 5.6.1",
        head("GET / HTTP/1.1", "Host: a", `Expect: ${value}`),
        ["GET / 1.1", OK],
      ],
    ),
    [
      "100-continue without a body is no reason to wait",
      "RFC 9110 10.1.1",
      head("GET / HTTP/1.1", "Host: a", "Expect: 100-Continue"),
      ["GET / 1.1", OK],
    ],
    [
      "Upgrade to what the server does not speak is ignored",
      "RFC 9110 7.8",
      head("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: h2c"),
      ["GET / 1.1", OK],
    ],
  ],
};
