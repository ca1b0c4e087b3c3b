// `ringcast load URL`: opens many WebSockets to one server, and measures what they receive and how soon.
//
// Invariant: at most AT_ONCE clients are opening at a time. Memory is bounded by the number of clients, whatever
// arrives.

import { descriptorLimit } from "../limits";
import { printable } from "../shared/text/printable";
import { TOKEN_CHARS } from "../shared/text/token";
import { Client, type Target, type Watcher } from "./client";
import { type Flag, type Given, numberOf, textOf } from "./flags";
import { Latency, type Times } from "./latency";
import { Progress, bold, onSignal, say } from "./terminal";
import { Failure, UsageError, bytesText, countText, parseTime, secondsText } from "./values";

/** Clients that are opening at a time at most, so that the server's backlog does not overflow. Others wait. */
const AT_ONCE = 100;
const TICK_MILLIS = 100;
/** Causes that are counted separately. Further ones are counted as "others". */
const CAUSES = 30;
/** A field as `--header` takes it. */
const FIELD = new RegExp(String.raw`^${TOKEN_CHARS}+:[\t -~\x80-\xff]*$`);
/** Descriptors reserved for anything but clients. */
const OTHER_DESCRIPTORS = 32;

export const LOAD_FLAGS: readonly Flag[] = [
  { name: "clients", value: "N", text: "WebSockets to open.", range: "Default 100; 1 … 1000000." },
  {
    name: "slow",
    value: "N",
    text: "How many of them stop reading once they are open.",
    range: "Default 0.",
  },
  {
    name: "seconds",
    value: "TIME",
    text: "How long to count, once all are open.",
    range: "Default 10.",
  },
  { name: "path", value: "PATH", text: "Path and query, instead of the URL's." },
  { name: "rate", value: "N", text: "WebSockets to open a second.", range: "Default: no limit." },
  {
    name: "header",
    value: "FIELD",
    text: 'A field of the handshake, such as "Authorization: …".',
    isList: true,
  },
  { name: "insecure", text: "Accept any certificate." },
  { name: "open-timeout", value: "TIME", text: "Timeout of opening one.", range: "Default 10 s." },
  { name: "json", text: "Print the summary as JSON." },
];

/** Returns the target of the clients. @throws UsageError */
function targetOf(text: string, given: Given): Target {
  const path = textOf(given, "path");
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(text) ? text : `ws://${text}`);
    if (path !== undefined) url = new URL(path, url);
  } catch {
    throw new UsageError(`${text}: is not a URL such as ws://localhost:8080/`);
  }
  url.protocol = url.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(url.protocol))
    throw new UsageError(`${text}: is none of ws://, wss://, http://, https://`);
  const headers = given.get("header");
  const fields = Array.isArray(headers) ? headers : [];
  for (const field of fields) {
    if (!FIELD.test(field))
      throw new UsageError(`--header: ${JSON.stringify(field)} is not "Name: value"`);
  }
  const openMillis = secondsOf(given, "open-timeout", 10) * 1000;
  return { url, headers: fields, isInsecure: given.get("insecure") === true, openMillis };
}

function secondsOf(given: Given, name: string, standard: number): number {
  const read = (text: string): number => parseTime(text, "s");
  return numberOf(given, name, { read, min: 0.1, max: 86400, standard, whole: false });
}

/** The parameters of a run. */
interface Plan {
  readonly target: Target;
  readonly clients: number;
  readonly slow: number;
  readonly seconds: number;
  /** Clients opened per second; 0: no limit. */
  readonly rate: number;
}

function planOf(url: string, given: Given): Plan {
  const most = Math.min(descriptorLimit() - OTHER_DESCRIPTORS, 1000000);
  const clients = numberOf(given, "clients", { min: 1, max: most, standard: Math.min(100, most) });
  return {
    target: targetOf(url, given),
    clients,
    slow: numberOf(given, "slow", { max: clients, standard: 0 }),
    seconds: secondsOf(given, "seconds", 10),
    rate: numberOf(given, "rate", { max: 1000000, standard: 0 }),
  };
}

/** Counts by cause. */
class Causes {
  readonly counts = new Map<string, number>();

  add(cause: string): void {
    const text = printable(cause);
    const name = this.counts.has(text) || this.counts.size < CAUSES ? text : "others";
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }
}

/** The results of a run, as `--json` prints them. Times are in ms. */
interface Summary {
  readonly clients: number;
  readonly connected: number;
  readonly slow: number;
  readonly seconds: number;
  readonly messages: number;
  readonly bytes: number;
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Kind of the times: since the time in a message, after the first client that received it, or none measured. */
  readonly latency: {
    readonly kind: "sent" | "spread" | "none";
    readonly p50?: number;
    readonly p99?: number;
  };
  readonly missed: number;
  readonly failed: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  readonly lostSlow: Readonly<Record<string, number>>;
}

class Run implements Watcher {
  readonly #plan: Plan;
  readonly #clients = new Set<Client>();
  readonly #slow = new Set<Client>();
  readonly #latency = new Latency();
  readonly #failed = new Causes();
  readonly #lost = new Causes();
  readonly #lostSlow = new Causes();
  #started = 0;
  #opening = 0;
  #opened = 0;
  #open = 0;
  #messages = 0;
  #bytes = 0;
  /** Messages, bytes and time when counting began. */
  #base: { messages: number; bytes: number; at: number } | undefined;
  #isOver = false;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  opened(): void {
    this.#opening--;
    this.#opened++;
    this.#open++;
  }

  ended(client: Client, cause: string): void {
    if (this.#isOver) return;
    this.#clients.delete(client);
    if (!client.isOpened) {
      this.#opening--;
      this.#failed.add(cause);
      return;
    }
    this.#open--;
    (this.#slow.delete(client) ? this.#lostSlow : this.#lost).add(cause);
  }

  read(bytes: number): void {
    this.#bytes += bytes;
    this.#latency.read();
  }

  message(client: Client, length: number, buffer: Buffer | undefined, start: number): void {
    this.#messages++;
    this.#latency.message(client, length, buffer, start);
  }

  /** Opens as many clients as are allowed now. @param due number of clients that may have been started by now */
  #openSome(due: number): void {
    const { clients, slow, target } = this.#plan;
    while (this.#started < Math.min(clients, due) && this.#opening < AT_ONCE) {
      // Slow clients are spread evenly among the others.
      const next = this.#started + 1;
      const isSlow =
        Math.floor((next * slow) / clients) > Math.floor((this.#started * slow) / clients);
      this.#started = next;
      this.#opening++;
      const client = new Client(target, this, isSlow ? "slow" : "reading");
      this.#clients.add(client);
      if (isSlow) this.#slow.add(client);
    }
  }

  get #isOpening(): boolean {
    return this.#started < this.#plan.clients || this.#opening > 0;
  }

  #line(rates: string): string {
    const lost = this.#opened - this.#open;
    const fell = lost > 0 ? `, ${lost} lost` : "";
    return `${this.#open} of ${this.#plan.clients} clients${fell} · ${rates}`;
  }

  /** Opens the clients, counts, and closes them. */
  async run(): Promise<Summary> {
    const { rate, seconds } = this.#plan;
    const progress = new Progress();
    const begun = performance.now();
    let stop = (): void => undefined;
    const off = onSignal(() => stop());
    await new Promise<void>((resolve) => {
      let before = { at: begun, messages: 0, bytes: 0 };
      const tick = (): void => {
        const now = performance.now();
        this.#openSome(rate > 0 ? ((now - begun) / 1000) * rate + 1 : this.#plan.clients);
        if (!this.#isOpening && !this.#base) {
          clearInterval(eager);
          this.#base = { messages: this.#messages, bytes: this.#bytes, at: now };
        }
        if (now - before.at >= 500) {
          const per = (now - before.at) / 1000;
          const messages = countText((this.#messages - before.messages) / per);
          const bytes = bytesText((this.#bytes - before.bytes) / per);
          before = { at: now, messages: this.#messages, bytes: this.#bytes };
          progress.show(this.#line(`${messages} messages/s · ${bytes}/s`));
        }
        const isDone = this.#base && (now - this.#base.at >= seconds * 1000 || this.#open === 0);
        if (isDone) stop();
      };
      const timer = setInterval(tick, TICK_MILLIS);
      // Opens the next clients as soon as others are open, not only at the next tick.
      const eager = setInterval(() => {
        if (rate === 0 && this.#isOpening) this.#openSome(this.#plan.clients);
      }, 2);
      stop = () => {
        clearInterval(timer);
        clearInterval(eager);
        resolve();
      };
      tick();
    });
    off();
    progress.clear();
    const summary = this.#summary();
    this.#isOver = true;
    for (const client of this.#clients) client.leave();
    return summary;
  }

  #summary(): Summary {
    const now = performance.now();
    const base = this.#base ?? { messages: 0, bytes: 0, at: now };
    const seconds = (now - base.at) / 1000;
    const messages = this.#messages - base.messages;
    const bytes = this.#bytes - base.bytes;
    const per = (value: number): number => (seconds > 0 ? value / seconds : 0);
    const latency = this.#latency;
    latency.settle();
    const timesOf = (kind: "sent" | "spread", times: Times): Summary["latency"] => ({
      kind,
      p50: times.percentile(0.5),
      p99: times.percentile(0.99),
    });
    const isTimed = latency.sent.count > 0;
    const isSpread = latency.spread.count > 0;
    return {
      clients: this.#plan.clients,
      connected: this.#opened,
      slow: this.#plan.slow,
      seconds,
      messages,
      bytes,
      messagesPerSecond: per(messages),
      bytesPerSecond: per(bytes),
      latency: isTimed
        ? timesOf("sent", latency.sent)
        : isSpread
          ? timesOf("spread", latency.spread)
          : { kind: "none" },
      missed: latency.missed,
      failed: Object.fromEntries(this.#failed.counts),
      lost: Object.fromEntries(this.#lost.counts),
      lostSlow: Object.fromEntries(this.#lostSlow.counts),
    };
  }
}

const KINDS: Readonly<Record<Summary["latency"]["kind"], string>> = {
  sent: "since the time in a message (clocks must agree)",
  spread: "after the first client that received the same message",
  none: "not measured: messages contain no time, and arrive without a pause or at only one client",
};

function causesText(causes: Readonly<Record<string, number>>): string {
  const all = Object.entries(causes).map(([cause, count]) => `${count} × ${cause}`);
  return all.length > 0 ? all.join(", ") : "none";
}

function print(summary: Summary): void {
  const { latency, seconds, missed, slow } = summary;
  const ms = (value = 0): string => secondsText(value / 1000);
  const times = latency.kind === "none" ? "–" : `p50 ${ms(latency.p50)}, p99 ${ms(latency.p99)}`;
  const rows: [string, string][] = [
    ["connected", `${summary.connected} of ${summary.clients}${slow > 0 ? `, ${slow} slow` : ""}`],
    ["not connected", causesText(summary.failed)],
    [
      "deliveries",
      `${countText(summary.messagesPerSecond)}/s, ${bytesText(summary.bytesPerSecond)}/s`,
    ],
    ["", `${summary.messages} messages in ${secondsText(seconds)}`],
    ["latency", times],
    ["", summary.messages > 0 ? KINDS[latency.kind] : "no message arrived"],
    ["lost", causesText(summary.lost)],
    ...(slow > 0 ? [["lost, slow ones", causesText(summary.lostSlow)] as [string, string]] : []),
    ["missed", missed > 0 ? `${missed} messages` : "none seen"],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, text] of rows) say(`${bold(name.padEnd(width))}  ${text}`);
}

/** Runs the load. @throws UsageError; Failure when no client could connect */
export async function runLoad(url: string, given: Given): Promise<void> {
  const plan = planOf(url, given);
  const summary = await new Run(plan).run();
  if (given.get("json") === true) say(JSON.stringify(summary));
  else print(summary);
  if (summary.connected === 0) throw new Failure(`no client connected to ${plan.target.url.href}`);
}
