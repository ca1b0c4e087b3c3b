// Text of a peer that is printed: which characters become escapes, and which stay.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { parseJson } from "../../host/shared/text/json";
import { printable, printableBlock, printableLines } from "../../host/shared/text/printable";

const test = suite("printable");

test("each control character becomes an escape, and nothing else does", () => {
  for (let code = 0; code < 0x3000; code++) {
    const character = String.fromCharCode(code);
    const isControl = code < 32 || (code >= 127 && code < 160);
    const isMark = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/.test(character);
    const shown = printable(`a${character}b`);
    if (isControl || isMark) assert.match(shown, /^a\\(n|x[0-9a-f]{2}|u[0-9a-f]{4})b$/);
    else assert.is(shown, `a${character}b`);
  }
  assert.is(printable("\x1b[2J\n\r\t\x7f\x9b\u202e"), "\\x1b[2J\\n\\x0d\\x09\\x7f\\x9b\\u202e");
  assert.is(printable("grüße 👩‍👩‍👧 日本"), "grüße 👩‍👩‍👧 日本");
});

test("of several lines the breaks and tabs stay", () => {
  assert.is(printableLines("a\n\tb\r\n\x1b[1mc"), "a\n\tb\\x0d\n\\x1b[1mc");
});

test("a line of a block begins no line of its own", () => {
  const stack = "Error: one\nringcast: fake\n    at here\n\nend";
  assert.is(printableBlock(stack), "Error: one\n    ringcast: fake\n    at here\n\n    end");
});

test("JSON that is none shows no control character of it", () => {
  assert.equal(parseJson('{"a":[1]}'), { a: [1] });
  for (const text of ["\x1b[2J", '{"a":\x9b1}', '"\n\nringcast: fake', "[1,\u202e]", ""]) {
    let thrown: unknown;
    try {
      parseJson(text);
    } catch (error) {
      thrown = error;
    }
    assert.instance(thrown, SyntaxError);
    const { message, stack = "" } = thrown as SyntaxError;
    assert.not.match(message, /\p{Cc}|\u202e/u, JSON.stringify(text));
    assert.not.match(stack, /(?!\n)\p{Cc}|\u202e|\nringcast/u);
  }
});

test.run();
