// permessage-deflate: which offers are accepted, with what answer, which are declined, which malformed.

import { type Area, type Case, refused } from "../lib/case";
import { ACCEPT, handshake } from "../lib/handshake";

const offer = (...values: string[]): string =>
  handshake("/", values.map((value) => `Sec-WebSocket-Extensions: ${value}\r\n`).join(""));

const SWITCHED = `> 101 | Upgrade: websocket | Connection: Upgrade | Sec-WebSocket-Accept: ${ACCEPT}`;
const BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/** An offer, and the field of the answer; undefined: declined, the connection goes without. */
const says = (clause: string, value: string, answer: string | undefined): Case => [
  `${value} is ${answer === undefined ? "declined" : "accepted"}`,
  clause,
  offer(value),
  [
    "GET / 1.1",
    answer === undefined ? SWITCHED : `${SWITCHED} | Sec-WebSocket-Extensions: ${answer}`,
  ],
];

export const deflate: Area = {
  name: "permessage-deflate",
  of: "offers",
  cases: [
    ["no offer is no extension", "RFC 6455 9.1", offer(), ["GET / 1.1", SWITCHED]],
    says("RFC 7692 7.1.1", "permessage-deflate", BOTH),
    says("RFC 7692 7.1.2.2", "permessage-deflate; client_max_window_bits", BOTH),
    says("RFC 7692 7.1.2.2", "permessage-deflate; client_max_window_bits=10", BOTH),
    says("RFC 6455 9.1", 'permessage-deflate; client_max_window_bits="10"', BOTH),
    says(
      "RFC 7692 7.1.1",
      "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
      BOTH,
    ),
    ...[8, 9, 15].map((bits) =>
      says(
        "RFC 7692 7.1.2.1",
        `permessage-deflate; server_max_window_bits=${bits}`,
        `${BOTH}; server_max_window_bits=${bits}`,
      ),
    ),
    says("RFC 7692 5.1", "permessage-deflate; server_max_window_bits=7, permessage-deflate", BOTH),
    ...[
      "server_max_window_bits",
      "server_max_window_bits=16",
      "server_max_window_bits=010",
      "client_max_window_bits=7",
      "server_no_context_takeover=1",
      "client_no_context_takeover; client_no_context_takeover",
      "unknown",
    ].map((params) => says("RFC 7692 7.1", `permessage-deflate; ${params}`, undefined)),
    says("RFC 6455 9.1", "x-webkit-deflate-frame", undefined),
    says("RFC 6455 9.1", "other; a=b, permessage-deflate", BOTH),
    says("RFC 9110 5.6.1", " , permessage-deflate ,, ", BOTH),
    [
      "offers in several fields are one list",
      "RFC 6455 9.1",
      offer("other", "permessage-deflate"),
      ["GET / 1.1", `${SWITCHED} | Sec-WebSocket-Extensions: ${BOTH}`],
    ],
    ...["", ",", ";", "a;", "a;b=", "a b", 'a;b="c', 'a;b="c d"', "a;=b", "@", "a;b=c d"].map(
      (value): Case => [
        `${JSON.stringify(value)} is malformed`,
        "RFC 6455 9.1",
        offer(value),
        ["GET / 1.1", ...refused(400, "BadRequest")],
      ],
    ),
  ],
};
