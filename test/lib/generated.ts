// The generated parts of the pages, by their marks, and the files that are generated whole.

import { benchTable, targetsTable } from "./results";
import {
  limitsTable,
  optionMembers,
  optionsTable,
  planTable,
  poolTable,
  reasonsTable,
} from "./tables";

/** A part of a page, between the marks of its name. */
interface Part {
  readonly page: string;
  readonly name: string;
  readonly text: string;
}

const OPTIONS = "host/options/options.md";

/** Returns the generated parts of the pages. @param results bench/results.md; without it its parts stay as they are */
export function generatedParts(results: string | undefined): readonly Part[] {
  return [
    { page: OPTIONS, name: "options", text: optionsTable() },
    { page: OPTIONS, name: "pool", text: poolTable() },
    { page: OPTIONS, name: "plan", text: planTable() },
    { page: OPTIONS, name: "limits", text: limitsTable() },
    { page: "host/shared/causes.md", name: "reasons", text: reasonsTable() },
    ...(results === undefined
      ? []
      : [
          { page: "README.md", name: "bench", text: benchTable(results) },
          { page: "bench/README.md", name: "targets", text: targetsTable(results) },
        ]),
  ];
}

/** Returns the files that are generated whole, by their paths. */
export function generatedFiles(): Readonly<Record<string, string>> {
  return { "host/options/members.ts": optionMembers() };
}

/** Returns a part with the marks around it. @throws Error when the page lacks them */
export function partOf(markdown: string, { page, name }: Omit<Part, "text">): string {
  const found = new RegExp(`<!-- ${name} -->\\n([\\s\\S]*?)<!-- /${name} -->`).exec(markdown)?.[1];
  if (found === undefined) throw new Error(`${page} has no mark ${name}`);
  return found;
}
