// `ringcast stats URL`: shows the metrics of a running server, from OpenMetrics or JSON.

import { type Flag, type Given, numberOf } from "./flags";
import { bold, onSignal, say, table } from "./terminal";
import { Failure, UsageError, bytesText, countText, parseTime, secondsText } from "./values";

export const STATS_FLAGS: readonly Flag[] = [
  { name: "watch", text: "Repeat, and show changes per second." },
  { name: "interval", value: "TIME", text: "Interval of --watch.", range: "Default 1 s." },
];

/** Timeout of a response in ms. */
const TIMEOUT = 5000;
/** Bytes of a response, decoded. A longer one is an error. A server with 1,000 topics and more sends about 100 KiB. */
const BYTES_LIMIT = 4194304;
/** Figures shown at most; the number of further ones is printed instead of them. */
const ROWS_LIMIT = 1000;
/** Characters of a name that are shown. The rest is cut. */
const NAME_LIMIT = 200;
/** Depth of objects in JSON that is read. Deeper ones are ignored. */
const DEPTH_LIMIT = 8;

/** Figures by name, in the order of the response. */
type Figures = ReadonlyMap<string, number>;

function flatten(value: object, names: readonly string[], into: Map<string, number>): void {
  for (const [name, one] of Object.entries(value)) {
    const all = [...names, name];
    if (typeof one === "number") into.set(all.join("."), one);
    // Lists are skipped, because their elements have no names.
    else if (typeof one === "object" && one !== null && !Array.isArray(one))
      if (all.length < DEPTH_LIMIT) flatten(one, all, into);
  }
}

/** Returns the figures of a response. @throws Failure when it is neither metrics nor statistics */
export function readFigures(text: string, type: string): Figures {
  const figures = new Map<string, number>();
  if (/json/.test(type)) {
    try {
      flatten(JSON.parse(text) as object, [], figures);
    } catch {
      // Reported below.
    }
  } else {
    for (const line of text.split("\n")) {
      const [, name = "", value] = /^([a-zA-Z_:][\w:]*(?:\{[^}]*\})?) (\S+)/.exec(line) ?? [];
      if (name) figures.set(name, Number(value?.replace("+Inf", "Infinity")));
    }
  }
  if (figures.size === 0) throw new Failure("the response has neither metrics nor statistics");
  return figures;
}

function valueText(name: string, value: number): string {
  if (/seconds/.test(name)) return secondsText(value);
  if (/bytes|memory|[_.]used/i.test(name)) return bytesText(value);
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}

/** Returns true for figures that only grow. */
function isCounter(name: string, isJson: boolean): boolean {
  const gauges =
    /^(connections|webSockets|topics|subscriptions|addresses|memory|ring|receivePool|replyPool|pool)\b/;
  return isJson ? !gauges.test(name) : /_total(\{|$)/.test(name);
}

/** Returns the rows of a table. @param before the figures `seconds` earlier, to show rates */
export function rowsOf(
  figures: Figures,
  before: Figures | undefined,
  seconds: number,
): [string, string, string][] {
  const isJson = !figures.has("ringcast_connections");
  const rows: [string, string, string][] = [];
  let more = 0;
  for (const [name, value] of figures) {
    // Empty classes of the lag's distribution are not worth a row.
    if (name.includes("_bucket{") && value === 0) continue;
    if (rows.length === ROWS_LIMIT) {
      more++;
      continue;
    }
    const whole = name.replace(/^ringcast_/, "").replace(/_total/, "");
    const short = whole.length > NAME_LIMIT ? `${whole.slice(0, NAME_LIMIT)}…` : whole;
    const last = before?.get(name);
    const rate = last === undefined ? 0 : (value - last) / seconds;
    const per = /bytes/i.test(name) ? bytesText(rate) : countText(rate);
    const change = rate > 0 && isCounter(name, isJson) ? `${per}/s` : "";
    rows.push([`  ${short}`, valueText(name, value), change]);
  }
  if (more > 0) rows.push([`  and ${more} more`, "", ""]);
  return rows;
}

/** Returns the text of a response. @throws Failure when it is longer than BYTES_LIMIT; the rest is not read */
async function textOf({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let length = 0; reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > BYTES_LIMIT) {
      await reader.cancel();
      throw new Failure(`the response is longer than ${bytesText(BYTES_LIMIT)}`);
    }
    text += decoder.decode(value, { stream: true });
  }
  return text + decoder.decode();
}

async function get(url: URL): Promise<{ status: number; text: string; type: string }> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT) });
    const text = await textOf(answer);
    return { status: answer.status, text, type: answer.headers.get("content-type") ?? "" };
  } catch (error) {
    const { cause, message } = error as Error & { cause?: NodeJS.ErrnoException };
    throw new Failure(`${url.href}: ${cause?.code ?? cause?.message ?? message}`);
  }
}

/** Returns the URLs to try: the given one, or the usual places of metrics. @throws UsageError */
function candidates(text: string): URL[] {
  try {
    const url = new URL(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`);
    url.protocol = url.protocol.replace(/^ws/, "http");
    if (/^https?:$/.test(url.protocol)) {
      if (url.pathname !== "/") return [url];
      return ["/metrics", "/stats"].map((path) => new URL(path, url));
    }
  } catch {
    // Reported below.
  }
  throw new UsageError(`${text}: is not a URL such as http://localhost:8080/`);
}

/** Returns the first of some URLs that has figures. @throws Failure */
async function findFigures(urls: readonly URL[]): Promise<{ url: URL; figures: Figures }> {
  let refused = "";
  for (const url of urls) {
    const { status, text, type } = await get(url);
    if (status === 200 && /json|openmetrics|text\/plain/.test(type))
      return { url, figures: readFigures(text, type) };
    const hint = status === 403 ? " (metrics.addresses lists the clients that may read them)" : "";
    refused ||= `${url.href}: the response is ${status}${hint}`;
  }
  throw new Failure(refused);
}

function show(url: URL, rows: readonly [string, string, string][]): void {
  say(`${bold(url.href)}\n${table(rows)}`);
}

export async function runStats(text: string, given: Given): Promise<void> {
  const read = (time: string): number => parseTime(time, "s");
  const interval = numberOf(given, "interval", {
    read,
    min: 0.1,
    max: 3600,
    standard: 1,
    whole: false,
  });
  let { url, figures } = await findFigures(candidates(text));
  show(url, rowsOf(figures, undefined, 1));
  if (given.get("watch") !== true) return;
  let stop = (): void => undefined;
  const stopped = new Promise<"stopped">((resolve) => {
    stop = () => resolve("stopped");
  });
  const off = onSignal(stop);
  let at = performance.now();
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const wait = new Promise<"on">((resolve) => {
      timer = setTimeout(() => resolve("on"), interval * 1000);
    });
    if ((await Promise.race([wait, stopped])) === "stopped") {
      clearTimeout(timer);
      break;
    }
    const next = await findFigures([url]);
    const now = performance.now();
    if (process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
    show(url, rowsOf(next.figures, figures, (now - at) / 1000));
    figures = next.figures;
    url = next.url;
    at = now;
  }
  off();
}
