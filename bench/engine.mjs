// The engine alone, on one thread, without sockets: request heads beside undici's llhttp and http-parser-js, frames by
// size, publishing, flushing and evicting by number of clients.
//
//   node engine.mjs [--smoke] [--base FILE.wasm] [requests frames publish …]
//
// `--base` measures another engine of the same ABI in the same rounds, to show the effect of a change.

import { parseArgs } from "node:util";
import { buildEngine } from "./engine-build.mjs";
import { KINDS, SIZES, feedVariants, unmaskVariants, utf8Variants } from "./engine-frames.mjs";
import {
  CLIENTS,
  echoTurnVariants,
  evictionVariants,
  flushVariants,
  publishVariants,
  requestTurnVariants,
  topicVariants,
  webSocketBytes,
} from "./engine-publish.mjs";
import { FORMS, REQUESTS, requestVariants } from "./engine-requests.mjs";
import { measure } from "./engine-rounds.mjs";
import { header } from "./report.mjs";

function line(cells) {
  const widths = [36, 16, 9, 9, 15];
  return cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i] ?? 12)));
}

const count = (value) => (value < 100 ? value.toPrecision(3) : value.toFixed(0));

/** Prints one line for each result. `last` computes the last column. */
function print(title, results, last) {
  for (const [i, result] of results.entries()) {
    const cells = [i === 0 ? title : "", result.name, count(result.median), count(result.least)];
    cells.push(`${count(result.low)}–${count(result.high)}`, last(result, results));
    console.log(line(cells).join(" ").trimEnd());
  }
}

function head(title, ...rest) {
  console.log(`\n${line([title, "", "ns", "least", "middle 80%", ...rest]).join(" ")}`);
}

/** Returns the ratio of a result's time to that of the first result, in the same rounds. */
function times(result, results) {
  return result === results[0] ? "" : `${result.ratio.toFixed(2)}x`;
}

function requests(engine, options) {
  for (const form of FORMS) {
    head(`request head as ${form}`, "÷ ringcast");
    for (const request of REQUESTS) {
      const results = measure(requestVariants(engine, request, form), options);
      print(`${request.name}, ${request.data.length} B`, results, times);
    }
  }
}

function frames(engine, options) {
  const rate = (size) => (result) => `${(size / result.median).toFixed(2)} GB/s`;
  head("frames");
  for (const size of SIZES) {
    print(`mask, ${size} B`, measure(unmaskVariants(engine, size), options), rate(size));
    for (const kind of KINDS) {
      print(`${kind}, ${size} B`, measure(utf8Variants(engine, kind, size), options), rate(size));
    }
    for (const kind of ["binary", ...KINDS]) {
      print(
        `frame of ${kind}, ${size} B`,
        measure(feedVariants(engine, kind, size), options),
        rate(size),
      );
    }
  }
}

function publish(engine, options) {
  head("publish, 64 B");
  for (const clients of CLIENTS) {
    print(`${clients} clients`, measure(publishVariants(engine, clients), options), times);
  }
  for (const messages of [1, 16]) {
    head(`flush of ${messages}, for each client`);
    for (const clients of [...CLIENTS.slice(0, 2), 200, ...CLIENTS.slice(2)]) {
      print(
        `${clients} clients`,
        measure(flushVariants(engine, clients, messages), options),
        times,
      );
    }
  }
  head("flush of topics, a delivery");
  for (const clients of [1000, 200]) {
    print(`${clients} clients`, measure(topicVariants(engine, clients), options), times);
  }
}

function evict(engine, options) {
  head("eviction");
  for (const clients of CLIENTS) {
    const rounds = { ...options, rounds: clients > 1000 ? 10 : 60 };
    print(`${clients} clients`, measure(evictionVariants(engine, clients), rounds), times);
  }
}

function turns(engine, options) {
  head("one turn");
  print("GET, 3 fields, 200", measure(requestTurnVariants(engine), options), times);
  print("echo of 40 B", measure(echoTurnVariants(engine), options), times);
  console.log(`\nan idle WebSocket: ${webSocketBytes(engine)} B of the engine's memory`);
}

const CASES = { requests, frames, publish, evict, turns };

try {
  const { values, positionals } = parseArgs({
    options: { smoke: { type: "boolean", default: false }, base: { type: "string" } },
    allowPositionals: true,
  });
  const chosen = positionals.length === 0 ? Object.keys(CASES) : positionals;
  const unknown = chosen.filter((name) => !Object.hasOwn(CASES, name));
  if (unknown.length > 0) {
    throw new Error(`no case ${unknown}; there are ${Object.keys(CASES).join(" ")}`);
  }
  const engine = await buildEngine(values.base);
  console.log(header());
  for (const name of chosen) CASES[name](engine, { smoke: values.smoke });
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
