// The README and the pages that it links, as tests read them: their code blocks, and how each of them is held to be
// true.
//
// A block that begins with a comment that names a file is that file: test/e2e/readme.test.ts runs it. One whose fence
// says `check` is part of something, and is type-checked in its place. Commands are looked up one by one. Anything else
// is a mistake, but for pictures.

import { readFileSync } from "node:fs";

/** A code block. */
interface Block {
  /** The page that it is on. */
  readonly page: string;
  readonly language: string;
  /** Text of its fence after the language. */
  readonly info: string;
  readonly text: string;
  /** The line of its fence. */
  readonly line: number;
  /** The file that it is. */
  readonly file?: string;
}

/** How a block is held to be true. */
type Way = "run" | "check" | "commands" | "picture";

const FILE = /^(?:\/\/|#|<!--) ([\w.-]+\.(?:m?js|ts|html|conf|jsonc))\b/;

export function blocksOf(markdown: string, page = "README.md"): Block[] {
  const blocks: Block[] = [];
  const lines = markdown.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const fence = /^\s*```(\w*) ?(.*)$/.exec(lines[i] as string);
    if (!fence) continue;
    const end = lines.findIndex((line, at) => at > i && /^\s*```\s*$/.test(line));
    if (end < 0) throw new Error(`${page}, line ${i + 1}: the block has no end`);
    const text = `${lines.slice(i + 1, end).join("\n")}\n`;
    const file = FILE.exec(text)?.[1];
    const [, language = "", info = ""] = fence;
    blocks.push({ page, language, info, text, line: i + 1, ...(file ? { file } : {}) });
    i = end;
  }
  return blocks;
}

/** Returns how a block is checked. @throws Error for a block that no test checks */
export function wayOf({ page, language, info, file, line }: Block): Way {
  if (language === "sh") return "commands";
  if (language === "text") return "picture";
  if (info === "check" && ["js", "ts"].includes(language)) return "check";
  if (file && info === "") return "run";
  throw new Error(
    `${page}, line ${line}: a block of ${language || "nothing"} that no test runs or checks`,
  );
}

/** The README, and the pages that the package has beside it. */
export const PAGES: ReadonlyMap<string, string> = new Map(
  ["README.md", ...(JSON.parse(readFileSync("package.json", "utf8")).files as string[])]
    .filter((name) => name.endsWith(".md"))
    .map((name) => [name, readFileSync(name, "utf8")]),
);

/** All code blocks of pages. */
export const blocksOfPages = (): Block[] =>
  [...PAGES].flatMap(([page, markdown]) => blocksOf(markdown, page));

/** Blocks that are files, by their names. @throws Error for two files of one name */
export function filesOf(blocks: readonly Block[]): Map<string, string> {
  const files = new Map<string, string>();
  for (const block of blocks) {
    if (wayOf(block) !== "run" || !block.file) continue;
    if (files.has(block.file))
      throw new Error(`${block.page}, line ${block.line}: ${block.file} is there twice`);
    files.set(block.file, block.text);
  }
  return files;
}

/** Commands of a block: a line each, without what is said of them. */
export function commandsOf({ text }: Block): string[] {
  const lines = text.replaceAll("\\\n", " ").split("\n");
  return lines.map((line) => line.replace(/(^|\s)#.*/, "").trim()).filter((line) => line !== "");
}
