// WebSocket control frames: Ping, Pong, and what no control frame may be.

import { type Area, type Case, failed } from "../lib/case";

export const control: Area = {
  name: "control",
  of: "frames",
  cases: [
    ["an empty ping is answered", "RFC 6455 5.5.2", "89 80 37fa213d", ['ping ""', "> 8a 00"]],
    [
      "the RFC's ping comes back",
      "RFC 6455 5.5.3, RFC 6455 5.7",
      "89 85 37fa213d 7f9f4d5158",
      ['ping "Hello"', '> 8a 05 "Hello"'],
    ],
    [
      "125 octets come back",
      "RFC 6455 5.5",
      '89 fd 37fa213d ~"x"*125',
      ["ping (125)", '> 8a 7d "x"*125'],
    ],
    [
      "a ping's payload is no text",
      "RFC 6455 5.5.2",
      '89 82 37fa213d ~"\xff\x00"',
      ['ping "ÿ\\u0000"', "> 8a 02 ff00"],
    ],
    ["a pong is not answered", "RFC 6455 5.5.3", '8a 81 37fa213d ~"x"', ['pong "x"']],
    [
      "pings are answered each, in order",
      "RFC 6455 5.5.3",
      '89 81 37fa213d ~"1" 89 81 37fa213d ~"2" 89 81 37fa213d ~"3"',
      ['ping "1"', 'ping "2"', 'ping "3"', '> 8a 01 "1" 8a 01 "2" 8a 01 "3"'],
    ],
    ...[8, 9, 10].flatMap((opcode): Case[] => [
      [
        `a control frame (${opcode}) in fragments is refused`,
        "RFC 6455 5.5",
        `0${opcode.toString(16)} 80 37fa213d`,
        failed(1002, "WsFragmentedControl"),
      ],
      [
        `a control frame (${opcode}) of 126 octets is refused`,
        "RFC 6455 5.5",
        `8${opcode.toString(16)} fe 007e 37fa213d ~"x"*126`,
        failed(1002, "WsControlFrameTooLarge"),
      ],
      [
        `a control frame (${opcode}) with a length of eight octets is refused`,
        "RFC 6455 5.5",
        `8${opcode.toString(16)} ff 0000000000000000 37fa213d`,
        failed(1002, "WsControlFrameTooLarge"),
      ],
    ]),
  ],
};
