// The user's callbacks for events of a server: an exception in them ends nothing.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Log } from "../../host/log";
import { fileUrl } from "../e2e/peer";

const log = suite("log");

const { THROWN } = (await import(fileUrl("handlers/thrown.mjs").href)) as {
  THROWN: readonly (readonly [name: string, make: () => unknown])[];
};

const CLIENT = {
  id: 1,
  remoteAddress: "127.0.0.1",
  cause: "Evicted",
  lagBytes: 1,
  age: 1,
} as const;

/** Runs `body` and returns the lines printed to the console meanwhile, and in the microtasks after it. */
async function printed(body: () => void): Promise<string[]> {
  const lines: string[] = [];
  const { error } = console;
  console.error = (...args: unknown[]) => void lines.push(String(args[0]));
  try {
    body();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  } finally {
    console.error = error;
  }
  return lines;
}

const WAYS: readonly (readonly [string, (thrown: unknown) => unknown])[] = [
  [
    "throws",
    (thrown) => {
      throw thrown;
    },
  ],
  ["rejects with", (thrown) => Promise.reject(thrown)],
];

for (const [way, act] of WAYS) {
  for (const [name, make] of THROWN) {
    log(`an onError that ${way} ${name} is printed with the error, and called once`, async () => {
      let calls = 0;
      const all = new Log(undefined, () => {
        calls++;
        return act(make()) as undefined;
      });
      const lines = await printed(() => all.error(new Error("first"), "request"));
      assert.is(calls, 1);
      assert.equal(
        lines.map((line) => line.split(":").slice(0, 2).join(":")),
        ["ringcast: onError", "ringcast: request"],
      );
    });

    log(`an onEvict that ${way} ${name} is reported to onError`, async () => {
      const calls: string[] = [];
      const all = new Log(undefined, (error, where) => {
        assert.instance(error, Error);
        calls.push(where);
      });
      const lines = await printed(() => all.evicted([CLIENT], () => act(make()) as undefined));
      assert.equal([calls, lines], [["onEvict"], []]);
    });

    log(`a logger that ${way} ${name} loses its own line`, async () => {
      const all = new Log({ error: () => act(make()) as undefined }, undefined);
      const lines = await printed(() => all.error(make() as Error, "request"));
      assert.equal(
        lines.map((line) => line.slice(0, 17)),
        ["ringcast: logger:"],
      );
    });
  }
}

log("a client's line breaks begin no line of the console or of a logger", async () => {
  const said: string[] = [];
  const logger = { error: (_: object, message: string) => void said.push(message) };
  const error = (): Error => new Error("unknown: \x1b[2J\nringcast: fake");
  const lines = await printed(() => {
    new Log(undefined, undefined).error(error(), "message");
    new Log(logger, undefined).error(error(), "message");
  });
  assert.is(lines.length, 1);
  assert.match(
    lines[0] ?? "",
    /^ringcast: message: Error: unknown: \\x1b\[2J\n {4}ringcast: fake\n {4}at /,
  );
  assert.equal(said, ["message: unknown: \\x1b[2J\\nringcast: fake"]);
});

log("prints a value that the console cannot inspect by its description", async () => {
  const original = console.error;
  const lines: unknown[][] = [];
  console.error = (...args: unknown[]) => {
    if (args.length > 1) throw new Error("cannot be inspected");
    lines.push(args);
  };
  try {
    new Log(undefined, undefined).error(new Error("hostile"), "message");
  } finally {
    console.error = original;
  }
  assert.match(String(lines[0]), /^ringcast: message: Error: hostile\n/);
});

log.run();
