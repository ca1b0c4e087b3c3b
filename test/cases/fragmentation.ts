// WebSocket messages in fragments.

import { type Area, failed } from "../lib/case";

export const fragmentation: Area = {
  name: "fragmentation",
  of: "frames",
  limits: { Fragments: 5 },
  cases: [
    [
      "two make a message",
      "RFC 6455 5.4, RFC 6455 5.7",
      '01 83 37fa213d ~"Hel" 80 82 37fa213d ~"lo"',
      ['text "Hello"'],
    ],
    [
      "binary ones too",
      "RFC 6455 5.4",
      '02 82 37fa213d ~"\x00\xff" 80 81 37fa213d ~"\x80"',
      ['binary "\\u0000ÿ\x80"'],
    ],
    [
      "empty ones count",
      "RFC 6455 5.4",
      '01 80 37fa213d 00 80 37fa213d 00 81 37fa213d ~"a" 80 80 37fa213d',
      ['text "a"'],
    ],
    [
      "all may be empty",
      "RFC 6455 5.4",
      "01 80 37fa213d 00 80 37fa213d 80 80 37fa213d",
      ['text ""'],
    ],
    [
      "each has a mask of its own",
      "RFC 6455 5.3",
      '01 82 01020304 ~"ab" 00 82 ffeeddcc ~"cd" 80 81 00000000 "e"',
      ['text "abcde"'],
    ],
    [
      "control frames may come between",
      "RFC 6455 5.4, RFC 6455 5.5",
      '01 81 37fa213d ~"a" 89 81 37fa213d ~"p" 00 81 37fa213d ~"b" 8a 81 37fa213d ~"q" 80 81 37fa213d ~"c"',
      ['ping "p"', 'pong "q"', 'text "abc"', '> 8a 01 "p"'],
    ],
    [
      "messages follow each other",
      "RFC 6455 5.4",
      '01 81 37fa213d ~"a" 80 81 37fa213d ~"b" 81 81 37fa213d ~"c" 02 81 37fa213d ~"d" 80 81 37fa213d ~"e"',
      ['text "ab"', 'text "c"', 'binary "de"'],
    ],
    [
      "a Close between ends it",
      "RFC 6455 5.5.1",
      '01 81 37fa213d ~"a" 88 82 37fa213d ~"\x03\xe8" 80 81 37fa213d ~"b"',
      ['peer close 1000 ""', "end PeerClosed", "> 88 02 03e8"],
    ],
    [
      "as many as the limit are taken",
      "RFC 6455 10.4",
      '01 80 37fa213d 00 80 37fa213d 00 80 37fa213d 00 80 37fa213d 80 81 37fa213d ~"e" 81 81 37fa213d ~"f"',
      ['text "e"', 'text "f"'],
    ],
    [
      "more than the limit are too many",
      "RFC 6455 10.4",
      "01 80 37fa213d 00 80 37fa213d 00 80 37fa213d 00 80 37fa213d 00 80 37fa213d 80 80 37fa213d",
      failed(1008, "WsTooManyFragments"),
    ],
    [
      "a continuation of nothing is refused",
      "RFC 6455 5.4",
      '80 81 37fa213d ~"x"',
      failed(1002, "WsExpectedText"),
    ],
    [
      "a continuation of a whole message is refused",
      "RFC 6455 5.4",
      '81 81 37fa213d ~"a" 80 81 37fa213d ~"b"',
      ['text "a"', ...failed(1002, "WsExpectedText")],
    ],
    [
      "a new message within one is refused",
      "RFC 6455 5.4",
      '01 81 37fa213d ~"a" 81 81 37fa213d ~"b"',
      failed(1002, "WsExpectedCont"),
    ],
  ],
};
