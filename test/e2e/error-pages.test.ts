// Error pages: in refusals of the server and in responses without a body, wherever the handler runs; and how they are
// read at the start.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Ground, type TestAnswer, fieldOf, groundSuites, textOf } from "./ground";
import { Wire, takeAnswer, until } from "./peer";
import { portOf } from "../lib/port";

const HTML = "text/html; charset=utf-8";
const LONG = "long ".repeat(13107);
const PAGES: NonNullable<Options["errorPages"]> = {
  400: { type: HTML, body: "<h1>wrong</h1>" },
  404: { type: HTML, body: "<h1>nichts da: \u00e4</h1>" },
  431: { type: "text/plain", body: Buffer.from(LONG) },
  500: { type: "application/json", body: '{"error":"ours"}' },
  503: { type: HTML, body: "<h1>later</h1>" },
};
const textAt = (status: number): string => {
  const { body } = PAGES[status] as { body: string | Uint8Array };
  return Buffer.from(body as string).toString();
};

const get = (target: string, method = "GET", fields = ""): string =>
  `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

/** Asserts that a response is the page of its status. */
function checkPage(answer: TestAnswer | undefined, status: number, isHead = false): void {
  assert.ok(answer);
  const type = (PAGES[status] as { type: string }).type;
  assert.equal([answer.status, fieldOf(answer, "content-type")], [status, type]);
  const page = textAt(status);
  assert.is(fieldOf(answer, "content-length"), String(Buffer.byteLength(page)));
  assert.is(textOf(answer), isHead ? "" : page);
}

async function one(ground: Ground, text: string, method = "GET"): Promise<TestAnswer> {
  return (await ground.ask(text, [method]))[0] as TestAnswer;
}

groundSuites("error pages", "error-pages", (test, name) => {
  test(
    "a response without a body and a type has its status's page",
    async (ground) => {
      for (const target of ["/empty", "/zero", "/fields", "/later", "/close"]) {
        checkPage(await one(ground, get(target)), 404);
        checkPage(await one(ground, get(target, "HEAD"), "HEAD"), 404, true);
      }
      const fields = await one(ground, get("/fields"));
      assert.equal([fieldOf(fields, "x-a"), fieldOf(fields, "x-b")], ["1", "2"]);
      const busy = await one(ground, get("/empty/503"));
      checkPage(busy, 503);
      assert.is(fieldOf(busy, "retry-after"), "7");
      assert.is(fieldOf(await one(ground, get("/close")), "connection"), "close");
    },
    { errorPages: PAGES },
  );

  test(
    "a response with a body, a type or a coding is left alone, and so is a status without a page",
    async (ground) => {
      const statuses = { "/empty/418": 418, "/empty/200": 200 };
      for (const [target, status] of Object.entries(statuses)) {
        const answer = await one(ground, get(target));
        const { length } = answer.body;
        assert.equal(
          [answer.status, length, fieldOf(answer, "content-type")],
          [status, 0, undefined],
        );
      }
      for (const target of ["/text", "/bytes"])
        assert.is(textOf(await one(ground, get(target))), "mine", target);
      for (const target of ["/typed", "/typed/field", "/static", "/coded", "/begin"]) {
        const answer = await one(ground, get(target));
        assert.equal([answer.status, textOf(answer)], [404, ""], target);
      }
    },
    { errorPages: PAGES },
  );

  test(
    "a connection continues after a page, and its responses keep their order",
    async (ground) => {
      const targets = ["/empty", "/text", "/empty", "/empty/503", "/later", "/bytes"];
      const methods = ["GET", "GET", "HEAD", "GET", "GET", "GET"];
      const asked = targets.map((target, i) => get(target, methods[i])).join("");
      const answers = await ground.ask(asked, methods);
      const bodies = answers.map((answer) => textOf(answer));
      const [none, busy] = [textAt(404), textAt(503)];
      assert.equal(bodies, [none, "mine", "", busy, none, "mine"]);
    },
    { errorPages: PAGES },
  );

  test(
    "a refusal has its status's page: an error of the handler, a wrong request, a long head",
    async (ground) => {
      checkPage(await one(ground, get("/throw")), 500);
      checkPage(await one(ground, get("/throw", "HEAD"), "HEAD"), 500, true);
      checkPage(await one(ground, "NONSENSE\r\n\r\n"), 400);
      const broken = get("/json", "POST", "Content-Length: 1\r\n");
      const fault = await one(ground, `${broken}{`);
      checkPage(fault, 400);
      assert.is(fieldOf(fault, "connection"), "keep-alive");
      const long = await one(ground, get("/empty", "GET", `X: ${"x".repeat(20000)}\r\n`));
      checkPage(long, 431);
      assert.is(fieldOf(long, "connection"), "close");
      // A status without a page has its line of text.
      const { status, body } = await one(ground, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
      assert.equal([status, Buffer.from(body).toString()], [501, "Not Implemented\n"]);
      assert.is(ground.errors.length, 2);
    },
    { errorPages: PAGES },
  );

  if (name === "memory" || name === "worker") {
    test("without pages the bodies of responses are their handler's", async (ground) => {
      assert.is(textOf(await one(ground, get("/empty"))), "");
      assert.is(textOf(await one(ground, get("/throw"))), "Internal Server Error\n");
      const fault = await one(ground, `${get("/json", "POST", "Content-Length: 1\r\n")}{`);
      assert.equal([fault.status, textOf(fault)], [400, "Bad Request\n"]);
    });
  }
});

// ---- files ------------------------------------------------------------------------------------------

const pages = suite("error pages");
let folder = "";

pages.before(() => {
  folder = mkdtempSync(path.join(tmpdir(), "ringcast-pages-"));
  writeFileSync(path.join(folder, "404.html"), "<h1>none</h1>");
  writeFileSync(path.join(folder, "400.TXT"), "wrong\n");
  writeFileSync(path.join(folder, "500.json"), "{}");
  writeFileSync(path.join(folder, "most.html"), "x".repeat(65536));
  writeFileSync(path.join(folder, "large.html"), "");
  truncateSync(path.join(folder, "large.html"), 65537);
  writeFileSync(path.join(folder, "empty.html"), "");
});

pages.after(() => rmSync(folder, { recursive: true }));

const file = (name: string): string => path.join(folder, name);

/** Returns status, type and body of the response to a request of a server without a handler. */
async function ask(server: Server, text: string): Promise<[number, string | undefined, string]> {
  const wire = await Wire.open(portOf(server));
  const { status, fields, body } = await takeAnswer(wire.write(text));
  wire.destroy();
  return [status, fields.get("content-type"), body.toString()];
}

pages("files are read at the start, by paths and URLs, and typed by their names", async () => {
  const errorPages = {
    400: file("400.TXT"),
    404: pathToFileURL(file("404.html")),
    501: pathToFileURL(file("500.json")).href,
    505: file("most.html"),
  };
  const server = await serve({ port: 0, errorPages });
  // They are not read again.
  rmSync(file("404.html"));
  try {
    const text = "text/plain; charset=utf-8";
    assert.equal(await ask(server, "NONSENSE\r\n\r\n"), [400, text, "wrong\n"]);
    assert.equal(await ask(server, get("/")), [404, HTML, "<h1>none</h1>"]);
    assert.equal(await ask(server, get("/", "BREW")), [501, "application/json", "{}"]);
    const most = await ask(server, "GET / HTTP/2.0\r\n\r\n");
    assert.equal(most, [505, HTML, "x".repeat(65536)]);
    const changing = server.configure({ errorPages: {} } as never).catch(String);
    assert.is(await changing, "TypeError: errorPages: cannot change while the server runs");
    await server.configure({ idleTimeout: 60 });
  } finally {
    await server.close();
  }
});

pages("a file that cannot be a page is one error at the start, which names the page", async () => {
  execFileSync("mkfifo", [file("pipe.html")]);
  const wrong: readonly (readonly [name: string, message: RegExp])[] = [
    ["none.html", /^errorPages\[404\]: ENOENT: no such file or directory, .*none\.html/],
    ["large.html", /^errorPages\[404\]: ".*large\.html" has 65537 bytes, not from 1 to 65536$/],
    ["empty.html", /^errorPages\[404\]: ".*empty\.html" has 0 bytes, not from 1 to 65536$/],
    ["pipe.html", /^errorPages\[404\]: ".*pipe\.html" has 0 bytes, not from 1 to 65536$/],
  ];
  for (const [name, message] of wrong) {
    const error = await serve({ port: 0, errorPages: { 404: file(name) } }).catch(
      (thrown: unknown) => thrown,
    );
    assert.instance(error, Error);
    assert.match((error as Error).message, message);
  }
});

pages("a client for which there is no slot gets the page of 503, and HEAD no body", async () => {
  const errorPages = { 503: { type: HTML, body: LONG } };
  // A pending request keeps its slot.
  const handler = { request: () => undefined };
  const server = await serve({ port: 0, maxConnections: 1, errorPages, handler });
  try {
    const port = portOf(server);
    const holder = await Wire.open(port);
    holder.write(get("/"));
    await until("asked", async () => (await server.stats()).connections === 1);
    const page = ["503", HTML, String(LONG.length), LONG.length];
    for (const [method, wanted] of [
      ["GET", page],
      ["HEAD", ["503", undefined, "0", 0]],
    ] as const) {
      const wire = await Wire.open(port);
      const { status, fields, body } = await takeAnswer(wire.write(get("/", method)), method);
      const found = [String(status), fields.get("content-type"), fields.get("content-length")];
      assert.equal([...found, body.length], wanted);
      await wire.gone();
    }
    holder.destroy();
  } finally {
    await server.close();
  }
});

pages.run();
