// The README's tables, made from the tables of the code.

import { CloseReason } from "../assembly/abi";
import { CLOSE_TABLE } from "../host/close";
import { OPTIONS, type OptionRow, POOL_OPTIONS } from "../host/options";

function sizeText(value: number): string {
  if (value >= 1048576 && value % 1048576 === 0) return `${value / 1048576} MiB`;
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024} KiB`;
  return String(value);
}

function valueText(row: OptionRow<string>, value: number | boolean | string): string {
  if (typeof value === "number" && row.unit === "bytes") return sizeText(value);
  if (typeof value === "number" && (row.unit === "ms" || row.unit === "s" || row.unit === "MiB"))
    return `${value} ${row.unit}`;
  return typeof value === "string" ? `"${value}"` : String(value);
}

function rangeText(row: OptionRow<string>): string {
  if (row.words) return row.words.map((word) => `"${word}"`).join(", ");
  if (row.unit === "flag") return "true, false";
  const range = `${valueText(row, row.min ?? 0)} … ${valueText(row, row.max ?? 0)}`;
  return row.power ? `${range}, a power of two` : range;
}

/** A row for the reference: what it does, its default and its range. */
function rowText(row: OptionRow<string>): string {
  const live = row.live ? " May change while the server runs." : "";
  return `${row.text} Default ${valueText(row, row.default)}; ${rangeText(row)}.${live}`;
}

const textsOf = (rows: readonly OptionRow<string>[]): Record<string, string> =>
  Object.fromEntries(rows.map((row) => [row.name, rowText(row)]));

/** What the reference says of each option, and of each cause, by its name. */
export const optionTexts = (): Record<string, string> => textsOf(OPTIONS);
export const poolTexts = (): Record<string, string> => textsOf(POOL_OPTIONS);
export function causeTexts(): Record<string, string> {
  return Object.fromEntries(Object.entries(CLOSE_TABLE).map(([name, { text }]) => [name, text]));
}

export function optionsTable(): string {
  return tableOf(OPTIONS);
}

export function poolTable(): string {
  return tableOf(POOL_OPTIONS);
}

function tableOf(options: readonly OptionRow<string>[]): string {
  const rows = options.map(
    (row) =>
      `| \`${row.name}\`${row.live ? " ¹" : ""} | ${valueText(row, row.default)} | ${rangeText(row)} | ${row.text} |`,
  );
  return ["| option | default | range | what it does |", "|---|---|---|---|", ...rows].join("\n");
}

export function reasonsTable(): string {
  const rows = (Object.keys(CLOSE_TABLE) as (keyof typeof CLOSE_TABLE)[]).map((name) => {
    const { text, status, code } = CLOSE_TABLE[name];
    return `| ${CloseReason[name]} | \`${name}\` | ${status || ""} | ${code || ""} | ${text} |`;
  });
  return [
    "| number | cause | status | close code | meaning |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}
