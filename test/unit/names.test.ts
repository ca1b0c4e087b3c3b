// The table of virtual hosts' names, also against a model that tries each name in turn.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Random } from "../../host/testing/random";
import { type ListedName, Names } from "../../host/shared/text/names";

const names = suite("names");

const ALL = 0xffff;

function tableOf(list: readonly string[], listeners = ALL): (host: string, at?: number) => string {
  const table = new Names(list.map((name) => ({ name, listeners })));
  return (host, at = 1) => list[table.findText(host, at) - 1] ?? "none";
}

const LIST = ["a.example", "*.b.example", ".c.example", "x.b.example", "[::1]", "127.0.0.1"];
const FOUND: readonly (readonly [host: string, name: string])[] = [
  ["a.example", "a.example"],
  ["A.ExAmPlE", "a.example"],
  ["a.example.", "a.example"],
  ["a.example:443", "a.example"],
  ["a.example:", "a.example"],
  ["a.example.:8080", "a.example"],
  ["b.a.example", "none"],
  ["example", "none"],
  ["b.example", "none"],
  ["y.b.example", "*.b.example"],
  ["y.B.example.:1", "*.b.example"],
  ["x.b.example", "x.b.example"],
  ["z.y.b.example", "none"],
  [".b.example", "none"],
  ["c.example", ".c.example"],
  ["a.c.example", ".c.example"],
  ["a.b.c.example", ".c.example"],
  ["xc.example", "none"],
  ["a..c.example", "none"],
  [".c.example", "none"],
  ["c.example..", "none"],
  ["[::1]", "[::1]"],
  ["[::1]:80", "[::1]"],
  ["[::2]", "none"],
  ["127.0.0.1:443", "127.0.0.1"],
  ["", "none"],
  [":80", "none"],
  [".", "none"],
  [`${"a.".repeat(130)}c.example`, "none"],
  [`${"a.".repeat(120)}c.example`, ".c.example"],
  ["\u00e1.example", "none"],
  ["\u2561.example", "none"],
];

names("are found without their port, one dot at the end, and the case of letters", () => {
  const find = tableOf(LIST);
  for (const [host, name] of FOUND) assert.is(find(host), name, host);
});

names("of one label come before any depth, of which the longest is found, and * is last", () => {
  const find = tableOf(["*", ".example", ".b.example", "*.b.example", "a.b.example"]);
  for (const [host, name] of [
    ["a.b.example", "a.b.example"],
    ["c.b.example", "*.b.example"],
    ["b.example", ".b.example"],
    ["d.c.b.example", ".b.example"],
    ["c.example", ".example"],
    ["example", ".example"],
    ["other", "*"],
    ["", "*"],
    ["a..b", "*"],
    ["x".repeat(1000), "*"],
  ] as const)
    assert.is(find(host), name, host);
});

names("are not found at other listeners, where the next one is", () => {
  const list: ListedName[] = [
    { name: "a.example", listeners: 1 },
    { name: "*.example", listeners: 2 },
    { name: ".example", listeners: 1 | 4 },
    { name: "*", listeners: 1 << 31 },
  ];
  const table = new Names(list);
  const found = [1, 2, 4, 8, 1 << 31, -1].map((at) => table.findText("a.example", at));
  assert.equal(found, [1, 2, 3, 0, 4, 1]);
  assert.is(table.findText("a.example", 1 | 2), 1);
});

/** Returns the name of a host by trying each. */
function slowFind(list: readonly string[], host: string): string {
  const name = host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  const labels = name.split(".");
  const any = list.includes("*") ? "*" : "none";
  if (name === "" || labels.includes("")) return any;
  if (list.includes(name)) return name;
  const star = `*.${labels.slice(1).join(".")}`;
  if (labels.length > 1 && list.includes(star)) return star;
  for (let i = 0; i < labels.length; i++) {
    const deep = `.${labels.slice(i).join(".")}`;
    if (list.includes(deep)) return deep;
  }
  return any;
}

names("are found as by a model, for random lists and hosts", () => {
  const random = new Random(7);
  const label = (): string => ["a", "b", "cc", "A", ""][random.int(0, 4)] as string;
  const host = (): string => Array.from({ length: random.int(1, 4) }, label).join(".");
  let found = 0;
  for (let round = 0; round < 400; round++) {
    const list = new Set<string>(random.int(0, 3) === 0 ? ["*"] : []);
    for (let i = random.int(1, 30); i > 0; i--) {
      const name = host().toLowerCase();
      if (!name.split(".").includes("")) list.add(["", "*.", "."][random.int(0, 2)] + name);
    }
    const all = [...list];
    const find = tableOf(all);
    for (let i = 0; i < 50; i++) {
      const asked = host() + ["", "", ".", ":1", ":"][random.int(0, 4)];
      const name = slowFind(all, asked);
      assert.is(find(asked), name, `${asked} in ${all.join(" ")}`);
      if (name !== "none") found++;
    }
  }
  assert.ok(found > 1000, `${found} were found`);
});

names("are looked up in bytes that lie anywhere", () => {
  const bytes = Buffer.from("Host: A.Example:8080\r\n");
  const table = new Names([{ name: "a.example", listeners: 1 }]);
  assert.is(table.find(bytes, 6, 20, 1), 1);
  assert.is(table.find(bytes, 7, 20, 1), 0);
  assert.is(table.find(bytes, 6, 21, 1), 0);
});

names.run();
