// The JSON schema of configuration files, from the table of options and the types of the others. .scripts/build.mjs
// writes it to dist/schema.json.
//
// Invariant: values that a type allows and JSON lacks, such as functions and bytes, are left out of the schema. Secrets
// are paths.

import ts from "typescript";
import { OPTIONS, type OptionRow, POOL_OPTIONS } from "../../host/options/table";

/** The part of JSON Schema (2020-12) that is used. */
export interface Schema {
  $schema?: string;
  title?: string;
  description?: string;
  type?: string | readonly string[];
  enum?: readonly unknown[];
  const?: unknown;
  default?: unknown;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: readonly string[];
  additionalProperties?: Schema | boolean;
}

const FILE = "host/options/types.ts";
/** Options that only programs can give. */
const PROGRAMS = new Set(["signal", "onEvict", "onError", "logger"]);
/** Names of options of TLS that are paths of files in a configuration, and more of their description. */
const SECRETS = new Set(["key", "cert", "ca", "crl", "dhparam", "pfx", "ticketKeys", "passphrase"]);

const SIZE = "^\\d+(\\.\\d+)? ?(B|KiB|MiB|GiB|kB|MB|GB)$";

/** Returns the schema of an option of the table. */
function rowSchema(row: OptionRow<string>): Schema {
  const { unit, min, max, words, parts, text, default: value } = row;
  const shared = { description: text, default: value };
  if (parts) {
    const properties: Record<string, Schema> = {};
    for (const [name, description] of Object.entries(parts))
      properties[name] = { type: "boolean", description };
    const object: Schema = { type: "object", properties, additionalProperties: false };
    return { anyOf: [{ type: "boolean" }, object], ...shared };
  }
  if (unit === "flag") return { type: "boolean", ...shared };
  if (words) return { enum: words, ...shared };
  const range: Schema = { type: "integer", minimum: min ?? 0 };
  if (max !== undefined) range.maximum = max;
  if (unit === "bytes" || unit === "MiB")
    return { anyOf: [range, { type: "string", pattern: SIZE }], ...shared };
  return { ...range, ...shared };
}

const ROWS = new Map<string, OptionRow<string>>(OPTIONS.map((row) => [row.name, row]));
const POOL_ROWS = new Map<string, OptionRow<string>>(POOL_OPTIONS.map((row) => [row.name, row]));

class Reader {
  readonly #checker: ts.TypeChecker;

  constructor(checker: ts.TypeChecker) {
    this.#checker = checker;
  }

  /** Returns the schema of a type; undefined: JSON has no value of it. */
  read(type: ts.Type): Schema | undefined {
    const { flags } = type;
    if (type.isUnion()) return this.#union(type.types);
    if (type.isStringLiteral() || type.isNumberLiteral()) return { const: type.value };
    if (flags & ts.TypeFlags.BooleanLiteral)
      return { const: this.#checker.typeToString(type) === "true" };
    if (flags & (ts.TypeFlags.String | ts.TypeFlags.TemplateLiteral)) return { type: "string" };
    if (flags & ts.TypeFlags.Number) return { type: "number" };
    if (this.#checker.isArrayType(type)) {
      const [element] = this.#checker.getTypeArguments(type as ts.TypeReference);
      const items = element && this.read(element);
      return items && { type: "array", items };
    }
    return flags & ts.TypeFlags.Object ? this.#object(type) : undefined;
  }

  #union(types: readonly ts.Type[]): Schema | undefined {
    const all = types
      .filter(({ flags }) => !(flags & ts.TypeFlags.Undefined))
      .flatMap((one) => this.read(one) ?? []);
    const literals = all.flatMap((one) => ("const" in one ? [one.const] : []));
    const others = all.filter((one) => !("const" in one));
    const isBoolean = literals.includes(true) && literals.includes(false);
    if (isBoolean) others.unshift({ type: "boolean" });
    const words = isBoolean ? literals.filter((one) => typeof one !== "boolean") : literals;
    if (words.length > 0)
      others.unshift(words.length === 1 ? { const: words[0] } : { enum: words });
    const [first, second] = others;
    return second ? { anyOf: others } : first;
  }

  #object(type: ts.Type): Schema | undefined {
    const name = type.symbol?.name ?? "";
    if (name === "URL" || name === "Uint8Array" || type.getCallSignatures().length > 0)
      return undefined;
    const index = type.getStringIndexType() ?? type.getNumberIndexType();
    if (index) {
      const values = this.read(index);
      return values && { type: "object", additionalProperties: values };
    }
    if (name === "Handler") return undefined;
    const properties: Record<string, Schema> = {};
    const required: string[] = [];
    for (const property of this.#checker.getPropertiesOfType(type)) {
      const found = this.#property(name, property);
      if (!found) continue;
      properties[property.name] = found;
      if (!(property.flags & ts.SymbolFlags.Optional)) required.push(property.name);
    }
    return {
      type: "object",
      properties,
      ...(required.length > 0 ? { required } : {}),
      additionalProperties: false,
    };
  }

  #property(owner: string, property: ts.Symbol): Schema | undefined {
    const { name } = property;
    const row = owner === "PoolOptions" ? POOL_ROWS.get(name) : ROWS.get(name);
    const isOfTable = ["Options", "ListenerOptions", "PoolOptions"].includes(owner);
    if (row && isOfTable) return rowSchema(row);
    if (owner === "Options" && PROGRAMS.has(name)) return undefined;
    const text = ts.displayPartsToString(property.getDocumentationComment(this.#checker));
    const description = text.replaceAll("\n", " ");
    const path: Schema = { type: "string" };
    if (/Tls/.test(owner) && SECRETS.has(name)) {
      const isList = name === "ca" || name === "crl";
      const one: Schema = isList ? { anyOf: [path, { type: "array", items: path }] } : path;
      return { description: `Path of a file. ${description}`, ...one };
    }
    if (owner === "ListenerOptions" && name === "mode")
      return {
        description: `${description} In a file: octal digits such as "660".`,
        anyOf: [
          { type: "integer", minimum: 0, maximum: 511 },
          { type: "string", pattern: "^(0o?)?[0-7]{3}$" },
        ],
      };
    const schema = this.read(this.#checker.getTypeOfSymbol(property));
    return schema && { description, ...schema };
  }
}

/** Returns the schema of configuration files. */
export function configSchema(): Schema {
  const config = ts.readConfigFile("tsconfig.json", ts.sys.readFile).config as object;
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, process.cwd());
  const program = ts.createProgram([FILE], { ...options, noEmit: true });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(FILE);
  const found = source && checker.getSymbolAtLocation(source);
  const symbol = found && checker.getExportsOfModule(found).find(({ name }) => name === "Options");
  if (!symbol) throw new Error(`${FILE} exports no Options`);
  const schema = new Reader(checker).read(checker.getDeclaredTypeOfSymbol(symbol));
  if (!schema?.properties) throw new Error(`${FILE}: Options is no object`);
  schema.properties = {
    $schema: { type: "string", description: "The URL of this schema, for editors." },
    ...schema.properties,
  };
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Configuration of Ringcast",
    description: "Options of serve(). Paths are relative to the file.",
    ...schema,
  };
}
