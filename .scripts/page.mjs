// Bundles the demo's page into one text: its style and its script, minified, replace their references in the document.
// Also writes the Content-Security-Policy that allows these two and no others.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";

/** Bundles and minifies a script or style, with what it imports. */
async function small(entry) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    logLevel: "warning",
  });
  return outputFiles[0].text.trim();
}

function hashOf(text) {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** Returns a document without comments, and without white space that only indents it. */
function compact(html) {
  return html
    .replace(/<!--[\s\S]*?-->/g, "")
    .replace(/\n\s*/g, "\n")
    .replace(/>\n</g, "><")
    .trim();
}

/** Makes what imports an .html file import the whole page. */
export const page = {
  name: "page",
  setup(bundle) {
    bundle.onLoad({ filter: /\.html$/ }, async ({ path: file }) => {
      const dir = path.dirname(file);
      const style = await small(path.join(dir, "style.css"));
      const script = await small(path.join(dir, "main.ts"));
      const html = compact(await readFile(file, "utf8"))
        .replace(/<link rel="stylesheet"[^>]*>/, () => `<style>${style}</style>`)
        .replace(/<script src[^>]*>/, () => `<script>${script}`);
      const policy = `script-src ${hashOf(script)}; style-src ${hashOf(style)}`;
      return {
        contents: `export default ${JSON.stringify(html)};\nexport const policy = ${JSON.stringify(policy)};`,
        loader: "js",
      };
    });
  },
};
