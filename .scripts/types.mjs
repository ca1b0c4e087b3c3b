// Builds dist/types/: of what tsc declares, what the package's entry points lead to, and nothing else. What stands in
// other files than theirs is put into one: it packs better, and needs no imports.
//
// Invariant: whatever a statement that stays names is declared or imported where it stands.

import { execFile } from "node:child_process";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
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

  /** Files all of whose exports it passes on. */
  get passedOn() {
    return this.#stars
      .filter((star) => this.#kept.has(star))
      .flatMap((star) => this.#origin(star)?.file ?? []);
  }

  /** Names that it declares. */
  get declared() {
    return [...this.#declared]
      .filter(([, statements]) => statements.some((statement) => this.#kept.has(statement)))
      .map(([name]) => name);
  }

  /** Names of types that it uses and neither declares nor imports: the platform's. */
  get globals() {
    const found = new Set();
    const visit = (node) => {
      if (ts.isTypeReferenceNode(node)) found.add(node.typeName.getText());
      if (ts.isExpressionWithTypeArguments(node)) found.add(node.expression.getText());
      if (ts.isTypeQueryNode(node)) found.add(node.exprName.getText());
      ts.forEachChild(node, visit);
    };
    for (const statement of this.#kept.keys()) visit(statement);
    return [...found].filter((name) => !this.#declared.has(name) && !this.#imported.has(name));
  }

  /** What stays of the file, a statement each: its text, what of it names others, and the file that these are in. */
  get stays() {
    const all = this.source.text;
    return this.source.statements
      .filter((statement) => this.#kept.has(statement) || statement === this.#closed)
      .map((statement) => {
        const specifiers = this.#kept.get(statement);
        const text = all.slice(statement.getFullStart(), statement.end).trim();
        const module = statement.moduleSpecifier;
        const origin = module && (this.#origin(statement)?.file ?? module.text);
        if (!specifiers) return { statement, text, origin };
        const names = [...specifiers].map((specifier) => specifier.getText());
        return {
          statement,
          text: text.replace(/\{[^}]*\}/, `{ ${names.join(", ")} }`),
          names,
          origin,
        };
      });
  }
}

/** How a file names another one, or a package. */
function specifierFrom(file, origin) {
  if (!path.isAbsolute(origin)) return origin;
  const relative = path.relative(path.dirname(file), origin).split(path.sep).join("/");
  return `${relative.startsWith(".") ? "" : "./"}${relative.replace(/\.d\.ts$/, ".js")}`;
}

const withOrigin = (text, specifier) => text.replace(/(from )"[^"]*"/, `$1"${specifier}"`);

/** The one file of what is not an entry point's. */
const shared = path.join(types, "shared.d.ts");

/** @throws Error when a name would mean something else in one file than it did in several */
function checkNames(files) {
  const places = new Map();
  for (const { file, declared } of files) {
    for (const name of declared) {
      if (places.has(name)) throw new Error(`${name}: of ${places.get(name)} and of ${file}`);
      places.set(name, file);
    }
  }
  for (const { file, globals } of files) {
    const clash = globals.find((name) => places.has(name));
    if (clash) throw new Error(`${clash}: in ${file} it is not the one of ${places.get(clash)}`);
  }
}

/** The text of the one file that several become. */
function merge(files) {
  checkNames(files);
  const merged = new Set(files.map(({ file }) => file));
  const imported = new Map();
  const texts = [];
  for (const { file, stays } of files) {
    for (const { statement, text, names, origin } of stays) {
      if (origin === undefined) {
        if (!ts.isExportDeclaration(statement)) texts.push(forUsers(file, text));
      } else if (!names || names.some((name) => / as /.test(name))) {
        throw new Error(`${file}: it cannot be merged: ${text}`);
      } else if (ts.isExportDeclaration(statement)) {
        if (!merged.has(origin)) texts.push(withOrigin(text, specifierFrom(shared, origin)));
      } else if (!merged.has(origin)) {
        const specifier = specifierFrom(shared, origin);
        const list = imported.get(specifier) ?? new Set();
        for (const name of names) list.add(name.replace(/^type /, ""));
        imported.set(specifier, list);
      }
    }
  }
  const imports = [...imported].map(
    ([specifier, list]) => `import type { ${[...list].join(", ")} } from "${specifier}";`,
  );
  return [...imports, ...texts].join("\n");
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
  const entries = Object.values(exports).flatMap(
    (entry) => world.get(path.join(root, entry.types ?? "")) ?? [],
  );
  for (const entry of entries) entry.needAll();
  // What is passed on as a whole stays a file.
  const whole = new Set([
    ...entries.map(({ file }) => file),
    ...entries.flatMap((e) => e.passedOn),
  ]);
  const files = [...world.values()].filter(({ stays }) => stays.length > 0);
  const others = new Set(files.filter(({ file }) => !whole.has(file)));
  const text = merge([...others]);
  const isMerged = (origin) => others.has(world.get(origin));
  await rm(types, { recursive: true });
  await mkdir(types);
  await writeFile(shared, tidy(text));
  for (const { file, stays } of files.filter((declarations) => !others.has(declarations))) {
    const texts = stays.map(({ text, origin }) =>
      origin && isMerged(origin) ? withOrigin(text, specifierFrom(file, shared)) : text,
    );
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, tidy(forUsers(file, texts.join("\n"))));
  }
}

/** Tabs instead of spaces, one newline at the end. */
function tidy(text) {
  return `${text.replace(/^(?: {4})+/gm, (spaces) => "\t".repeat(spaces.length / 4)).trimEnd()}\n`;
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
