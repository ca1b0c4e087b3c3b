// The page that compares with libwebsockets has a row for each section of its notes, and names tests that are there.

import { existsSync, readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const libwebsockets = suite("libwebsockets");

/** Sections of the notes. */
const SECTIONS = 43;

libwebsockets("each row has a section, an answer and tests that are there", () => {
  const page = readFileSync("test/libwebsockets.md", "utf8");
  const rows = page.split("\n").filter((line) => /^\| (?!section)/.test(line));
  const names = new Set<string>();
  for (const row of rows) {
    const [, section = "", here = "", tests = ""] = row.split("|").map((cell) => cell.trim());
    assert.ok(section !== "" && here.length > 20, row);
    names.add(section);
    for (const name of tests.split(", "))
      assert.ok(existsSync(`test/${name}.test.ts`), `${section}: no test ${name}`);
  }
  assert.is(names.size, SECTIONS);
  assert.is(rows.length, SECTIONS);
});

libwebsockets.run();
