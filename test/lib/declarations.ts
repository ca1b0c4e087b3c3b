// Reads the declarations of entry points with TypeScript: the types that each exports, and the types that one reaches
// from its exports.
//
// Invariant: a declaration that TypeScript infers for a user's module names only types that are reached.

import path from "node:path";
import ts from "typescript";

/** Reads the declarations of modules, which are files of one folder. @throws Error when a file is no module */
export function readDeclarations(files: readonly string[]): Declarations[] {
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.esnext.disposable.d.ts"],
    types: ["node"],
    strict: true,
    noEmit: true,
  });
  return files.map((file) => new Declarations(program, file));
}

/** The declarations of one module. All in its folder are the package's own. */
export class Declarations {
  readonly #checker: ts.TypeChecker;
  readonly #folder: string;
  readonly #exported: readonly ts.Symbol[];
  readonly #seen = new Set<ts.Type>();
  readonly #reached = new Set<ts.Symbol>();

  constructor(program: ts.Program, file: string) {
    this.#folder = path.dirname(path.resolve(file));
    const checker = program.getTypeChecker();
    const source = program.getSourceFile(file);
    const module = source && checker.getSymbolAtLocation(source);
    if (!module) throw new Error(`${file}: is no module`);
    this.#checker = checker;
    this.#exported = checker
      .getExportsOfModule(module)
      .map((one) => (one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one));
    for (const one of this.#exported) {
      if (one.flags & ts.SymbolFlags.Type) this.#visit(checker.getDeclaredTypeOfSymbol(one));
      if (one.flags & ts.SymbolFlags.Value) this.#visit(checker.getTypeOfSymbol(one));
    }
  }

  /** Names of the interfaces and classes that are exported. */
  get objects(): string[] {
    const isObject = ({ flags }: ts.Symbol): boolean =>
      (flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) !== 0;
    return this.#exported.filter(isObject).map(nameOf);
  }

  /** Names of the functions that are exported. */
  get functions(): string[] {
    return this.#exported.filter(({ flags }) => flags & ts.SymbolFlags.Function).map(nameOf);
  }

  /** Number of the package's own types that are reached. */
  get reached(): number {
    return this.#reached.size;
  }

  /** Names of the types that are reached but not exported. */
  get hidden(): string[] {
    return [...this.#reached].filter((one) => !this.#exported.includes(one)).map(nameOf);
  }

  #isOwn(one: ts.Symbol): boolean {
    const isHere = (declared: ts.Declaration): boolean =>
      declared.getSourceFile().fileName.startsWith(this.#folder);
    return one.declarations?.some(isHere) ?? false;
  }

  #note(one: ts.Symbol | undefined): void {
    const named =
      ts.SymbolFlags.Interface |
      ts.SymbolFlags.Class |
      ts.SymbolFlags.Enum |
      ts.SymbolFlags.TypeAlias;
    if (one && one.flags & named && this.#isOwn(one)) this.#reached.add(one);
  }

  #visit(type: ts.Type): void {
    if (this.#seen.has(type)) return;
    this.#seen.add(type);
    const checker = this.#checker;
    const { aliasSymbol, aliasTypeArguments = [] } = type;
    this.#note(aliasSymbol);
    this.#note(type.symbol);
    // TypeScript writes an alias of its own, such as Pick, as its result, without its arguments.
    if (aliasSymbol && this.#isOwn(aliasSymbol)) this.#visitAll(aliasTypeArguments);
    if (type.isUnionOrIntersection()) this.#visitAll(type.types);
    if (type.flags & ts.TypeFlags.Conditional) this.#visitBranches(type as ts.ConditionalType);
    if (isReference(type)) this.#visitAll(checker.getTypeArguments(type));
    const isUnnamed = type.symbol?.name.startsWith("__");
    if (type.symbol && !isUnnamed && !this.#isOwn(type.symbol)) return;
    for (const member of type.getProperties()) {
      if (this.#isOwn(member) && !isPrivate(member)) this.#visit(checker.getTypeOfSymbol(member));
    }
    for (const call of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      this.#visit(call.getReturnType());
      this.#visitAll(call.getParameters().map((one) => checker.getTypeOfSymbol(one)));
    }
    this.#visitAll(checker.getIndexInfosOfType(type).map((index) => index.type));
  }

  #visitAll(types: readonly ts.Type[]): void {
    for (const type of types) this.#visit(type);
  }

  #visitBranches({ checkType, extendsType, root }: ts.ConditionalType): void {
    const { trueType, falseType } = root.node;
    const branches = [trueType, falseType].map((node) => this.#checker.getTypeAtLocation(node));
    this.#visitAll([checkType, extendsType, ...branches]);
  }
}

/** Returns a type's exported name. The bundler of declarations appends a number where a global has the same name. */
function nameOf({ name }: ts.Symbol): string {
  return name.replace(/\$\d+$/, "");
}

function isReference(type: ts.Type): type is ts.TypeReference {
  if (!(type.flags & ts.TypeFlags.Object)) return false;
  return ((type as ts.ObjectType).objectFlags & ts.ObjectFlags.Reference) !== 0;
}

function isPrivate({ declarations = [] }: ts.Symbol): boolean {
  return declarations.some((one) => ts.getCombinedModifierFlags(one) & ts.ModifierFlags.Private);
}
