// The tests of the example's front end. The real server runs in this page; no port, no network.

import { serve } from "ringcast/browser";
import { mount } from "./app.js";

const tests = [];
const test = (name, body) => tests.push({ name, body });

/** Waits until a condition holds. */
async function until(what, holds) {
  const end = performance.now() + 3000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: not within 3 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function equal(actual, expected) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

/** Lets the users of a test leave. */
const leaving = [];

/** Opens the front end of one user, with the text that it shows. */
async function user(name) {
  const element = document.createElement("section");
  document.querySelector("#stage").append(element);
  leaving.push(await mount(element, name));
  const texts = (selector) => [...element.querySelectorAll(selector)].map((it) => it.textContent);
  return {
    status: () => texts(".status")[0],
    lines: () => texts(".lines li"),
    prices: () => texts(".prices > *").join(" "),
    say(text) {
      element.querySelector("input").value = text;
      element.querySelector("form").requestSubmit();
    },
    /** On both sides: the server's `open` may run a moment after the page's. */
    async connected() {
      const isKnown = () => [...connected.values()].includes(name);
      await until(`${name} connected`, () => this.status() === "connected" && isKnown());
      return this;
    },
  };
}

test("a user connects", async () => {
  const ada = await user("ada");
  equal(ada.status(), "connecting …");
  await ada.connected();
});

test("what one says everybody reads", async () => {
  const ada = await (await user("ada")).connected();
  const bob = await (await user("bob")).connected();
  ada.say("hello, world €");
  await until("line", () => ada.lines().length === 1 && bob.lines().length === 1);
  equal(bob.lines(), ["ada: hello, world €"]);
});

test("one who comes later reads what was said", async () => {
  const ada = await (await user("ada")).connected();
  ada.say("first");
  ada.say("second");
  await until("lines", () => ada.lines().length === 2);
  const bob = await user("bob");
  equal(bob.lines(), ["ada: first", "ada: second"]);
});

test("prices tick", async (server) => {
  const ada = await (await user("ada")).connected();
  server.publish("prices", JSON.stringify({ prices: { TIN: 12.5, ZINC: 7 } }));
  server.publish("prices", JSON.stringify({ prices: { TIN: 12.75 } }));
  await until("prices", () => ada.prices() === "TIN 12.75 ZINC 7.00");
});

test("10,000 ticks a burst leave the last price on show", async (server) => {
  const ada = await (await user("ada")).connected();
  for (let i = 1; i <= 10000; i++) {
    const tick = JSON.stringify({ prices: { TIN: i / 100 } });
    while (!server.publish("prices", tick)) await server.ready();
  }
  await until("last price", () => ada.prices() === "TIN 100.00");
});

test("/quit leaves for good", async () => {
  const ada = await (await user("ada")).connected();
  ada.say("/quit");
  await until("left", () => ada.status() === "left: good bye");
  await until("the server heard", () => connected.size === 0);
});

test("a connection that is lost is made again", async (server) => {
  const ada = await (await user("ada")).connected();
  // The server of this page says who is connected: it closes that one.
  for (const id of connected.keys()) server.closeConnection(id, 1011, "restart");
  await until("lost", () => ada.status() === "lost, connecting again …");
  await ada.connected();
  equal((await server.stats()).upgraded, 2);
});

test("a page that is not there is a 404, another origin is not touched", async () => {
  equal((await fetch("http://ringcast.test/nowhere")).status, 404);
  equal((await fetch(location.href)).status, 200);
});

/** Names of connected users, by the ids of their WebSockets. */
const connected = new Map();

/** Returns the handler of the example, on the page, so that tests know the connected users. */
async function handlerOf(server) {
  const { default: make } = await import("./handler.js");
  const handler = make(server);
  return {
    ...handler,
    open(ws) {
      connected.set(ws.id, ws.data.name);
      handler.open(ws);
    },
    close: (ws) => connected.delete(ws.id),
  };
}

/** Runs a test against a server of its own, installed for its time. */
async function run({ name, body }) {
  connected.clear();
  const server = await serve({ handler: handlerOf });
  const uninstall = server.install();
  const started = performance.now();
  let problem = "";
  try {
    await body(server);
  } catch (error) {
    problem = error.message;
  }
  for (const leave of leaving.splice(0)) leave();
  uninstall();
  await server.close();
  document.querySelector("#stage").replaceChildren();
  return { name, problem, ms: performance.now() - started };
}

function show({ name, problem, ms }) {
  const item = document.createElement("li");
  item.className = problem === "" ? "passed" : "failed";
  const title = document.createElement("span");
  title.textContent = name;
  const time = document.createElement("small");
  time.textContent = `${ms.toFixed(0)} ms`;
  item.append(title, time);
  if (problem !== "") {
    const text = document.createElement("pre");
    text.textContent = problem;
    item.append(text);
  }
  document.querySelector("#results").append(item);
}

const results = [];
for (const one of tests) {
  const result = await run(one);
  results.push(result);
  show(result);
}
const failed = results.filter(({ problem }) => problem !== "").length;
const summary = document.querySelector("#summary");
summary.textContent = `${results.length - failed} of ${results.length} tests passed`;
summary.className = failed === 0 ? "passed" : "failed";
globalThis.testResults = results;
