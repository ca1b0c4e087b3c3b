// TLS with several certificates: by name, changed while connections stay, and those of clients; violations in a
// handshake; wss from a browser. The keys in tls/ are for these tests alone.

import { X509Certificate, createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import * as tls from "node:tls";
import {
  type Handler,
  type HostTlsOptions,
  type Options,
  type Server,
  type TlsOptions,
  serve,
} from "ringcast";
import { fetchHandler } from "ringcast/fetch";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { CERTIFICATE, Frames, clientFrame, fileUrl, handshake, until, within } from "./peer";
import { portOf } from "../lib/port";

const certificates = suite("certificates");

const read = (name: string): string => readFileSync(`test/e2e/tls/${name}.pem`, "utf8");
/** A file that has both. */
const both = (name: string): { key: string; cert: string } => ({
  key: read(name),
  cert: read(name),
});
const CA = read("authority");
const handler = fileUrl("handlers/certificate.mjs");
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async function serving(
  own: TlsOptions,
  body: (server: Server, port: number) => Promise<void>,
  options: Options = {},
): Promise<void> {
  const all = { port: 0, handler, onError: () => undefined, ...options, tls: own };
  const server = await within(serve(all), "serve");
  try {
    await body(server, portOf(server));
  } finally {
    await within(server.close(), "close");
  }
}

/** Opens a connection and returns it after its handshake. The test checks its certificate. */
async function open(port: number, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
  await within(once(socket, "secureConnect"), "handshake");
  socket.on("error", () => undefined);
  return socket;
}

/** Returns the error of a handshake: at once, or, with TLS 1.3, when the server has seen the client's part. */
function failure(port: number, options: tls.ConnectionOptions): Promise<string> {
  const failed = new Promise<string>((resolve) => {
    const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("close", () => resolve("closed"));
    socket.on("data", (bytes) => resolve(`answered: ${bytes}`));
    socket.on("secureConnect", () => socket.write(GET));
  });
  return within(failed, "a failure");
}

async function nameOf(port: number, servername: string): Promise<string> {
  const socket = await open(port, servername ? { servername } : {});
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN as string;
}

async function answer(socket: tls.TLSSocket): Promise<unknown> {
  socket.write(GET);
  const [bytes] = (await within(once(socket, "data"), "answer")) as [Buffer];
  return JSON.parse(String(bytes).split("\r\n\r\n")[1] as string);
}

const BY_NAME: Options = {
  virtualHosts: { "one.test": { tls: both("one") }, "*.Two.test": { tls: both("two") } },
};

certificates("a client gets the certificate of the name it asks for, any other the first one", () =>
  serving(
    CERTIFICATE,
    async (_, port) => {
      for (const [asked, name] of [
        ["one.test", "one.test"],
        ["ONE.test", "one.test"],
        ["a.two.test", "two.test"],
        ["B.Two.Test", "two.test"],
        ["two.test", "localhost"],
        ["a.b.two.test", "localhost"],
        ["x.one.test", "localhost"],
        ["elsewhere.test", "localhost"],
        ["", "localhost"],
      ] as const) {
        assert.is(await nameOf(port, asked), name, asked);
      }
      // And it is one that a client that checks will take.
      const checked = await open(port, {
        ...{ servername: "one.test", ca: read("one"), rejectUnauthorized: true },
      });
      assert.ok(checked.authorized);
      assert.is(await answer(checked), null, "nobody was asked for a certificate");
      checked.destroy();
    },
    BY_NAME,
  ),
);

certificates("new certificates apply to new handshakes; open connections continue", () =>
  serving(
    CERTIFICATE,
    async (server, port) => {
      const before = await open(port, { servername: "one.test" });
      assert.is(await answer(before), null);
      const session = before.getSession();
      const ws = await open(port);
      ws.write(handshake("/"));
      const frames = new Frames();
      const texts: string[] = [];
      let isOpen = false;
      ws.on("data", (bytes: Buffer) => {
        const from = isOpen ? 0 : bytes.indexOf("\r\n\r\n") + 4;
        isOpen = true;
        for (const { payload } of frames.push(bytes.subarray(from))) texts.push(payload.toString());
      });
      await until("it is open", () => texts.length === 1);
      await server.configure({ tls: both("renewed") });
      assert.is(await nameOf(port, ""), "renewed");
      assert.is(await nameOf(port, "one.test"), "one.test");
      await server.configure({ virtualHosts: { "ONE.test.": { tls: both("two") } } });
      assert.is(await nameOf(port, ""), "renewed");
      assert.is(await nameOf(port, "one.test"), "two.test");
      assert.is(await nameOf(port, "a.two.test"), "two.test");
      const again = await open(port, { session, servername: "one.test" });
      assert.is(
        again.getPeerCertificate().subject.CN,
        "two.test",
        "an old session does not bring it back",
      );
      again.destroy();
      assert.is(await answer(before), null);
      assert.is(before.getPeerCertificate().subject.CN, "one.test");
      ws.write(clientFrame(1, "still here"));
      assert.ok(server.broadcast("and there"));
      await until("both", () => texts.length === 3);
      assert.equal(texts.slice(1).sort(), ["and there", "still here"]);
      before.destroy();
      ws.destroy();
    },
    BY_NAME,
  ),
);

const BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/** Returns a key of a type, in PEM. */
function keyOf(type: "rsa" | "ed25519"): string {
  const format = { type: "pkcs8", format: "pem" } as const;
  if (type === "ed25519") return generateKeyPairSync(type).privateKey.export(format) as string;
  return generateKeyPairSync(type, { modulusLength: 2048 }).privateKey.export(format) as string;
}

/** Faults in certificates, and the message of each. */
const WRONG: readonly (readonly [tls: object, message: RegExp])[] = [
  [{}, /^tls: key and cert are missing$/],
  [{ key: CERTIFICATE.key }, /^tls: key and cert are missing$/],
  [{ ...CERTIFICATE, cert: BROKEN }, /^tls\.cert: .*(PEM|ASN1|asn1|too long|header)/],
  [{ ...CERTIFICATE, key: "nonsense" }, /^tls\.key: /],
  [
    { ...CERTIFICATE, cert: read("one") },
    /^tls\.key: is not the private key of .* "CN=one\.test"$/,
  ],
  [
    { ...CERTIFICATE, key: keyOf("rsa") },
    /^tls\.key: is not the private key of .* "CN=localhost"$/,
  ],
  [{ ...CERTIFICATE, key: keyOf("ed25519") }, /^tls\.key: is not the private key of/],
  [{ ...CERTIFICATE, chipers: "x" }, /^tls\.chipers: .*did you mean tls\.ciphers\?$/],
  [{ ...CERTIFICATE, certificate: "x" }, /^tls\.certificate: .*did you mean tls\.cert\?$/],
  [{ ...CERTIFICATE, key: [CERTIFICATE.key] }, /^tls\.key: an array is not the text or bytes of/],
  [{ ...CERTIFICATE, ca: 5 }, /^tls\.ca: 5 is not the text or bytes of a PEM file, or a list/],
  [{ ...CERTIFICATE, ciphers: 5 }, /^tls\.ciphers: 5 is not a string$/],
  [{ ...CERTIFICATE, ciphers: "NONSENSE" }, /^tls: .*no cipher match/],
  [{ ...CERTIFICATE, minVersion: "SSLv3" }, /^tls\.minVersion: "SSLv3" is not one of "TLSv1\.2", /],
  [{ ...CERTIFICATE, maxVersion: 3 }, /^tls\.maxVersion: 3 is not one of/],
  [
    { ...CERTIFICATE, minVersion: "TLSv1.3", maxVersion: "TLSv1.2" },
    /^tls\.minVersion: "TLSv1\.3" is above maxVersion "TLSv1\.2"$/,
  ],
  [{ ...CERTIFICATE, requestCert: "yes" }, /^tls\.requestCert: "yes" is not a boolean$/],
  [
    { ...CERTIFICATE, rejectUnauthorized: true },
    /^tls\.rejectUnauthorized: true without requestCert$/,
  ],
  [
    { ...CERTIFICATE, SNICallback: () => undefined },
    /^tls\.SNICallback: a function cannot be sent to the worker; give certificates by name as virtualHosts: /,
  ],
  [
    { ...CERTIFICATE, ALPNCallback: () => undefined },
    /^tls\.ALPNCallback: a function cannot be sent to the worker$/,
  ],
  [
    { ...CERTIFICATE, secureContext: { inside: () => undefined } },
    /^tls\.secureContext: an object that cannot be sent to the worker$/,
  ],
  [
    { ...CERTIFICATE, sni: { "a.b": both("one") } },
    /^tls\.sni: is no option any more; give certificates by name as virtualHosts: \{ "a\.example": /,
  ],
];

/** Faults in the options of TLS of a virtual host, and the message of each after the name of its entry. */
const WRONG_HOST: readonly (readonly [tls: unknown, message: RegExp])[] = [
  [5, /^tls: 5 is not an object with key and cert$/],
  [[], /^tls: an array is not an object with key and cert$/],
  [{}, /^tls: key and cert are missing$/],
  [{ key: read("one") }, /^tls: key and cert are missing$/],
  [{ ...both("one"), ciphers: "x" }, /^tls\.ciphers: there is no such option/],
  [{ ...both("one"), requestCerts: true }, /^tls\.requestCerts: .*tls\.requestCert\?$/],
  [{ ...both("one"), requestCert: 1 }, /^tls\.requestCert: 1 is not a boolean$/],
  [{ ...both("one"), key: 7 }, /^tls\.key: 7 is not the text or bytes of a PEM file$/],
  [{ key: read("two"), cert: read("one") }, /^tls\.key: is not the .* "CN=one\.test"$/],
  [{ key: keyOf("rsa"), cert: read("one") }, /^tls\.key: is not the .* "CN=one\.test"$/],
  [{ key: "x", cert: read("one") }, /^tls\.key: /],
  [{ key: read("one"), cert: BROKEN }, /^tls\.cert: /],
  [{ ...both("one"), ca: 5 }, /^tls\.ca: 5 is not the text or bytes/],
  [{ ...both("one"), SNICallback: () => 1 }, /^tls\.SNICallback: a function cannot be sent/],
  [{ ...both("one"), sni: {} }, /^tls\.sni: is no option any more/],
];

async function refusal(start: Promise<unknown>): Promise<Error> {
  const refused = start.then(
    () => new Error("accepted"),
    (error: unknown) => error as Error,
  );
  return within(refused, "a refusal");
}

certificates("reports faults before anything starts; in a running server the old ones stay", () =>
  serving(
    CERTIFICATE,
    async (server, port) => {
      for (const [own, message] of WRONG) {
        const atStart = await refusal(serve({ port: 0, handler, tls: own }));
        assert.match(atStart.message, message);
        assert.instance(atStart, TypeError);
        const later = await refusal(server.configure({ tls: own, idleTimeout: 7 }));
        assert.match(later.message, message);
      }
      for (const [own, message] of WRONG_HOST) {
        const virtualHosts = { "*.Two.test": { tls: own as HostTlsOptions } };
        const good = { "one.test": { tls: both("two") } };
        const entry = 'virtualHosts["*.Two.test"].';
        for (const refused of [
          serve({ port: 0, handler, tls: CERTIFICATE, virtualHosts }),
          server.configure({ tls: both("renewed"), virtualHosts: { ...good, ...virtualHosts } }),
        ]) {
          const error = await refusal(refused);
          assert.instance(error, TypeError, error.message);
          assert.ok(error.message.startsWith(entry), error.message);
          assert.match(error.message.slice(entry.length), message);
        }
      }
      for (const change of [
        { requestCert: true },
        { requestCert: true, rejectUnauthorized: false },
      ]) {
        const { message } = await refusal(server.configure({ tls: { ...CERTIFICATE, ...change } }));
        assert.match(message, /^tls\.requestCert: cannot change while the server runs$/);
      }
      assert.is(await nameOf(port, ""), "localhost");
      assert.is(await nameOf(port, "one.test"), "one.test");
      assert.is(await nameOf(port, "a.two.test"), "two.test");
    },
    BY_NAME,
  ),
);

certificates("a server without TLS does not get it while it runs", async () => {
  const server = await serve({ port: 0, handler });
  const { message } = await refusal(server.configure({ tls: CERTIFICATE }));
  assert.match(message, /^tls: cannot be switched on while the server runs$/);
  await server.close();
});

const answerer: Handler = {
  request: (req, res) =>
    res.send(200, "application/json", JSON.stringify(req.peerCertificate ?? null)),
};
const fetching = fetchHandler((_, { peerCertificate }) => Response.json(peerCertificate ?? null));
const PLACES: readonly [string, Options][] = [
  ["in the worker", { handler }],
  ["in a pool", { handler, pool: { threads: 1 } }],
  ["on the application's thread", { handler: answerer }],
  ["as a fetch function", { handler: fetching }],
];

/** Returns the certificate in a file, as handlers see it. */
function seen(name: string, error: string): object {
  const { raw } = new X509Certificate(read(name));
  const hex = createHash("sha256").update(raw).digest("hex").toUpperCase();
  return { fingerprint256: hex.match(/../g)?.join(":"), authorized: error === "", error };
}

for (const [where, options] of PLACES) {
  certificates(`a handler sees the certificate of its client, ${where}`, () =>
    serving(
      { ...CERTIFICATE, ca: CA, requestCert: true, rejectUnauthorized: false },
      async (_, port) => {
        const alice = await open(port, both("alice"));
        assert.equal(await answer(alice), {
          subject: { O: "Ringcast", CN: "alice" },
          issuer: { CN: "Ringcast test authority" },
          ...seen("alice", ""),
        });
        alice.destroy();
        const stranger = await open(port, both("stranger"));
        assert.equal(await answer(stranger), {
          subject: { CN: "stranger" },
          issuer: { CN: "stranger" },
          ...seen("stranger", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        });
        stranger.destroy();
        const nobody = await open(port);
        assert.is(await answer(nobody), null);
        nobody.destroy();
      },
      options,
    ),
  );
}

certificates("without `rejectUnauthorized: false` only clients with a valid one are accepted", () =>
  serving(
    { ...CERTIFICATE, ca: CA, requestCert: true },
    async (server, port) => {
      for (const servername of ["", "one.test"]) {
        const name = servername ? { servername } : {};
        const alice = await open(port, { ...both("alice"), ...name });
        assert.is(((await answer(alice)) as { authorized: boolean }).authorized, true);
        alice.destroy();
        assert.match(
          await failure(port, { ...both("stranger"), ...name }),
          /closed|ECONNRESET|ALERT/i,
        );
        assert.match(await failure(port, name), /closed|ECONNRESET|ALERT/i);
      }
      const { accepted, closed } = await server.stats();
      assert.is(accepted, 6);
      assert.is(closed.TlsFailed, 4, "the others have not come further than the handshake");
      // The set of accepted clients changes as well.
      await server.configure({ tls: { ...CERTIFICATE, ca: read("stranger"), requestCert: true } });
      const stranger = await open(port, both("stranger"));
      assert.is(((await answer(stranger)) as { authorized: boolean }).authorized, true);
      stranger.destroy();
      assert.match(await failure(port, both("alice")), /closed|ECONNRESET|ALERT/i);
    },
    BY_NAME,
  ),
);

certificates("a version that is too old, and a client that speaks HTTP/2 alone, are refused", () =>
  serving({ ...CERTIFICATE, minVersion: "TLSv1.3" }, async (server, port) => {
    assert.match(await failure(port, { maxVersion: "TLSv1.2" }), /PROTOCOL_VERSION/);
    assert.match(await failure(port, { ALPNProtocols: ["h2"] }), /NO_APPLICATION_PROTOCOL/);
    const socket = await open(port, { ALPNProtocols: ["h2", "http/1.1"] });
    assert.is(socket.alpnProtocol, "http/1.1");
    assert.is(socket.getProtocol(), "TLSv1.3");
    assert.is(await answer(socket), null);
    socket.destroy();
    const { accepted, closed } = await server.stats();
    assert.is(accepted, 3);
    assert.is(closed.TlsFailed, 2);
  }),
);

certificates("TLS 1.1 is not spoken", () =>
  serving(CERTIFICATE, async (_, port) => {
    const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" } as const;
    assert.match(await failure(port, old), /PROTOCOL_VERSION/);
  }),
);

/** Returns the key that a Chromium is configured to trust: SHA-256 of the public key. */
function spki(pem: string): string {
  const { publicKey } = new X509Certificate(pem);
  const der = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(der).digest("base64");
}

certificates("a page in Chromium speaks wss, and continues when the certificate changes", () =>
  serving(
    CERTIFICATE,
    async (server, port) => {
      const trusted = [CERTIFICATE.cert, read("renewed")].map(spki).join();
      await withBrowser(
        async (browser) => {
          const page = await browser.open(`https://127.0.0.1:${port}/`);
          /** Opens a WebSocket that keeps its messages, and answers with the first one. */
          const opened = (name: string): Promise<unknown> =>
            page.evaluate(
              ([key, url]) =>
                new Promise((resolve, reject) => {
                  const heard: string[] = [];
                  const socket = new WebSocket(url as string);
                  Object.assign(globalThis, { [key as string]: { socket, heard } });
                  socket.onmessage = ({ data }) => resolve(heard.push(data));
                  socket.onerror = () => reject(new Error("not open"));
                }),
              [name, `wss://127.0.0.1:${port}/`],
            );
          await opened("first");
          await server.configure({ tls: both("renewed") });
          await opened("second");
          await page.evaluate(
            "first.socket.send('from the first'), second.socket.send('from the second')",
          );
          assert.ok(server.broadcast("to both"));
          const heard = "[first.heard, second.heard]";
          await page.waitForFunction(`${heard}.every((all) => all.length === 3)`);
          const [first, second] = (await page.evaluate(heard)) as [string[], string[]];
          assert.equal(first.sort(), ["from the first", "hello", "to both"]);
          assert.equal(second.sort(), ["from the second", "hello", "to both"]);
        },
        [`--ignore-certificate-errors-spki-list=${trusted}`],
      );
    },
    {
      handler: {
        request: (req, res) =>
          req.upgrade
            ? res.upgrade()
            : res.send(200, "text/html", '<link rel="icon" href="data:,">'),
        open: (ws) => ws.send("hello"),
        message: (ws, data) => ws.send(data),
      },
    },
  ),
);

certificates.run();
