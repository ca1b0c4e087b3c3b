// The text of a configuration file, JSON or JSON with comments, and where each of its options is.
//
// Invariant: a fault names the file, the line and the column, and is one line.

import { type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { Failure } from "../values";

/** The names and indices that lead to a value. */
export type Place = readonly (string | number)[];

/** A name or index in the option that begins an error message: `.name`, `[0]` or `["a.example"]`. */
const STEP = /^(?:\.([\w$-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\])/;

/** Returns the place of the option that an error message begins with; none when it begins with no option. */
function placeOf(message: string): Place {
  const [first] = /^[a-zA-Z$][\w$]*(?=[.:[])/.exec(message) ?? [];
  if (first === undefined) return [];
  const place: (string | number)[] = [first];
  let rest = message.slice(first.length);
  for (let step = STEP.exec(rest); step; step = STEP.exec(rest)) {
    const [whole, name, index, quoted] = step;
    place.push(
      name ?? (index === undefined ? (JSON.parse(quoted as string) as string) : Number(index)),
    );
    rest = rest.slice(whole.length);
  }
  return rest.startsWith(":") ? place : [];
}

/** Says a parser's error in words: "PropertyNameExpected" as "property name expected". */
function phrase({ error }: ParseError): string {
  return printParseErrorCode(error)
    .replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .toLowerCase();
}

/** Returns the value of a node of an object or list, by its name or index. */
function childOf(node: Node, key: string | number): Node | undefined {
  if (node.type === "array") return typeof key === "number" ? node.children?.[key] : undefined;
  return node.children?.find(({ children }) => children?.[0]?.value === String(key))?.children?.[1];
}

export class ConfigText {
  /** The file's path as the user gave it. */
  readonly file: string;
  readonly #text: string;
  readonly #root: Node;

  /**
   * @param hasComments whether comments and trailing commas are allowed
   * @throws Failure with the place of the first fault
   */
  constructor(file: string, text: string, hasComments: boolean) {
    this.file = file;
    this.#text = text;
    const errors: ParseError[] = [];
    const root = parseTree(text, errors, {
      disallowComments: !hasComments,
      allowTrailingComma: hasComments,
    });
    const [first] = errors;
    if (first) {
      const hint = /Comment/.test(printParseErrorCode(first.error))
        ? "; name the file *.jsonc"
        : "";
      throw this.fault(first.offset, `${phrase(first)}${hint}`);
    }
    if (root?.type !== "object") throw this.fault(0, "the file is not an object of options");
    this.#root = root;
  }

  /** Returns an error with the place of an offset in the file. */
  fault(offset: number, message: string): Failure {
    const before = this.#text.slice(0, offset).split("\n");
    const column = (before.at(-1)?.length ?? 0) + 1;
    return new Failure(`${this.file}:${before.length}:${column}: ${message}`);
  }

  /** Returns an error with the place of the option that its message begins with, as far as the file has it. */
  explain(message: string): Failure {
    const place = placeOf(message);
    let node = this.#root;
    for (const [i, key] of place.entries()) {
      const next = childOf(node, key);
      if (!next) {
        // The flag of an option that the file does not have.
        if (i === 0) return new Failure(`${this.file}: ${message}`);
        break;
      }
      node = next;
    }
    if (place.length === 0) return new Failure(`${this.file}: ${message}`);
    // The name is better to find than its value.
    const named = node.parent?.type === "property" ? node.parent : node;
    return this.fault(named.offset, message);
  }

  /** Returns true when the file has an option. */
  has(name: string): boolean {
    return childOf(this.#root, name) !== undefined;
  }

  /**
   * Returns the value of the file.
   * @param convert called with each value that is no object and no list, and its place
   * @throws Failure for a name that is given twice
   */
  value(convert: (value: unknown, place: Place) => unknown): object {
    const read = (node: Node, place: Place): unknown => {
      if (node.type === "array")
        return node.children?.map((child, i) => read(child, [...place, i])) ?? [];
      if (node.type !== "object") return convert(node.value as unknown, place);
      const seen = new Set<string>();
      const entries = node.children?.map(({ offset, children }) => {
        const [name, value] = children as [Node, Node];
        const key = name.value as string;
        if (seen.has(key)) throw this.fault(offset, `${JSON.stringify(key)} is given twice`);
        seen.add(key);
        return [key, read(value, [...place, key])] as const;
      });
      return Object.fromEntries(entries ?? []);
    };
    return read(this.#root, []) as object;
  }
}
