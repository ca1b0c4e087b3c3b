// WebSocket frames: lengths, masks, reserved bits, opcodes.

import { type Area, type Case, failed } from "../lib/case";

/** Control frames of every reserved bit, data frames too. */
const RESERVED = [1, 2, 3, 4, 5, 6, 7].flatMap((bits) =>
  [0, 1, 2, 8, 9, 10].map((opcode): Case => {
    const first = (0x80 | (bits << 4) | opcode).toString(16);
    return [
      `reserved bits ${bits} with opcode ${opcode} are refused`,
      "RFC 6455 5.2",
      `${first} 80 37fa213d`,
      failed(1002, "WsReservedBits"),
    ];
  }),
);

const UNKNOWN = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(
  (opcode): Case => [
    `opcode ${opcode} is refused`,
    "RFC 6455 5.2",
    `8${opcode.toString(16)} 81 37fa213d ~"x"`,
    failed(1002, "WsUnknownOpcode"),
  ],
);

export const framing: Area = {
  name: "framing",
  of: "frames",
  cases: [
    [
      "the RFC's masked text is read",
      "RFC 6455 5.7",
      "81 85 37fa213d 7f9f4d5158",
      ['text "Hello"'],
    ],
    ["an empty text", "RFC 6455 5.2", "81 80 37fa213d", ['text ""']],
    ["an empty binary message", "RFC 6455 5.2", "82 80 37fa213d", ['binary ""']],
    ["a text of 1", "RFC 6455 5.2", '81 81 37fa213d ~"a"', ['text "a"']],
    ["a text of 125", "RFC 6455 5.2", '81 fd 37fa213d ~"x"*125', ["text (125)"]],
    [
      "126 take two octets of length",
      "RFC 6455 5.2",
      '81 fe 007e 37fa213d ~"x"*126',
      ["text (126)"],
    ],
    ["a text of 127", "RFC 6455 5.2", '81 fe 007f 37fa213d ~"x"*127', ["text (127)"]],
    ["the RFC's 256 octets", "RFC 6455 5.7", '82 fe 0100 37fa213d ~"x"*256', ["binary (256)"]],
    [
      "1,100, more than the smallest buffer",
      "RFC 6455 5.2",
      '82 fe 044c 37fa213d ~"x"*1100',
      ["binary (1100)"],
    ],
    [
      "frames follow each other",
      "RFC 6455 5.2",
      '81 81 37fa213d ~"a" 82 82 01020304 ~"\x00\xff" 81 80 00000000',
      ['text "a"', 'binary "\\u0000ÿ"', 'text ""'],
    ],
    ...[
      ["125 in two octets", "81 fe 007d 37fa213d"],
      ["0 in two octets", "81 fe 0000 37fa213d"],
      ["125 in eight octets", "81 ff 000000000000007d 37fa213d"],
      ["65,535 in eight octets", "81 ff 000000000000ffff 37fa213d"],
      ["a length with the highest bit", "81 ff 8000000000000000 37fa213d"],
    ].map(
      ([name, input]): Case => [
        `${name} is refused`,
        "RFC 6455 5.2",
        input as string,
        failed(1002, "WsBadLength"),
      ],
    ),
    [
      "a frame larger than a message may be is refused at its head",
      "RFC 6455 10.4",
      "82 fe 8001",
      failed(1009, "WsOversizeFrame"),
    ],
    ["no mask is refused", "RFC 6455 5.1", '81 05 "Hello"', failed(1002, "WsBadMask")],
    ["no mask is refused in a ping", "RFC 6455 5.1", "89 00", failed(1002, "WsBadMask")],
    ["zero is a mask", "RFC 6455 5.3", '81 82 00000000 "hi"', ['text "hi"']],
    ["all ones are a mask", "RFC 6455 5.3", '81 82 ffffffff ~"hi"', ['text "hi"']],
    ...RESERVED,
    ...UNKNOWN,
    [
      "a fault after a message in the same read is reported after it",
      "RFC 6455 7.1.7",
      '81 81 37fa213d ~"a" 83 80 37fa213d 81 81 37fa213d ~"b"',
      ['text "a"', ...failed(1002, "WsUnknownOpcode")],
    ],
  ],
};
