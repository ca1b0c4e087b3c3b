// test/clients.md: each cell is run again, in virtual time, and compared with the page and with the requirements.

import { readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Kind, type Results, type Work, WORKS, runWork, workTable } from "../lib/clients";

const clients = suite("clients");
const PAGE = readFileSync("test/clients.md", "utf8");

/** Seconds that a client of so many kB/s takes for a work. */
const needed = (work: Work, rate: number): number => (work === "upload" ? 1000 : 10000) / rate;

/** Bytes that a client's kernel acknowledges at once. */
const STEP = 126 * 1024;

/** The causes that may end a client that is no good any more. */
const CAUSES: Readonly<Record<string, readonly string[]>> = {
  silent: ["HeadTimeout", "ReceiveTooSlow", "IdleTimeout"],
  FIN: ["PeerClosed", "PeerEnded"],
  RST: ["PeerReset"],
  stopped: ["WriteTimeout", "TooSlow", "ReceiveTooSlow"],
  unplugged: ["WriteTimeout", "CloseTimeout"],
};

/** Seconds until a client that is no good any more is ended: some have the time for a step of acknowledgements. */
const longest = (work: Work, kind: string): number =>
  work !== "upload" && (kind === "stopped" || kind === "silent") ? 700 : 110;

/** True for a body that takes longer than `requestTimeout` where bodies are handed out whole. */
const isLate = (work: Work, kind: Kind, place: number): boolean =>
  work === "upload" && kind === 1 && place > 0;

function checkServed(work: Work, rate: number, results: Results): void {
  results.get(rate as Kind)?.forEach(({ served, ended, cause, status }, place) => {
    const cell = `${work}, ${rate} kB/s, placement ${place}`;
    if (isLate(work, rate as Kind, place)) {
      assert.equal([served, cause, status], [undefined, "RequestTimeout", 408], cell);
      return;
    }
    assert.is(cause, work === "broadcast" ? "" : "KeepAliveTimeout", cell);
    const time = needed(work, rate);
    assert.ok(
      served !== undefined && served >= time - 1 && served <= time + 2,
      `${cell}: ${served}`,
    );
    // Bytes that the client's kernel acknowledged last are read later.
    const last = work === "upload" ? served : (Math.floor(1e7 / STEP) * STEP) / 1000 / rate;
    if (ended !== undefined) assert.ok(ended - last >= 4 && ended - last <= 8, `${cell}: ${ended}`);
  });
}

function checkEnded(work: Work, results: Results): void {
  for (const [kind, causes] of Object.entries(CAUSES)) {
    for (const { ended, cause } of results.get(kind as Kind) ?? []) {
      assert.ok(causes.includes(cause), `${work}, ${kind}: ${cause}`);
      const isInTime = ended !== undefined && ended <= longest(work, kind);
      assert.ok(isInTime, `${work}, ${kind}: after ${ended} s`);
    }
  }
}

for (const work of WORKS) {
  clients(
    `${work}: clients at 1 kB/s and more are served, the others end with their cause`,
    async () => {
      const results = await runWork(work);
      for (const kind of results.keys()) {
        if (typeof kind === "number") checkServed(work, kind, results);
      }
      checkEnded(work, results);
      const table = workTable(work, results);
      assert.ok(
        PAGE.includes(`\n${table}\n`),
        `node .scripts/clients.mjs writes the page:\n${table}`,
      );
    },
  );
}

clients.run();
