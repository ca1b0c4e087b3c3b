// Runs a case: starts its servers, lets them take turns round by round, and compares them within each round; then
// prints the table of medians and the verdict on each target.

import { grid, median } from "./report.mjs";
import { BASE, besideBase, Unavailable } from "./servers.mjs";

/**
 * @typedef {Record<string, number>} Figures what one round of a server came to
 *
 * @typedef {object} Session a server made ready, and warm
 * @property {() => Promise<Figures>} run one round. It throws when what was received is not what was due
 * @property {() => Promise<void>} close
 *
 * @typedef {object} Target what a row is to reach
 * @property {string} row
 * @property {string} key the figure
 * @property {string} [peer] the row that it is compared to: the target is their ratio, else the figure itself
 * @property {boolean} [isBeyond] the target is their difference
 * @property {number} [atLeast]
 * @property {number} [atMost]
 *
 * @typedef {{ name: string, targets?: Target[] }} Variant and what `open` wants to know
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {string} title what is measured
 * @property {Variant[]} variants
 * @property {(variant: any) => import("./servers.mjs").Server[]} servers the rows
 * @property {(server: import("./servers.mjs").Server, variant: any, smoke: boolean) => Promise<Session>} open
 * @property {import("./figures.mjs").Figure[]} figures the columns; the first is the one that rows are compared by
 * @property {() => void} [need] throws when something is not there that the case needs
 */

const PEERS = { sets: 1, rounds: 5 };
/**
 * Of a comparison with another checkout, where 3% count: processes of the same build differ by more than that, up to
 * a factor of two, each as long as it lives. So each set of rounds has processes of its own.
 */
const CHECKOUT = { sets: 7, rounds: 3 };
const BASE_RATIO = 0.97;
const COMPARED = ["ringcast", "ringcast-app"];

/** @typedef {{ server: import("./servers.mjs").Server, rounds: Figures[] }} Row */

/**
 * Opens a variant's servers, one after the other: making one ready takes the machine. Only a smoke run, whose
 * figures mean nothing, has them all at once.
 */
async function openAll({ servers, open }, variant, smoke) {
  /** @type {{ server: import("./servers.mjs").Server, session: Session }[]} */
  const opened = [];
  const missing = [];
  const openOne = async (server, i) => {
    try {
      opened[i] = { server, session: await open(server, variant, smoke) };
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      missing.push(`without ${server.name}: ${error.message}`);
    }
  };
  const wanted = servers(variant).map((server, i) => [server, i]);
  if (smoke) await Promise.all(wanted.map(([server, i]) => openOne(server, i)));
  else for (const [server, i] of wanted) await openOne(server, i);
  return { opened: opened.filter(Boolean), missing };
}

/**
 * Runs rounds of a variant, the servers in turn, with processes of their own.
 * @param {Pick<Case, "servers" | "open">} one
 * @param {Variant} variant
 * @param {number} rounds
 * @returns {Promise<{ rows: Row[], missing: string[] }>}
 */
async function runSet(one, variant, rounds, smoke) {
  const { opened, missing } = await openAll(one, variant, smoke);
  const rows = opened.map(({ server }) => ({ server, rounds: /** @type {Figures[]} */ ([]) }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, { session }] of opened.entries()) rows[i].rounds.push(await session.run());
  }
  for (const { session } of opened) await session.close();
  return { rows, missing };
}

/** Returns the rows of several sets as one: the rounds of each server. @param {Row[][]} sets @returns {Row[]} */
function joined(sets) {
  return sets[0].map(({ server }, i) => ({
    server,
    rounds: sets.flatMap((rows) => rows[i].rounds),
  }));
}

/** Returns the ratio of a figure of one row to that of another, round by round. @param {Row} a @param {Row} b */
function ratios(a, b, key) {
  return a.rounds.map((figures, i) => figures[key] / b.rounds[i][key]);
}

const twoDigits = (value) => value.toFixed(2);

/** Returns a table as text. @param {Row[]} rows @param {import("./figures.mjs").Figure[]} figures */
function table(title, rows, [main, ...others]) {
  const compared = rows.filter(({ server }) => COMPARED.includes(server.name));
  const head = [title, main.head, "min–max", ...compared.map(({ server }) => `${server.name} ÷`)];
  const lines = rows.map((row) => {
    const values = row.rounds.map((figures) => figures[main.key]);
    const range = `${main.show(Math.min(...values))}–${main.show(Math.max(...values))}`;
    const ratio = (one) => (one === row ? "–" : twoDigits(median(ratios(one, row, main.key))));
    const middle = ({ key, show }) => show(median(row.rounds.map((figures) => figures[key])));
    const cells = [main.show(median(values)), range, ...compared.map(ratio)];
    return [row.server.name, ...cells, ...others.map(middle)];
  });
  return grid([[...head, ...others.map(({ head }) => head)], ...lines]);
}

/**
 * Compares a result with its target.
 * @param {Target} target @param {Row[]} rows @param {import("./figures.mjs").Figure[]} figures
 */
function verdict({ row, key, peer, isBeyond, atLeast, atMost }, rows, figures) {
  const rowOf = (name) => rows.find(({ server }) => server.name === name);
  const { head, show } = figures.find((figure) => figure.key === key);
  const [mine, theirs] = [rowOf(row), rowOf(peer)];
  const what = `${row}${peer ? ` ${isBeyond ? "−" : "÷"} ${peer}` : ""}, ${head}`;
  const [limit, word] = atLeast === undefined ? [atMost, "at most"] : [atLeast, "at least"];
  const write = peer && !isBeyond ? twoDigits : show;
  const target = `${word} ${write(limit)}`;
  if (!mine || (peer && !theirs)) return { what, target, reached: "–", rounds: "", met: "not run" };
  const values = isBeyond
    ? mine.rounds.map((figures, round) => figures[key] - theirs.rounds[round][key])
    : peer
      ? ratios(mine, theirs, key)
      : mine.rounds.map((figures) => figures[key]);
  const value = median(values);
  const met = atLeast === undefined ? value <= limit : value >= limit;
  const rounds = values.map(write).join(" ");
  return { what, target, reached: write(value), rounds, met: met ? "met" : "NOT MET" };
}

/** Returns the targets of rows beside the same rows of another checkout. @returns {Target[]} */
function baseTargets(rows, figures) {
  const names = rows.map(({ server }) => server.name).filter((name) => !name.endsWith(BASE));
  const keys = figures.map(({ key }) => key);
  return names.flatMap((row) => {
    const pair = { row, peer: `${row}${BASE}` };
    const targets = [];
    if (keys.includes("rate")) targets.push({ ...pair, key: "rate", atLeast: BASE_RATIO });
    if (keys.includes("serverNanos"))
      targets.push({ ...pair, key: "serverNanos", atMost: 1 / BASE_RATIO });
    return targets;
  });
}

/**
 * Runs one variant of a case.
 * @param {Case} one
 * @param {Variant} variant
 * @param {boolean} smoke one short round: whether it works, not what it comes to
 * @param {string} [base] the folder of another checkout: its Ringcast takes the place of the peers
 * @throws {Error} when something that came was not what was due
 */
export async function contest(one, variant, smoke, base) {
  one.need?.();
  const servers = base ? (of) => besideBase(one.servers(of), base) : one.servers;
  const { sets, rounds } = smoke ? { sets: 1, rounds: 1 } : base ? CHECKOUT : PEERS;
  const results = [];
  for (let set = 0; set < sets; set++) {
    results.push(await runSet({ ...one, servers }, variant, rounds, smoke));
  }
  const rows = joined(results.map((result) => result.rows));
  const { missing } = results[0];
  const wanted = base ? baseTargets(rows, one.figures) : (variant.targets ?? []);
  const targets = smoke ? [] : wanted;
  const verdicts = targets.map((target) => verdict(target, rows, one.figures));
  return { text: [table(variant.name, rows, one.figures), ...missing].join("\n"), verdicts };
}
