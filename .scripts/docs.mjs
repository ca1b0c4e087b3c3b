// `npm run docs`: writes the reference of the package's entry points, from its declarations, into dist/docs.
//
// Causes get their texts from host/shared/close.ts, and the engine's exports from assembly/. A name without a comment
// and a link without a target are errors.

import { readFile, readdir, stat } from "node:fs/promises";
import path from "node:path";
import { Application, Comment, Converter, ReflectionKind } from "typedoc";
import { newest, root } from "./build.mjs";
import { load } from "./programs.mjs";
import { buildTypes } from "./types.mjs";

const { exports, name } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));

/** Entry points by the files that declare them; modules that threads run export nothing. */
const entries = new Map();
for (const [entry, { types }] of Object.entries(exports)) {
  if (types && !types.endsWith("/script.d.ts"))
    entries.set(path.join(root, types), entry.replace(/^\./, name));
}

/** Builds the declarations again when a source is newer. */
async function declare() {
  const made = await stat([...entries.keys()][0]).catch(() => undefined);
  const changed = await Promise.all(["assembly", "worker", "host"].map(newest));
  if (!made || changed.some((at) => at > made.mtimeMs)) await buildTypes();
}

/** Reads the documentation of the engine's exports. */
async function readExports() {
  const texts = new Map();
  const dir = path.join(root, "assembly");
  for (const name of await readdir(dir, { recursive: true })) {
    if (!name.endsWith(".ts")) continue;
    const source = await readFile(path.join(dir, name), "utf8");
    for (const [, comment, fn] of source.matchAll(
      /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport function (\w+)/g,
    ))
      texts.set(fn, comment.replace(/^\s*\* ?/gm, "").trim());
  }
  const index = await readFile(path.join(dir, "index.ts"), "utf8");
  for (const [, name, called] of index.matchAll(/(\w+) as (\w+)/g))
    texts.set(called, texts.get(name));
  texts.set("memory", "The engine's memory.");
  return texts;
}

/** Gives what has no comment of its own the text of its table; modules are called as they are imported. */
function explain({ converter }, causeTexts, exportTexts) {
  const textOf = (member, parent = "") => {
    if (parent === "CloseReason") return causeTexts[member];
    if (parent === "EngineExports") return exportTexts.get(member);
    if (member === "COUNT") return "How many there are.";
    return undefined;
  };
  converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const one of Object.values(project.reflections)) {
      if (one.kindOf(ReflectionKind.Module))
        one.name = entries.get(project.getSymbolIdFromReflection(one)?.fileName) ?? one.name;
      const owner = one.kindOf(ReflectionKind.CallSignature) ? one.parent : one;
      const text = textOf(one.name, owner.parent?.name);
      if (text && !one.comment) one.comment = new Comment([{ kind: "text", text }]);
    }
  });
}

/** Members of types that have no name: the comment in front of such a type describes them. */
function unnamed(project) {
  const isToTell = (one) =>
    one.kindOf(ReflectionKind.Property | ReflectionKind.ConstructorSignature) &&
    project.getSymbolIdFromReflection(one)?.packageName === name &&
    !one.hasComment();
  const isOfParameter = (one) =>
    one?.kindOf(ReflectionKind.Parameter) || (one?.parent && isOfParameter(one.parent));
  return Object.values(project.reflections)
    .filter((one) => one.parent?.name === "__type" && isToTell(one) && !isOfParameter(one))
    .map((one) => one.getFriendlyFullName());
}

async function main() {
  await declare();
  const app = await Application.bootstrap({
    name: "Ringcast",
    entryPoints: [...entries.keys()],
    tsconfig: path.join(root, ".scripts/docs.json"),
    out: path.join(root, "dist/docs"),
    readme: "none",
    disableSources: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeProtected: true,
    hideGenerator: true,
    validation: { invalidLink: true, notDocumented: true, notExported: true, rewrittenLink: true },
    // Node's part of TransferredPort is internal.
    intentionallyNotExported: ["NodePort"],
    treatWarningsAsErrors: true,
  });
  const { causeTexts } = await load("lib/tables");
  explain(app, causeTexts(), await readExports());
  const project = await app.convert();
  if (!project) return false;
  app.options.setValue("intentionallyNotDocumented", unnamed(project));
  app.validate(project);
  if (app.logger.hasErrors() || app.logger.hasWarnings()) return false;
  await app.generateOutputs(project);
  return !app.logger.hasErrors() && !app.logger.hasWarnings();
}

if (!(await main())) process.exitCode = 1;
