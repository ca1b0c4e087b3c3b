// The closing handshake that a client begins: codes, reasons, and the octets after it.

import { type Area, type Case, failed } from "../lib/case";

const VALID = [
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014],
  ...[3000, 3999, 4000, 4999],
];
const INVALID = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];

const octets = (code: number): string => String.fromCharCode(code >> 8, code & 255);
const hex = (code: number): string => code.toString(16).padStart(4, "0");

export const close: Area = {
  name: "close",
  of: "frames",
  cases: [
    [
      "without a code it is answered without one",
      "RFC 6455 5.5.1, RFC 6455 7.1.5",
      "88 80 37fa213d",
      ['peer close 1005 ""', "end PeerClosed", "> 88 00"],
    ],
    ...VALID.map(
      (code): Case => [
        `${code} is echoed`,
        "RFC 6455 5.5.1, RFC 6455 7.4",
        `88 85 37fa213d ~"${octets(code)}bye"`,
        [`peer close ${code} "bye"`, "end PeerClosed", `> 88 02 ${hex(code)}`],
      ],
    ),
    ...INVALID.map(
      (code): Case => [
        `${code} is refused`,
        "RFC 6455 7.4.1, RFC 6455 7.4.2",
        // Masked by hand: one of its octets may be that of a quote.
        `88 82 00000000 ${hex(code)}`,
        failed(1002, "WsBadClosePayload"),
      ],
    ),
    [
      "one octet is refused",
      "RFC 6455 5.5.1",
      "88 81 00000000 03",
      failed(1002, "WsBadClosePayload"),
    ],
    [
      "a reason of 123 octets is taken",
      "RFC 6455 5.5",
      `88 fd 37fa213d ~"\x03\xe8${"r".repeat(123)}"`,
      ["peer close 1000 (123)", "end PeerClosed", "> 88 02 03e8"],
    ],
    [
      "a reason in UTF-8 is taken",
      "RFC 6455 5.5.1",
      '88 89 37fa213d ~"\x03\xe8\xe2\x82\xac\xf0\x9d\x84\x9e"',
      ['peer close 1000 "€𝄞"', "end PeerClosed", "> 88 02 03e8"],
    ],
    [
      "a reason that is not UTF-8 is refused",
      "RFC 6455 8.1",
      '88 84 37fa213d ~"\x03\xe8\xc3\x28"',
      failed(1007, "WsBadUtf8"),
    ],
    [
      "a reason that ends within a character is refused",
      "RFC 6455 8.1",
      '88 84 37fa213d ~"\x03\xe8\xe2\x82"',
      failed(1007, "WsBadUtf8"),
    ],
    [
      "messages before it are handed out first",
      "RFC 6455 5.5.1",
      '81 81 37fa213d ~"a" 82 81 37fa213d ~"b" 88 82 37fa213d ~"\x03\xe8"',
      ['text "a"', 'binary "b"', 'peer close 1000 ""', "end PeerClosed", "> 88 02 03e8"],
    ],
    [
      "what follows it is not read",
      "RFC 6455 5.5.1",
      '88 82 37fa213d ~"\x03\xe8" 81 81 37fa213d ~"x" 89 80 37fa213d ff',
      ['peer close 1000 ""', "end PeerClosed", "> 88 02 03e8"],
    ],
    ["FIN without it is 1006", "RFC 6455 7.1.5", "", ["closed PeerEnded"], { fin: true }],
    [
      "FIN within a frame is 1006",
      "RFC 6455 7.1.5",
      '81 85 37fa213d ~"He"',
      ["closed PeerEnded"],
      { fin: true },
    ],
  ],
};
