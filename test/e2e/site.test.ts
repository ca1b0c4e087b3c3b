// The whole site of test/example/site, which one configuration file describes, started by the command: with curl, in
// Chromium, and behind nginx.

import { X509Certificate, createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { LookupFunction } from "node:net";
import path from "node:path";
import type { Page } from "playwright-core";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { type Edit, Guest, statusOf } from "./neighbour";
import { inFrontOf } from "./nginx";
import { CERTIFICATES, DOCS, PASSWORD, type Reply, type Site, WWW, withSite } from "./site";

const site = suite("site");

const LOGIN = ["--data-urlencode", "name=ann a.", "--data-urlencode", `password=${PASSWORD}`];

/** Asks for each target of a host, and compares the statuses. */
async function statuses(
  one: Site,
  host: string,
  expected: Readonly<Record<string, number>>,
): Promise<void> {
  const found: Record<string, number> = {};
  for (const target of Object.keys(expected))
    found[target] = (await one.curl(one.url(host, target))).status;
  assert.equal(found, expected);
}

site("curl gets files, the archive, redirects and errors of both hosts", () =>
  withSite(async (one) => {
    const plain = `http://${WWW}:${one.port}`;
    const moved = await one.curl(`${plain}/a?b=c`);
    assert.equal([moved.status, moved.fields.location], [308, one.url(WWW, "/a?b=c")]);
    const home = await one.curl(one.url(WWW));
    assert.equal([home.status, home.fields["content-type"]], [200, "text/html; charset=utf-8"]);
    assert.match(home.body, /<h1>A site/);
    assert.is(home.fields["content-security-policy"], "default-src 'self'; img-src data:");
    const { etag = "", "content-length": length = "" } = home.fields;
    const head = await one.curl(one.url(WWW), "-I");
    assert.equal([head.status, head.fields["content-length"], head.body], [200, length, ""]);
    assert.is((await one.curl(one.url(WWW), "-H", `If-None-Match: ${etag}`)).status, 304);
    const part = await one.curl(one.url(WWW), "-r", "0-8");
    assert.equal([part.status, part.body], [206, "<!doctype"]);
    assert.match((await one.curl(one.url(WWW, "/ringcast/client.js"))).body, /adoptedStyleSheets/);

    const docs = await one.curl(one.url(WWW, "/docs/book/chapter.txt?q=%20x"));
    assert.equal(
      [docs.status, docs.fields.location],
      [301, one.url(DOCS, "/book/chapter.txt?q=%20x")],
    );
    const followed = await one.curl(one.url(WWW, "/docs/book/chapter.txt"), "-L", "-k");
    assert.match(followed.body, /^A chapter\. /);
    const packed = await one.curl(one.url(DOCS, "/book/chapter.txt"), "--compressed");
    assert.is(packed.fields["content-encoding"], "gzip");
    assert.is(packed.body, followed.body);
    assert.is((await one.curl(one.url(DOCS, "/stored.bin"), "-r", "3-5")).body, "345");
    await statuses(one, DOCS, {
      "/": 200,
      "/book": 404,
      "/outside.txt": 404,
      "/../outside.txt": 404,
    });

    const none = await one.curl(one.url(WWW, "/none"));
    assert.equal([none.status, none.fields["content-type"]], [404, "text/html; charset=utf-8"]);
    assert.match(none.body, /There is no such page/);
    await statuses(one, WWW, {
      "/../ringcast.json": 404,
      "/..%2fringcast.json": 404,
      "/%2e%2e/ringcast.json": 404,
      "//members/minutes.txt": 404,
      "/members//minutes.txt": 404,
      "/members/%2e/minutes.txt": 404,
      "/members/minutes.txt": 303,
      "/%6dembers/minutes.txt": 404,
      "/members/minutes.txt%00": 404,
      "/keys/www.key": 404,
      "/.htaccess": 404,
      "/%": 404,
      "/site.css": 200,
      "/%73ite.css": 200,
    });
    // Another host than the site's two, by its name and by its address.
    assert.is((await one.curl(one.url("localhost"))).status, 421);
    assert.is((await one.curl(one.url(WWW), "-H", "Host: evil.example")).status, 421);
    assert.is((await one.curl(`http://${WWW}:${one.securePort}/`)).status, 400);
    assert.is((await one.curl(one.url(WWW), "-X", "TRACE")).status, 404);
    const { code, err } = await one.end();
    assert.is(code, 0);
    const refused = (host: string): string =>
      `ringcast: origin: hosts: a request for the host "${host}" was refused (421); to allow it, add it to hosts\n`;
    assert.is(err, refused(`localhost:${one.securePort}`) + refused("evil.example"));
    assert.not.ok(existsSync(one.socket), "the socket is removed");
    assert.ok(one.log.some((line) => line.includes('"GET /docs/book/chapter.txt HTTP/1.1" 301')));
    assert.ok(one.log.some((line) => line.includes('"GET / HTTP/1.1" 421')));
  }),
);

site("curl logs in, and gets the members' files only with a cookie of the server's", () =>
  withSite(async (one) => {
    const jar = path.join(one.folder, "jar");
    const login = one.url(WWW, "/login");
    const minutes = one.url(WWW, "/members/minutes.txt");
    const wrong = await one.curl(login, "-d", "name=ann&password=x");
    assert.equal([wrong.status, wrong.fields["set-cookie"]], [403, undefined]);
    for (const body of ["", "name=&password=", "name", "%", "name=%00&password=%zz"])
      assert.is((await one.curl(login, "-d", body)).status, 403, body);
    assert.is((await one.curl(login)).status, 404, "GET");
    const right = await one.curl(login, "-c", jar, ...LOGIN);
    assert.equal([right.status, right.fields.location], [303, "/members/"]);
    assert.match(right.fields["set-cookie"] ?? "", /HttpOnly; SameSite=Lax; Path=\/; Secure$/);

    const index = await one.curl(one.url(WWW, "/members/"), "-b", jar);
    assert.equal([index.status, index.fields["cache-control"]], [200, "private, no-cache"]);
    assert.match(index.body, /For members/);
    const file = await one.curl(minutes, "-b", jar);
    assert.is(file.body, readFileSync("test/example/site/members/minutes.txt", "utf8"));
    const { etag = "" } = file.fields;
    assert.is((await one.curl(minutes, "-b", jar, "-H", `If-None-Match: ${etag}`)).status, 304);
    assert.is((await one.curl(minutes, "-b", jar, "-r", "4-10")).body, "meeting".padStart(7));
    assert.is((await one.curl(minutes, "-b", jar, "-I")).fields["content-length"], "36");
    assert.is((await one.curl(minutes, "-b", jar, "-X", "DELETE")).status, 405);
    const none = await one.curl(one.url(WWW, "/members/none"), "-b", jar);
    assert.equal([none.status, /no such page/.test(none.body)], [404, true]);

    const [, cookie = ""] = /^(member=[^;]*)/.exec(right.fields["set-cookie"] ?? "") ?? [];
    const [name, end, signature] = cookie.split(".");
    const later = `${Number(end) + 1000}`;
    for (const false_ of [
      `${name}.${end}.`,
      `${name}.${later}.${signature}`,
      `member=bob.${end}.${signature}`,
      `${name}.${end}.${signature?.toLowerCase()}`,
      "member=..",
      "member",
      `xmember${cookie.slice(6)}`,
    ])
      assert.is((await one.curl(minutes, "-b", false_)).status, 303, false_);
    assert.is((await one.curl(minutes, "-b", `a=b; ${cookie}; c`)).status, 200);
    one.write("large", "x".repeat(2000000));
    const large = ["--data-binary", `@${path.join(one.folder, "large")}`];
    assert.is((await one.curl(login, ...large)).status, 413);
    const { code, err } = await one.end();
    assert.equal([code, err], [0, ""]);
  }),
);

site("the shop behind the site gets requests, uploads and WebSockets, and may fail", () =>
  withSite(async (one, endShop) => {
    const orders = one.url(WWW, "/shop/orders");
    const upload = path.join(one.folder, "upload");
    writeFileSync(upload, "x".repeat(3000000));
    const sized = await one.curl(orders, "--data-binary", `@${upload}`);
    assert.equal(
      [sized.status, sized.body],
      [201, '{"order":1,"bytes":3000000,"from":"127.0.0.1"}'],
    );
    assert.is(sized.fields["set-cookie"], "cart=; Max-Age=0\norder=1");
    const chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", `@${upload}`];
    assert.match((await one.curl(orders, ...chunked)).body, /"order":2,"bytes":3000000/);
    const shop = await one.curl(one.url(WWW, "/shop/"), "-H", "X-Forwarded-Proto: gopher");
    assert.is(shop.body, `2 orders at https://${WWW}:${one.securePort}\n`);
    const none = await one.curl(one.url(WWW, "/shop/none"));
    assert.equal([none.status, none.body], [404, "The shop has no such page.\n"]);

    const options = tlsOf(WWW);
    const live = await Guest.open(`${wss(one)}/shop/live`, options);
    live.socket.send("hello");
    live.socket.send(Buffer.alloc(100000));
    assert.equal(await live.heard(3), ["2 orders", "hello", "100000 bytes"]);
    assert.is(await statusOf(`${wss(one)}/shop/none`, options), 404);
    const evil = { ...options, origin: "https://evil.example" };
    assert.is(await statusOf(`${wss(one)}/shop/live`, evil), 403);
    assert.is(await endShop(), 0);
    assert.is((await live.ended()).code, 1001);
    const closed = await one.curl(one.url(WWW, "/shop/"));
    assert.is(closed.status, 502);
    assert.match(closed.body, /The shop is closed/);
    assert.is(await statusOf(`${wss(one)}/shop/live`, options), 502);
    assert.is((await one.curl(one.url(WWW))).status, 200);
    const { code, err } = await one.end();
    assert.is(code, 0);
    assert.match(
      err,
      /^ringcast: origin: .*an upgrade from the origin "https:\/\/evil\.example".*\n$/,
    );
    assert.ok(
      one.log.some((line) => line.includes('"GET /shop/live HTTP/1.1" 101')),
      "an upgrade",
    );
  }),
);

/** Options of a client that trusts a host's certificate, and connects to 127.0.0.1. */
function tlsOf(host: string): { readonly ca: string; readonly lookup: LookupFunction } {
  const lookup: LookupFunction = (_, { all }, done) => {
    const address = "127.0.0.1";
    if (all) done(null, [{ address, family: 4 }]);
    else done(null, address, 4);
  };
  return { ca: readFileSync(`test/e2e/tls/${CERTIFICATES[host]}.pem`, "utf8"), lookup };
}

const wss = ({ securePort }: Site): string => `wss://${WWW}:${securePort}`;

site("the chat is the module's, and lives through a reload and a renewed certificate", () =>
  withSite(async (one) => {
    const options = { ...tlsOf(WWW), protocols: ["chat"] };
    const chat = (origin?: string): Promise<Guest> =>
      Guest.open(`${wss(one)}/`, origin === undefined ? options : { ...options, origin });
    const [ann, bob] = await Promise.all([chat(), chat(`https://${WWW}:${one.securePort}`)]);
    assert.is(ann.socket.protocol, "chat");
    ann.socket.send("hello");
    ann.socket.send("\u20ac".repeat(500));
    assert.equal(await bob.heard(2), ["hello", "\u20ac".repeat(500)]);
    const eve = await chat();
    assert.is((await eve.heard(2)).length, 2, "the last lines");
    eve.socket.send("x".repeat(501));
    assert.equal(await eve.ended(), { code: 1009, reason: "at most 500 characters" });
    const mallory = await chat();
    mallory.socket.send(Buffer.from("x"));
    assert.is((await mallory.ended()).code, 1003);
    assert.is(await statusOf(`${wss(one)}/`, { ...options, origin: "https://evil.example" }), 403);
    assert.is(await statusOf(`${wss(one)}/`, tlsOf(WWW)), 400, "without the subprotocol");

    one.write("keys/www.crt", "nonsense");
    one.command.signal("SIGHUP");
    await one.command.prints(/virtualHosts\["rsa\.test"\]\.tls.*\n.*everything stays as it was\n/);
    assert.is((await one.curl(one.url(WWW))).status, 200);
    // The host's certificate is that of the other one now, which curl does not trust for it.
    for (const end of ["key", "crt"])
      one.write(`keys/www.${end}`, readFileSync(path.join(one.folder, `keys/docs.${end}`)));
    one.write("docs.zip", readFileSync(path.join(one.folder, "docs.zip")));
    one.command.signal("SIGHUP");
    await one.command.prints(/reloaded\n/);
    const refused = await one.curl(one.url(WWW)).catch((error: Error) => error.message);
    assert.match(String(refused), /certificate/i);
    ann.socket.send("still here");
    assert.is((await bob.heard(3))[2], "still here");
    const { code } = await one.end();
    assert.is(code, 0);
    assert.equal([(await ann.ended()).code, (await bob.ended()).code], [1001, 1001]);
  }),
);

/** The site is behind a proxy of the same machine, which connects to its Unix socket. */
site("behind nginx the site is the same, and sees the clients' addresses", () =>
  withSite((one) => {
    const edits: Edit[] = [
      ["server 127.0.0.1:1;", `server unix:${one.socket};`],
      ["location / {", "client_max_body_size 10m;\n  location / {"],
    ];
    return inFrontOf("127.0.0.1:1", "http", edits, async ({ port }) => {
      const url = (target: string): string => `http://${WWW}:${port}${target}`;
      const ask = (target: string, ...args: readonly string[]): Promise<Reply> =>
        one.curl(url(target), "--interface", "127.0.0.2", ...args);
      assert.match((await ask("/")).body, /<h1>A site/);
      assert.is((await ask("/", "-r", "0-8")).body, "<!doctype");
      assert.is((await ask("/none")).status, 404);
      assert.match((await ask("/none")).body, /no such page/);
      assert.is((await ask("/book/chapter.txt", "-H", `Host: ${DOCS}`)).status, 200);
      assert.is((await ask("/", "-H", "Host: evil.example")).status, 421);
      assert.is((await ask("/members/minutes.txt")).status, 303);
      const jar = path.join(one.folder, "jar");
      assert.is((await ask("/login", "-c", jar, ...LOGIN)).status, 303);
      assert.match((await ask("/members/minutes.txt", "-b", jar)).body, /^The meeting/);
      const upload = path.join(one.folder, "upload");
      writeFileSync(upload, "x".repeat(3000000));
      const order = await ask("/shop/orders", "--data-binary", `@${upload}`);
      assert.equal([order.status, JSON.parse(order.body).bytes], [201, 3000000]);
      assert.match(JSON.parse(order.body).from, /^127\.0\.0\.2, /);

      const from = { localAddress: "127.0.0.2", headers: { Host: `${WWW}:${port}` } };
      const origin = `http://${WWW}:${port}`;
      const ws = `ws://127.0.0.1:${port}`;
      const chat = { ...from, origin, protocols: ["chat"] };
      const ann = await Guest.open(`${ws}/`, chat);
      const bob = await Guest.open(`${wss(one)}/`, { ...tlsOf(WWW), protocols: ["chat"] });
      bob.socket.send("hello, nginx");
      assert.equal(await ann.heard(1), ["hello, nginx"]);
      const live = await Guest.open(`${ws}/shop/live`, { ...from, origin });
      live.socket.send("x");
      assert.equal(await live.heard(2), ["1 orders", "x"]);
      assert.is(await statusOf(`${ws}/`, { ...chat, origin: "http://evil.example" }), 403);
      assert.is((await one.end()).code, 0);
      assert.is((await ann.ended()).code, 1001);
      const addresses = new Set(one.log.map((line) => line.split(" ")[0]));
      assert.equal([...addresses].sort(), ["127.0.0.1", "127.0.0.2"]);
      assert.is((await ask("/")).status, 502);
    });
  }),
);

/** Returns the digest of a certificate's key, by which Chromium is made to trust it. */
function digestOf(host: string): string {
  const text = readFileSync(`test/e2e/tls/${CERTIFICATES[host]}.pem`, "utf8");
  const { publicKey } = new X509Certificate(text);
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}

async function say(page: Page, line: string): Promise<void> {
  await page.getByLabel("Say something").fill(line);
  await page.getByRole("button").click();
}

site("Chromium shows the site, logs in, chats, and is grey while the site is away", () =>
  withSite(async (one) => {
    mkdirSync(".cache/site", { recursive: true });
    const args = [
      `--ignore-certificate-errors-spki-list=${[WWW, DOCS].map(digestOf).join()}`,
      "--host-resolver-rules=MAP *.test 127.0.0.1",
    ];
    await withBrowser(async (browser) => {
      // Browsers ask for an icon of texts, too.
      const lost = /WebSocket connection to|404 \(Not Found\)/;
      const ann = await browser.open(`http://${WWW}:${one.port}/`, lost);
      assert.is(ann.url(), one.url(WWW), "it was redirected");
      const bob = await browser.open(one.url(WWW), lost);
      for (const page of [ann, bob]) await page.getByText("live", { exact: true }).waitFor();
      await say(ann, "hello, <b>bob</b>");
      await bob.getByText("hello, <b>bob</b>").waitFor();
      await ann.screenshot({ path: ".cache/site/home.png" });

      await bob.getByText("Members").click();
      await bob.getByLabel("Name").fill("bob");
      await bob.getByLabel("Password").fill(PASSWORD);
      await bob.getByText("Log in").click();
      await bob.getByText("For members").waitFor();
      assert.is(bob.url(), one.url(WWW, "/members/"));
      await bob.getByText("The minutes").click();
      await bob.getByText("The meeting was opened").waitFor();
      await bob.goto(one.url(WWW, "/docs/"));
      await bob.getByRole("heading", { name: "Documents" }).waitFor();
      assert.is(bob.url(), one.url(DOCS));
      await bob.goto(one.url(WWW, "/shop/"));
      await bob.getByText(`0 orders at https://${WWW}`).waitFor();
      await bob.goto(one.url(WWW));
      await bob.getByText("hello, <b>bob</b>").waitFor();

      assert.is((await one.end()).code, 0);
      await ann.getByText("lost").waitFor();
      assert.is(await ann.locator("html[data-connection-lost]").count(), 1);
      await ann.screenshot({ path: ".cache/site/lost.png" });
      await one.start();
      await ann.getByText("live again").waitFor();
      assert.is(await ann.locator("html[data-connection-lost]").count(), 0);
      await bob.getByText("live again").waitFor();
      await say(bob, "back");
      await ann.getByText("back", { exact: true }).waitFor();
      // The cookie of before holds.
      await bob.getByText("Members").click();
      await bob.getByText("For members").waitFor();
      assert.is((await one.end()).code, 0);
    }, args);
  }),
);

site.run();
