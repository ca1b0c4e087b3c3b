// Text is UTF-8, checked octet by octet and across frames: a text that cannot become valid any more fails at
// once. Its frames here have no end, so that nothing but the first impossible octet ends them.

import { type Area, type Case, failed } from "../lib/case";

const bad = failed(1007, "WsBadUtf8");

/** Not UTF-8, with the position of the first impossible octet. */
export const BROKEN: readonly (readonly [name: string, octets: string, at: number])[] = [
  ["a lone continuation", "a\x80b", 1],
  ["0xfe", "\xfe", 0],
  ["0xff", "ab\xff", 2],
  ["an overlong slash in two", "\xc0\xaf", 0],
  ["an overlong in two", "\xc1\xbf", 0],
  ["an overlong in three", "\xe0\x9f\xbf", 1],
  ["an overlong in four", "\xf0\x8f\xbf\xbf", 1],
  ["a surrogate", "\xed\xa0\x80", 1],
  ["the last surrogate", "\xed\xbf\xbf", 1],
  ["over U+10FFFF", "\xf4\x90\x80\x80", 1],
  ["five octets", "\xf8\x88\x80\x80\x80", 0],
  ["ASCII within a character", "\xe2\x82a", 2],
  ["a lead within a character", "\xf0\x9d\xc3\xa4", 2],
  ["a long text's end", `${"x".repeat(37)}\xc3\xc3`, 38],
];

export const utf8: Area = {
  name: "utf-8",
  of: "frames",
  cases: [
    [
      "characters of every length",
      "RFC 3629 3, RFC 6455 5.6",
      '81 8a 37fa213d ~"A\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e"',
      ['text "Aé€𝄞"'],
    ],
    [
      "the first and last of each length, and those around the surrogates",
      "RFC 3629 4",
      '81 97 37fa213d ~"\x00\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\x41"',
      [`text ${JSON.stringify("\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}A")}`],
    ],
    [
      "the last character",
      "RFC 3629 3",
      '81 84 37fa213d ~"\xf4\x8f\xbf\xbf"',
      ['text "\u{10ffff}"'],
    ],
    [
      "a character may be cut by frames",
      "RFC 6455 5.4",
      '01 81 37fa213d ~"\xe2" 00 81 37fa213d ~"\x82" 00 80 37fa213d 80 81 37fa213d ~"\xac"',
      ['text "€"'],
    ],
    [
      "binary is not looked at",
      "RFC 6455 5.6",
      '82 83 37fa213d ~"\xff\xc0\x80"',
      ['binary "ÿÀ\x80"'],
    ],
    ...BROKEN.map(
      ([name, octets, at]): Case => [
        `${name} fails at its first impossible octet`,
        "RFC 6455 8.1, RFC 3629 3",
        // Of a frame of 125 octets no more has come.
        `81 fd 37fa213d ~"${octets.slice(0, at + 1)}"`,
        bad,
      ],
    ),
    ...BROKEN.filter(([, , at]) => at > 0).map(
      ([name, octets, at]): Case => [
        `before ${name} nothing fails`,
        "RFC 6455 8.1",
        `81 fd 37fa213d ~"${octets.slice(0, at)}"`,
        [],
      ],
    ),
    [
      "a text that ends within a character is refused",
      "RFC 6455 8.1",
      '81 83 37fa213d ~"\xf0\x9d\x84"',
      bad,
    ],
    [
      "a text in fragments that ends within a character is refused",
      "RFC 6455 8.1",
      '01 82 37fa213d ~"a\xc3" 80 80 37fa213d',
      bad,
    ],
    [
      "the end of one text is not the start of the next",
      "RFC 6455 8.1",
      '81 81 37fa213d ~"\xc3" 81 81 37fa213d ~"\xa4"',
      bad,
    ],
  ],
};
