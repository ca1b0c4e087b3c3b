// Builds dist/types/: of what tsc declares, what the package's entry points lead to, and nothing else.
//
// Invariant: whatever a statement that stays names is declared or imported where it stands.

import { execFile } from "node:child_process";
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import ts from "typescript";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const types = path.join(root, "dist/types");

/** Names that are declared by a statement. */
function declaredBy(statement) {
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.map(({ name }) => name.text);
  return statement.name ? [statement.name.text] : [];
}

/** A file's declarations, what it takes from others, and what of that is needed. */
class Declarations {
  /** Statements by the names that they declare. */
  #declared = new Map();
  /** What it imports, by the names that it has here; what it passes on, by the names that it gives. */
  #imported = new Map();
  #passed = new Map();
  /** `export *` statements. */
  #stars = [];
  /** `export {}`: nothing is exported but what says so itself. */
  #closed;
  /** Names of what it exports itself. */
  #exported = new Set();
  /** Statements to keep; of those that list names, which. */
  #kept = new Map();

  /** @param world the declarations of all files, by their paths */
  constructor(file, text, world) {
    this.file = file;
    this.world = world;
    this.source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
    for (const statement of this.source.statements) this.#note(statement);
  }

  #note(statement) {
    if (ts.isImportDeclaration(statement)) {
      const names = statement.importClause?.namedBindings;
      if (!names || !ts.isNamedImports(names)) this.#refuse(statement);
      for (const specifier of names.elements)
        this.#imported.set(specifier.name.text, { statement, specifier });
    } else if (ts.isExportDeclaration(statement)) this.#noteExport(statement);
    else this.#noteDeclared(statement);
  }

  #noteExport(statement) {
    const { exportClause } = statement;
    if (!exportClause) {
      this.#stars.push(statement);
      return;
    }
    if (!ts.isNamedExports(exportClause)) this.#refuse(statement);
    if (exportClause.elements.length === 0) this.#closed = statement;
    for (const specifier of exportClause.elements)
      this.#passed.set(specifier.name.text, { statement, specifier });
  }

  #noteDeclared(statement) {
    const names = declaredBy(statement);
    if (names.length === 0) this.#refuse(statement);
    const isExported = statement.modifiers?.some(
      ({ kind }) => kind === ts.SyntaxKind.ExportKeyword,
    );
    for (const name of names) {
      this.#declared.set(name, [...(this.#declared.get(name) ?? []), statement]);
      if (isExported) this.#exported.add(name);
    }
  }

  #refuse(statement) {
    throw new Error(`${this.file}: what does this mean? ${statement.getText()}`);
  }

  /** The file that a statement takes something from; undefined for another package's. */
  #origin({ moduleSpecifier }) {
    const { text } = moduleSpecifier;
    if (!text.startsWith(".")) return undefined;
    return this.world.get(
      path.resolve(path.dirname(this.file), `${text.replace(/\.js$/, "")}.d.ts`),
    );
  }

  /** Keeps all that it exports. */
  needAll() {
    for (const name of [...this.#exported, ...this.#passed.keys()]) this.need(name);
    for (const star of this.#stars) {
      this.#kept.set(star, undefined);
      this.#origin(star)?.needAll();
    }
  }

  /** Keeps what it exports by a name, and what that needs; false when there is nothing. */
  need(name) {
    const passed = this.#passed.get(name);
    if (passed) this.#keepTaken(passed);
    else if (this.#exported.has(name)) this.#needHere(name);
    else {
      const star = this.#stars.find((statement) => this.#origin(statement)?.need(name));
      if (!star) return false;
      this.#kept.set(star, undefined);
    }
    return true;
  }

  /** Keeps what has a name within it. */
  #needHere(name) {
    for (const statement of this.#declared.get(name) ?? []) {
      if (this.#kept.has(statement)) continue;
      this.#kept.set(statement, undefined);
      this.#needNamedIn(statement);
    }
    const imported = this.#imported.get(name);
    if (imported) this.#keepTaken(imported);
  }

  /** Whatever has the same name as something here is taken for it. */
  #needNamedIn(node) {
    if (ts.isIdentifier(node)) this.#needHere(node.text);
    ts.forEachChild(node, (child) => this.#needNamedIn(child));
  }

  #keepTaken({ statement, specifier }) {
    const specifiers = this.#kept.get(statement) ?? new Set();
    if (specifiers.has(specifier)) return;
    this.#kept.set(statement, specifiers.add(specifier));
    const name = (specifier.propertyName ?? specifier.name).text;
    if (!statement.moduleSpecifier) this.#needHere(name);
    else if (this.#origin(statement)?.need(name) === false) this.#refuse(specifier);
  }

  /** What stays of the file; undefined when nothing does. */
  get text() {
    if (this.#kept.size === 0) return undefined;
    const all = this.source.text;
    return this.source.statements
      .filter((statement) => this.#kept.has(statement) || statement === this.#closed)
      .map((statement) => {
        const specifiers = this.#kept.get(statement);
        const text = all.slice(statement.getFullStart(), statement.end).trim();
        if (!specifiers) return text;
        const names = [...specifiers].map((specifier) => specifier.getText()).join(", ");
        return text.replace(/\{[^}]*\}/, `{ ${names} }`);
      })
      .join("\n")
      .concat("\n");
  }
}

/** Keeps of the declarations in a folder what the package's entry points lead to. */
async function prune() {
  const { exports } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));
  const world = new Map();
  for (const entry of await readdir(types, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath ?? entry.path, entry.name);
    world.set(file, new Declarations(file, await readFile(file, "utf8"), world));
  }
  const entries = Object.values(exports).flatMap((entry) => entry.types ?? []);
  for (const name of entries) world.get(path.join(root, name))?.needAll();
  for (const [file, { text }] of world) {
    if (text === undefined) await rm(file);
    else await writeFile(file, forUsers(file, text));
  }
}

/** asc's number types become `number`, imports get their extension. */
function forUsers(file, text) {
  const extended = text.replace(/(from "\.[^"]*?)(\.js)?"/g, '$1.js"');
  const inAssembly = file.includes(`${path.sep}assembly${path.sep}`);
  return inAssembly ? extended.replace(/\b(u8|u16|u32|u64|i32|f64)\b/g, "number") : extended;
}

/** Declarations of the public types. */
export async function buildTypes() {
  await rm(types, { recursive: true, force: true });
  const tsc = path.join(root, "node_modules/.bin/tsc");
  await run(tsc, ["-p", "tsconfig.types.json"], { cwd: root });
  await prune();
  // Of the modules that threads run: they export nothing.
  await writeFile(path.join(types, "script.d.ts"), "export {};\n");
}
