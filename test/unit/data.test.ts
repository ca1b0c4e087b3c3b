// The one check of data, with what the suite cannot make: objects of another realm, as jsdom and vm have them.

import { runInNewContext } from "node:vm";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { bytesOf, dataOf, messageOf, sizeOf } from "../../host/shared/message/data";
import { isUtf8 } from "../../host/shared/text/text";
import { GOOD, problemsOf } from "../suite/data";

const data = suite("data");

data("bytes of another realm are taken as one's own", () => {
  const make = (code: string): unknown => runInNewContext(code);
  for (const [code, due] of [
    ["Uint8Array.of(1, 2, 3).subarray(1)", [2, 3]],
    ["Uint8Array.of(1, 2, 3).buffer", [1, 2, 3]],
    ["new Float32Array([1])", [0, 0, 0x80, 0x3f]],
    ["new DataView(Uint8Array.of(1, 2, 3).buffer, 1)", [2, 3]],
    ["new Uint8Array(new SharedArrayBuffer(2))", [0, 0]],
    ["new SharedArrayBuffer(2)", [0, 0]],
    ["new (class extends Uint8Array { get length() { return 99 } })(2)", [0, 0]],
  ] as const) {
    const bytes = bytesOf(dataOf("send", make(code)));
    assert.instance(bytes, Uint8Array);
    assert.equal([...bytes], due, code);
  }
  for (const code of ["({})", "[1]", "new Date()", "new Proxy(new Uint8Array(1), {})"]) {
    assert.throws(() => dataOf("send", make(code)), /^send: an object is not a string/, code);
  }
});

data("good data is as long as its bytes, however often its length is asked for", () => {
  for (const { name, make, bytes } of GOOD) {
    const payload = dataOf("send", make());
    if (typeof payload === "string") continue;
    assert.is(sizeOf(payload), bytes.length, name);
    assert.equal([...bytesOf(payload)], bytes, name);
    const target = new Uint8Array(100);
    target.set(payload, 7);
    assert.equal([...target.subarray(7, 7 + bytes.length)], bytes, name);
  }
});

data("an ordinary Uint8Array or Buffer is passed on as it is", () => {
  for (const bytes of [Uint8Array.of(1), Buffer.from("text")]) {
    assert.is(dataOf("send", bytes), bytes);
  }
});

data("a message that is wrong is refused", () => {
  assert.equal(problemsOf({ send: (given, options) => messageOf("send", given, options) }), []);
});

data("text of shared memory is copied, so it cannot change after the check", () => {
  const memory = new Uint8Array(new SharedArrayBuffer(4)).fill(97);
  const payload = messageOf("send", memory, { binary: false });
  memory.fill(255);
  assert.equal([...(payload as Uint8Array)], [97, 97, 97, 97]);
});

data("bytes are UTF-8 or not, with a decoder as with Node's own function", () => {
  const strict = new TextDecoder("utf-8", { fatal: true });
  for (let i = 0; i < 65536; i++) {
    const bytes = Uint8Array.of(0x61, i >> 8, i & 255, 0x80);
    let isText = true;
    try {
      strict.decode(bytes);
    } catch {
      isText = false;
    }
    if (isUtf8(bytes) !== isText) assert.unreachable(`${bytes}`);
  }
});

data.run();
