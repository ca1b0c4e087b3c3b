// The page's script: receives samples, writes the figures, draws the charts, and sends the commands of the buttons.
//
// Invariant: it draws only when there is something new, at most once per frame.

import {
  type EvictedSample,
  LOADS,
  type Moment,
  type Recall,
  type Sample,
  momentOf,
} from "../message.js";
import { type Chart, SPAN, drawCores, drawLines, drawRing, readColors } from "./charts.js";
import { Link } from "./link.js";
import * as units from "./units.js";

/** Interval in ms between updates of the figures, because faster changes cannot be read. */
const TEXT_EVERY = 250;
/** Minimum interval in ms between two announcements of evictions to screen readers. */
const SAY_EVERY = 5000;

const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

const all = <T extends HTMLElement>(selector: string): T[] =>
  Array.from(document.querySelectorAll<T>(selector));

function put(id: string, text: string): void {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

function make(name: string, ...content: (Node | string)[]): HTMLElement {
  const element = document.createElement(name);
  element.append(...content);
  return element;
}

// ---- samples ---------------------------------------------------------------------------------------------

let rows: Moment[] = [];
let last: Sample | undefined;

/** Replaces this page's rows by the server's, for the time that the server's cover. */
function recall({ history }: Recall): void {
  const from = history[0]?.time ?? Number.POSITIVE_INFINITY;
  rows = [...rows.filter(({ time }) => time < from), ...history];
}

function take(m: Sample): void {
  // If the clock was set back, later rows are removed, so that the line does not run backwards.
  rows = rows.filter(({ time }) => time < m.time);
  last = m;
  rows.push(momentOf(m));
  // One row before the left edge is kept, so that the line starts outside the chart.
  let old = 0;
  while ((rows[old + 1]?.time ?? m.time) < m.time - SPAN) old++;
  rows.splice(0, old);
  changed();
}

// ---- figures ---------------------------------------------------------------------------------------------

function writeMachine({ cpu, memory, application, worker, start, time }: Sample): void {
  const total = cpu.reduce((sum, v) => sum + v, 0) / (cpu.length || 1);
  put("cpu", `${Math.round(total)} %`);
  const cores = cpu.length === 1 ? "core" : "cores";
  put("cpuNote", `${cpu.length} ${cores}, the busiest ${Math.round(Math.max(0, ...cpu))} %`);
  put("mem", units.size(memory.process).join(" "));
  const share = units.whole((100 * memory.used) / memory.total);
  put("memNote", `the machine uses ${share} % of ${units.text(units.size(memory.total))}`);
  put("loop", units.ms(application.p99));
  put("loopB", worker ? units.ms(worker.p99) : "–");
  put("up", `Running for ${units.duration(Math.max(0, time - start) / 1000)}`);
}

function writeServer({ server: s }: Sample): void {
  const each = s && s.webSockets > 0 ? s.messagesPerSecond / s.webSockets : 0;
  const fill = s ? (100 * s.ring.used) / s.ring.bytes : 0;
  const figure = fill === 0 ? "0" : units.tenths(fill, 10);
  put("fill", s ? `${fill > 0 && fill < 0.1 ? "< 0.1" : figure} %` : "–");
  put("ringSize", s ? units.text(units.size(s.ring.bytes)) : "–");
  put("published", s ? units.rate(s.publishedPerSecond).join(" ") : "–");
  put("horizon", s?.ring.horizon ? units.duration(s.ring.horizon) : "–");
  put("ws", s ? units.count(s.webSockets) : "–");
  put("wsUnit", s?.webSockets === 1 ? "WebSocket: this page" : "WebSockets");
  put("open", s ? units.count(s.webSockets + s.connections) : "–");
  put("http", s ? units.count(s.connections) : "–");
  put("mps", s ? `${units.count(s.messagesPerSecond)} /s` : "–");
  put("mpsNote", each > 0 ? `${units.tenths(each, 100)} /s for each client` : "\xa0");
  put("bps", s ? units.rate(s.bytesPerSecond).join(" ") : "–");
  put(
    "bpsNote",
    s ? `published ${units.rate(s.publishedPerSecond).join(" ")}, once for all` : "\xa0",
  );
  put("evicted", s ? units.count(s.evicted) : "–");
  put("evictedUnit", `${s?.evicted === 1 ? "client" : "clients"} that lagged by a whole ring`);
  if (s) writeLag(s.lag);
  if (s) writeClosed(s.closed);
}

let bars: [figure: Text, bar: HTMLElement][] = [];

/** Makes the labels of the lag's classes: 0, 1 K, 4 K, … */
function makeLag(bounds: readonly number[]): void {
  bars = bounds.map(() => [new Text(), make("i")]);
  const items = bars.map(([figure, bar], i) => {
    const [value, unit] = units.size(bounds[i] as number);
    const label = i === 0 ? "none" : `${value.replace(/\.0$/, "")} ${unit.charAt(0)}`;
    return make("li", make("span", label), make("b", figure, bar));
  });
  $("lag").replaceChildren(...items);
}

function writeLag({ bounds, counts }: NonNullable<Sample["server"]>["lag"]): void {
  if (bars.length !== bounds.length) makeLag(bounds);
  const most = Math.max(1, ...counts);
  bars.forEach(([figure, bar], i) => {
    const n = counts[i] ?? 0;
    figure.data = n > 0 ? units.count(n) : "";
    // Square roots keep a single client visible beside a thousand.
    bar.style.height = `${n > 0 ? 3 + 49 * Math.sqrt(n / most) : 0}px`;
  });
}

let closedKey = "";

function writeClosed(closed: Readonly<Record<string, number>>): void {
  const list = Object.entries(closed).filter(([, n]) => n > 0);
  const key = list.join();
  if (key === closedKey || list.length === 0) return;
  closedKey = key;
  list.sort((a, b) => b[1] - a[1]);
  const items = list.map(([name, n]) =>
    make("li", `${units.words(name)} `, make("b", units.count(n))),
  );
  $("closed").replaceChildren(...items);
}

// ---- evictions -------------------------------------------------------------------------------------------

/** Causes of evictions, in a few words. */
const WHY: Readonly<Record<string, string>> = { WsClientTooSlow: "too slow", Evicted: "no room" };

/** The start of the server that the evictions belong to, the newest one written, and the newest one announced. */
let evictedSince = 0;
let writtenNumber = 0;
let saidNumber = 0;
let saidAt = Number.NEGATIVE_INFINITY;

function writeEvictions({ evictions, start }: Sample): void {
  const newest = evictions[0]?.number ?? 0;
  if (start !== evictedSince) {
    // Evictions from before this page opened are not announced.
    saidNumber = evictedSince === 0 ? newest : 0;
    writtenNumber = 0;
    evictedSince = start;
  }
  if (newest === writtenNumber) return;
  writtenNumber = newest;
  const lines = evictions.slice(0, 7).map((e) => {
    const at = new Date(e.time).toLocaleTimeString("en-GB");
    const why = WHY[e.cause] ?? units.words(e.cause);
    const cells = [at, e.address, why, units.text(units.size(e.lag)), units.duration(e.age / 1000)];
    return make("tr", ...cells.map((text) => make("td", text)));
  });
  $("rows").replaceChildren(...lines);
}

/** Announces evictions to screen readers, at a limited rate. */
function sayEvictions(newest: EvictedSample | undefined, now: number): void {
  if (!newest || newest.number <= saidNumber || now - saidAt < SAY_EVERY) return;
  const n = newest.number - saidNumber;
  const who = n === 1 ? "A client was evicted" : `${n} clients were evicted, the last`;
  put("said", `${who}: ${newest.address}, lag ${units.text(units.size(newest.lag))}`);
  saidNumber = newest.number;
  saidAt = now;
}

// ---- clients ---------------------------------------------------------------------------------------------

const load = $<HTMLInputElement>("load");

/** Explains how long it takes until a stalled client is evicted. */
function explain(rate: number, ring: number): string {
  if (rate === 0)
    return "Without load little is published, so it takes long to lag by a whole ring.";
  return (
    "A stalled client never reads. First the kernel's socket buffers fill, some MiB. Then its lag in the ring grows, " +
    `to ${units.text(units.size(ring))} at ${units.text(units.rate(rate))} in ${units.duration(ring / rate)}. Then ` +
    "it is evicted, and no other client notices."
  );
}

function writeCrowd({ crowd, server }: Sample): void {
  $<HTMLFieldSetElement>("play").disabled = !crowd || !link.isLive;
  if (!crowd) {
    put("why", "Clients can be added only when the server listens on this machine alone.");
    return;
  }
  const { reading, stalled, limits, load: wanted } = crowd;
  put("there", `${reading} of ${limits.reading} readers, ${stalled} of ${limits.stalled} stalled`);
  const rate = crowd.rate || wanted;
  if (document.activeElement !== load) load.value = String(LOADS.indexOf(wanted));
  writeRate(rate);
  put("why", explain(rate, server?.ring.bytes ?? 0));
}

/** Returns "1 client, so far", "3 clients, so far", or "none". */
function clientsAnd(count: number, soFar: string): string {
  if (count === 0) return "none";
  return `${units.count(count)} ${count === 1 ? "client" : "clients"}${soFar && `, ${soFar}`}`;
}

/** Writes how far the stalled clients have come: the kernel's buffers, the ring, the eviction. */
function writeStages({ stalled, server }: Sample): void {
  const { kernel = 0, taken = 0, ring = 0, lag = 0 } = stalled ?? {};
  const share = Math.min(1, lag / (server?.ring.bytes ?? 1));
  const evicted = server?.evicted ?? 0;
  put("kernel", clientsAnd(kernel, units.text(units.size(taken))));
  put("behind", clientsAnd(ring, `${units.whole(100 * share)} %`));
  put("gone", clientsAnd(evicted, ""));
  $("share").style.width = `${ring > 0 ? 100 * share : 0}%`;
  const counts = [kernel, ring, evicted];
  all("#stages li").forEach((item, i) => {
    const isNow = i < 2 ? (counts[i] as number) > 0 : evicted > 0 && kernel + ring === 0;
    if (isNow) item.ariaCurrent = "step";
    else item.removeAttribute("aria-current");
  });
}

function writeRate(rate: number): void {
  const text = rate > 0 ? `${units.text(units.rate(rate))} to each` : "none";
  put("rate", text);
  load.setAttribute("aria-valuetext", text);
}

for (const button of all<HTMLButtonElement>("[data-command]")) {
  button.onclick = () => link.send(button.dataset.command ?? "");
}
load.oninput = () => {
  const wanted = LOADS[Number(load.value)] ?? 0;
  writeRate(wanted);
  link.send(JSON.stringify(["load", wanted]));
};

// ---- drawing ---------------------------------------------------------------------------------------------

const CHARTS: Readonly<Record<string, Chart>> = {
  mem: { lines: ["process"], scale: units.SIZES, least: 2 ** 21 },
  loop: { lines: ["application", "worker"], scale: units.DELAYS, least: 2 },
  open: { lines: ["ws", "http"], scale: units.COUNTS, least: 4 },
  mps: { lines: ["mps"], scale: units.MESSAGES, least: 20 },
  bps: { lines: ["bps"], scale: units.RATES, least: 2000 },
};

const canvases = all<HTMLCanvasElement>("canvas");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let isPending = false;
let written = 0;

function draw(canvas: HTMLCanvasElement): void {
  const name = canvas.dataset.chart;
  const ring = last?.server?.ring;
  const chart = CHARTS[name ?? ""];
  if (chart) drawLines(canvas, chart, rows);
  else if (name) drawCores(canvas, rows);
  else drawRing(canvas, ring && !still.matches ? ring.head : 0, ring ? ring.used / ring.bytes : 0);
}

/** Writes the rate at which messages arrive here, over the last two seconds. */
function writeState(now: number): void {
  const recent = rows.filter(({ time }) => time > now - 2050);
  const took = now - (recent[0]?.time ?? now);
  const each = (1000 * (recent.length - 1)) / took;
  put("state", "Live");
  put("pace", took < 900 ? "" : `, ${each.toFixed(1)} messages/s`);
}

function changed(): void {
  if (isPending || !last) return;
  isPending = true;
  requestAnimationFrame((now) => {
    isPending = false;
    if (!last) return;
    if (now - written >= TEXT_EVERY || !link.isLive) {
      written = now;
      writeMachine(last);
      writeServer(last);
      writeCrowd(last);
      writeStages(last);
      if (link.isLive) writeState(last.time);
    }
    writeEvictions(last);
    sayEvictions(last.evictions[0], now);
    canvases.forEach(draw);
  });
}

// ---- theme -----------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];
const root = document.documentElement;

function setTheme(theme: string): void {
  root.dataset.theme = theme;
  put("themeName", theme);
  $("theme").ariaLabel = `Theme: ${theme}`;
  readColors();
  changed();
}

/** Returns the theme chosen before; "auto" on pages without storage. */
function storedTheme(): string {
  try {
    const stored = localStorage.getItem("theme") ?? "";
    return THEMES.includes(stored) ? stored : "auto";
  } catch {
    return "auto";
  }
}

$("theme").onclick = () => {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length] as string;
  setTheme(next);
  try {
    localStorage.setItem("theme", next);
  } catch {
    // Without storage the theme is valid as long as the page is open.
  }
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  changed();
});

// ---- connection ------------------------------------------------------------------------------------------

function setState(name: string): void {
  if (document.body.className !== name) document.body.className = name;
  $("bar").hidden = name !== "lost";
}

const link = new Link({
  message(data) {
    if (document.body.className !== "live") {
      setState("live");
      put("notice", "");
    }
    const message = JSON.parse(data) as Sample | Recall;
    if ("history" in message) recall(message);
    else take(message);
  },
  lost(retryAt) {
    // During the first attempt nothing has been lost yet.
    if (retryAt === 0 && !document.body.className) return;
    setState("lost");
    $<HTMLFieldSetElement>("play").disabled = true;
    put("notice", last ? "Connection lost" : "No connection");
    put("state", "Offline");
    put("pace", "");
    const left = Math.max(1, Math.ceil((retryAt - performance.now()) / 1000));
    put("wait", retryAt ? `, trying again in ${left}\xa0s` : ", trying again …");
  },
  quiet(ms) {
    setState("quiet");
    put("pace", "");
    put("state", `No data for ${Math.floor(ms / 1000)} s`);
  },
});

$("again").onclick = () => link.connect();
setTheme(storedTheme());
const watch = new ResizeObserver(changed);
for (const canvas of canvases) watch.observe(canvas);
