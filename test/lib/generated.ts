// The README's generated parts, by their marks.

import { benchTable } from "./results";
import { limitsTable, optionsTable, planTable, poolTable, reasonsTable } from "./tables";

/** @param results bench/results.md; without it that part stays as it is */
export function generatedTables(results: string | undefined): Record<string, string> {
  return {
    options: optionsTable(),
    pool: poolTable(),
    reasons: reasonsTable(),
    limits: limitsTable(),
    plan: planTable(),
    ...(results === undefined ? {} : { bench: benchTable(results) }),
  };
}
