// `npm run docs`: the reference says something of whatever the package's entry points export.

import { execFile } from "node:child_process";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { CLOSE_TABLE, OPTIONS } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const docs = suite("docs");
const run = promisify(execFile);
const root = process.cwd();
const out = path.join(root, "dist/docs");

/** Returns the text of a page. */
function pageText(name: string): string {
  return readFileSync(path.join(out, name), "utf8")
    .replace(/<[^>]*>/g, "")
    .replace(/\s+/g, " ");
}

docs(
  "the reference is made without a warning: nothing is undocumented, no link is broken",
  async () => {
    rmSync(out, { recursive: true, force: true });
    const { stdout, stderr } = await run(process.execPath, [".scripts/docs.mjs"], { cwd: root });
    assert.not.match(stdout + stderr, /\[warning\]|\[error\]/);
    const entries = readdirSync(path.join(out, "modules")).map((name) =>
      name.replace(/\.html$/, ""),
    );
    const { exports } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
    const wanted = Object.entries<{ types?: string }>(exports)
      .filter(([, { types }]) => types && !types.endsWith("/script.d.ts"))
      .map(([name]) => name.replace("./", "ringcast_").replace(/^\.$/, "ringcast"));
    assert.equal(entries.sort(), wanted.sort());
  },
);

docs("options and causes read as in the tables", () => {
  const options = pageText("interfaces/ringcast.Options.html");
  const first = (text: string): string => text.replaceAll("`", "").split(/[<>&"]/)[0] as string;
  for (const { text } of OPTIONS) assert.ok(options.includes(first(text)), text);
  const causes = pageText("enums/ringcast_engine.CloseReason.html");
  assert.ok(causes.includes(CLOSE_TABLE.WsClientTooSlow.text));
  assert.ok(causes.includes(CLOSE_TABLE.BadChunk.text));
});

docs.run();
