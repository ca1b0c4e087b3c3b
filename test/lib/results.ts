// The README's table of what the bench found, and that of the targets in bench/README.md: rows of bench/results.md,
// which bench/main.mjs writes.
//
// A table there has a line for each server: its name, the figure that is compared, its range, how Ringcast's figures
// compare to it, and others; columns are two spaces apart or more.

/** A variant of a case that the README shows. */
interface Shown {
  readonly variant: string;
  readonly what: string;
  readonly unit: string;
}

export const SHOWN: readonly (Shown & { readonly case: string })[] = [
  ...(
    [
      ["200 x 64 B, 1 a turn", "200 clients, 1 message a turn"],
      ["200 x 64 B, 32 a turn", "200 clients, 32 a turn"],
      ["200 x 64 B, 512 a turn", "200 clients, 512 a turn"],
      ["10 x 64 B, 128 a turn", "10 clients, 128 a turn"],
      ["1000 x 1 KiB, 1 a turn", "1000 clients, 1 of 1 KiB a turn"],
      ["200 x 64 KiB, 1 a turn", "200 clients, 1 of 64 KiB a turn"],
    ] as const
  ).map(([variant, what]) => ({ case: "fanout", variant, what, unit: "M/s" })),
  {
    case: "paced",
    variant: "100/s",
    what: "1000 clients, 100 a second: a delivery",
    unit: "µs of CPU",
  },
  { case: "echo", variant: "50x1", what: "echo, 50 clients", unit: "k/s" },
  { case: "echo", variant: "8x16", what: "echo, 8 clients, 16 on the way each", unit: "k/s" },
  { case: "hello", variant: "GET", what: "requests", unit: "k/s" },
  { case: "hello", variant: "GET, pipelined x16", what: "requests, pipelined by 16", unit: "k/s" },
  { case: "stalled", variant: "20 of 30", what: "20 of 30 clients never read: memory", unit: "MB" },
  { case: "idle", variant: "5000 idle", what: "an idle WebSocket: memory", unit: "kB" },
];

/** The columns: servers by their names in the results. */
const COLUMNS: readonly (readonly [head: string, names: readonly string[]])[] = [
  ["ws, node:http", ["ws", "node:http"]],
  ["uWebSockets.js", ["uws"]],
  ["Bun", ["bun"]],
  ["Deno", ["deno"]],
  ["Ringcast, from its handler", ["ringcast"]],
  ["from the application's thread", ["ringcast-app"]],
];

const cellsOf = (line: string): string[] => line.trim().split(/ {2,}/);

/** Returns the figures of each variant of each case, by "case: variant" and the server's name. */
function figuresOf(results: string): Map<string, Map<string, string[]>> {
  const tables = new Map<string, Map<string, string[]>>();
  let name = "";
  let table: Map<string, string[]> | undefined;
  for (const line of results.split("\n")) {
    const title = /^([a-z]+): /.exec(line)?.[1];
    if (line.trim() === "") table = undefined;
    else if (title && !table) name = title;
    else if (table) table.set(cellsOf(line)[0] as string, cellsOf(line));
    else if (/ {2}min–max {2}/.test(line)) {
      table = new Map();
      tables.set(`${name}: ${cellsOf(line)[0]}`, table);
    }
  }
  return tables;
}

/** Returns the commit and the machine of the results. */
function aboutOf(results: string): string {
  const [head = "", peers = ""] = /^commit .*\n.*/m.exec(results)?.[0].split("\n") ?? [];
  if (head === "") throw new Error("bench/results.md does not say what ran");
  return `${head}; ${peers}.`.replaceAll(" · ", ", ");
}

/** Returns a figure without an exponent. */
function plain(figure: string): string {
  return figure.includes("e") ? String(Number(figure)) : figure;
}

/**
 * Returns the table of targets, and whether each was met.
 * @throws Error when the results have none
 */
export function targetsTable(results: string): string {
  const lines = results.split("\n");
  const from = lines.findIndex((line) => /^target +wanted +reached/.test(line)) + 1;
  if (from === 0) throw new Error("bench/results.md has no targets");
  const rows = lines.slice(from).map(cellsOf);
  const ends = rows.findIndex((cells) => cells.length < 4);
  return [
    "| target | wanted | reached | |",
    "|---|---|---|---|",
    ...rows.slice(0, ends).map(([what, wanted, reached, verdict]) => {
      return `| ${what} | ${wanted} | ${reached} | ${verdict === "met" ? "met" : "**not met**"} |`;
    }),
  ].join("\n");
}

/**
 * Returns the README's table.
 * @throws Error when the results lack a figure of the table
 */
export function benchTable(results: string): string {
  const tables = figuresOf(results);
  const rows = SHOWN.map(({ case: one, variant, what, unit }) => {
    const table = tables.get(`${one}: ${variant}`);
    if (!table) throw new Error(`bench/results.md has no ${one}: ${variant}`);
    const figures = COLUMNS.map(([, names]) => {
      const name = names.find((some) => table.has(some));
      return name === undefined ? "" : plain(table.get(name)?.[1] ?? "");
    });
    // The median of the ratios of each round.
    const ratio = table.get("uws")?.[3] ?? "";
    return `| ${what}, ${unit} | ${figures.join(" | ")} | ${ratio} |`;
  });
  const heads = COLUMNS.map(([head]) => head);
  return [
    aboutOf(results),
    "",
    `| messages of 64 B, where nothing else is said | ${heads.join(" | ")} | Ringcast ÷ uWebSockets.js |`,
    `|${"---|".repeat(heads.length + 2)}`,
    ...rows,
  ].join("\n");
}
