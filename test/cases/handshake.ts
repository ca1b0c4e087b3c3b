// The opening handshake of WebSocket, on the server's side.

import { type Area, type Case, head, refused } from "../lib/case";
import { ACCEPT, KEY } from "../lib/handshake";

const FIELDS = {
  Host: "a",
  Upgrade: "websocket",
  Connection: "Upgrade",
  "Sec-WebSocket-Key": KEY,
  "Sec-WebSocket-Version": "13",
};

/** Returns a handshake with some of its fields changed; an empty field is left out. */
function shake(changes: Record<string, string> = {}, line = "GET / HTTP/1.1"): string {
  const fields = Object.entries({ ...FIELDS, ...changes }).filter(([, value]) => value !== "");
  return head(line, ...fields.map(([name, value]) => `${name}: ${value}`));
}

const accept = (value: string): string =>
  `> 101 | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Accept: ${value}`;
const taken = ["GET / 1.1", accept(ACCEPT)];
const plain = ["GET / 1.1", "> 200"];
const outdated = (reason: string): string[] => [
  `end ${reason}`,
  "> 426 | Sec-WebSocket-Version: 13 | Upgrade: websocket | Connection: upgrade, close",
];

export const handshake: Area = {
  name: "handshake",
  of: "requests",
  cases: [
    [
      "the RFC's is taken, with the accept value of its example",
      "RFC 6455 1.3",
      shake({ Host: "server.example.com", Origin: "http://example.com" }, "GET /chat HTTP/1.1"),
      ["GET /chat 1.1", accept(ACCEPT)],
    ],
    ...Object.entries({
      "AAAAAAAAAAAAAAAAAAAAAA==": "ICX+Yqv66kxgM0FcWaLWlFLwTAI=",
      "x3JJHMbDL1EzLkh9GBhXDw==": "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
    }).map(
      ([key, value]): Case => [
        `the key ${key} is accepted`,
        "RFC 6455 4.2.2",
        shake({ "Sec-WebSocket-Key": key }),
        ["GET / 1.1", accept(value)],
      ],
    ),
    [
      "case is free",
      "RFC 6455 4.2.1",
      shake({ Upgrade: "WebSocket", Connection: "uPgRaDe" }),
      taken,
    ],
    [
      "lists are read",
      "RFC 6455 4.2.1",
      shake({ Upgrade: "h2c, websocket", Connection: "keep-alive, Upgrade" }),
      taken,
    ],
    [
      "no key is refused",
      "RFC 6455 4.2.1",
      shake({ "Sec-WebSocket-Key": "" }),
      refused(400, "WsMissingKey"),
    ],
    ...[
      "dGhlIHNhbXBsZSBub25jZQ=",
      "dGhlIHNhbXBsZSBub25jZQ",
      "dGhlIHNhbXBsZSBub25jZQ===",
      "dGhlIHNhbXBsZSBub25jZ===",
      "dGhlIHNhbXBsZSBub25jZQA=",
      "dGhlIHNhbXBsZSBub25j=Q==",
      "dGhlIHNhbXBsZSBub25j-Q==",
      "dGhl IHNhbXBsZSBub25jQ==",
      "short",
    ].map(
      (key): Case => [
        `the key "${key}" is refused`,
        "RFC 6455 4.2.1",
        shake({ "Sec-WebSocket-Key": key }),
        refused(400, "WsBadKey"),
      ],
    ),
    [
      "two keys are refused",
      "RFC 6455 11.3.1",
      shake().replace("Sec-", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-"),
      refused(400, "WsBadKey"),
    ],
    [
      "no version is refused, with the one that is spoken",
      "RFC 6455 4.4",
      shake({ "Sec-WebSocket-Version": "" }),
      outdated("WsMissingVersion"),
    ],
    ...["8", "0", "12", "14", "013", "13, 8", "+13", "x"].map(
      (version): Case => [
        `the version "${version}" is refused`,
        "RFC 6455 4.4",
        shake({ "Sec-WebSocket-Version": version }),
        outdated("WsUnexpectedVersion"),
      ],
    ),
    [
      "two versions are refused, also when both are 13",
      "RFC 6455 11.3.5",
      shake().replace("Sec-", "Sec-WebSocket-Version: 13\r\nSec-"),
      outdated("WsUnexpectedVersion"),
    ],
    [
      "100 goes before 101 when it is expected",
      "RFC 9110 7.8",
      shake({ Expect: "100-continue" }),
      ["GET / 1.1", "> 100", ...taken.slice(1)],
    ],
    [
      "no Upgrade is refused",
      "RFC 6455 4.2.1",
      shake({ Upgrade: "" }),
      refused(400, "WsMissingUpgrade"),
    ],
    [
      "another Upgrade is refused when there is a key",
      "RFC 6455 4.2.1",
      shake({ Upgrade: "h2c" }),
      refused(400, "WsMissingUpgrade"),
    ],
    [
      "another Upgrade is ignored when there is none",
      "RFC 9110 7.8",
      shake({ Upgrade: "h2c", "Sec-WebSocket-Key": "" }),
      plain,
    ],
    ...["", "keep-alive", "upgraded", '"Upgrade"'].map(
      (value): Case => [
        `the Connection "${value}" is refused when there is a key`,
        "RFC 6455 4.2.1",
        shake({ Connection: value }),
        refused(400, "WsMissingUpgrade"),
      ],
    ),
    [
      "Connection without upgrade is a plain request when there is none",
      "RFC 9110 7.8",
      shake({ Connection: "keep-alive", "Sec-WebSocket-Key": "" }),
      plain,
    ],
    [
      "a key alone is a plain request",
      "RFC 9110 7.8",
      shake({ Connection: "", Upgrade: "" }),
      plain,
    ],
    [
      "HTTP/1.0 is a plain request",
      "RFC 9110 7.8",
      shake({}, "GET / HTTP/1.0"),
      ["GET / 1.0 last", "end Ok", "> 200 | Connection: close"],
    ],
    ["POST is refused", "RFC 6455 4.2.1", shake({}, "POST / HTTP/1.1"), refused(400, "BadRequest")],
    ["no Host is refused", "RFC 6455 4.2.1", shake({ Host: "" }), refused(400, "MissingHost")],
    [
      "a request may come before it",
      "RFC 6455 4.1",
      head("GET /1 HTTP/1.1", "Host: a") + shake(),
      ["GET /1 1.1", ...taken.slice(0, 1), "> 200", ...taken.slice(1)],
    ],
  ],
};
