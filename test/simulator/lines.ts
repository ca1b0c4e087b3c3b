// The access log of a run. Each response that a client has received must have its line, in the same order, and a line
// of a client names a request of that client, never one of another.

import type { LineFile } from "../../worker/net/transport";
import { AccessLog } from "../../worker/request/access-log";
import type { Client } from "./client";
import { BROKEN } from "./wrong";

/** A line, as JSON. */
interface Line {
  readonly address: string;
  readonly status: number;
  readonly method?: string;
  readonly target?: string;
}

/** Targets of requests that break the protocol, which do not name their client. */
const BROKEN_TARGETS = new Set(
  BROKEN.map(({ text }) => text.split(" ")[1]).filter((one) => one !== undefined),
);

/** Returns true for a refusal that an EventSource gets as a 200, because any other status would end it for ever. */
function isHidden(client: Client, line: number, answer: number | undefined): boolean {
  return client.isSource && answer === 200 && [429, 500, 503].includes(line);
}

/** The log's own clock, which has no part in the run: lines are written when there are many, and at the end. */
const STILL = { now: () => 0, date: () => 0, defer: () => undefined, after: () => () => undefined };

export class Lines implements LineFile {
  readonly log = new AccessLog(this, "json", {
    clock: STILL,
    failed: (error) => {
      throw error;
    },
  });
  #text = "";
  readonly #answers = new Map<Client, number[]>();

  constructor() {
    this.log.open();
  }

  open(): void {}
  close(): void {}

  append(lines: Uint8Array, done: () => void): void {
    this.#text += Buffer.from(lines).toString("latin1");
    done();
  }

  /** A client has received a response. */
  answered(client: Client, status: number): void {
    if (status === 100) return;
    const answers = this.#answers.get(client) ?? [];
    answers.push(status);
    this.#answers.set(client, answers);
  }

  /** Checks all lines, at the end of a run. */
  check(clients: ReadonlyMap<number, Client>): void {
    void this.log.close();
    const logged = new Map<number, number[]>();
    for (const text of this.#text.split("\n").slice(0, -1)) {
      const { address, status, target = "-" } = JSON.parse(text) as Line;
      const id = Number(address.slice(1));
      const own = `/${id}`;
      if (target !== "-" && target !== own && !target.startsWith(`${own}?`)) {
        if (!BROKEN_TARGETS.has(target)) throw new Error(`a line of client ${id}: ${text}`);
      }
      const all = logged.get(id) ?? [];
      all.push(status);
      logged.set(id, all);
    }
    if (this.log.dropped > 0) throw new Error(`${this.log.dropped} lines were dropped`);
    for (const client of clients.values()) {
      const answers = this.#answers.get(client) ?? [];
      const lines = (logged.get(client.id) ?? []).slice(0, answers.length);
      const isSame = lines.every(
        (line, i) => line === answers[i] || isHidden(client, line, answers[i]),
      );
      if (!isSame || lines.length !== answers.length)
        client.fail(`it got ${answers}; logged: ${lines}`);
    }
  }
}
