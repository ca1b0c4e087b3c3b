// Checks the part of the option `tls` that needs no platform. host/index.ts checks whether keys fit their certificates.

import type { TlsContext, TlsOptions } from "../../worker/net/transport";
import { refuseUnknown } from "./known";
import { listedHost } from "../shared/text/origin";
import { show } from "../shared/text/show";

const VERSIONS = ["TLSv1.2", "TLSv1.3"];
const FLAGS = ["requestCert", "rejectUnauthorized"] as const;

/** A check of a value, and a description of the values that pass it. */
type Kind = readonly [isGood: (value: unknown) => boolean, what: string];

const isPem = (value: unknown): boolean =>
  (typeof value === "string" && value !== "") ||
  (value instanceof Uint8Array && value.byteLength > 0);
const PEM: Kind = [isPem, "the text or bytes of a PEM file"];
const PEMS: Kind = [
  (value) => isPem(value) || (Array.isArray(value) && value.every(isPem)),
  "the text or bytes of a PEM file, or a list of them",
];
const BYTES: Kind = [(value) => value instanceof Uint8Array, "bytes"];
const TEXT: Kind = [(value) => typeof value === "string", "a string"];
const FLAG: Kind = [(value) => typeof value === "boolean", "a boolean"];

/** Options of a key and its certificate. */
const CONTEXT: Readonly<Record<keyof TlsContext, Kind>> = {
  key: PEM,
  cert: PEM,
  ca: PEMS,
  pfx: BYTES,
  passphrase: TEXT,
};

/** Options of `tls`. Options without a kind here have checks of their own. */
const MAIN: Readonly<Record<keyof TlsOptions, Kind | undefined>> = {
  ...CONTEXT,
  ciphers: TEXT,
  ecdhCurve: TEXT,
  sigalgs: TEXT,
  dhparam: PEM,
  crl: PEMS,
  honorCipherOrder: FLAG,
  sessionTimeout: [
    (value) => Number.isInteger(value) && (value as number) > 0,
    "a number of seconds from 1 on",
  ],
  ticketKeys: [(value) => value instanceof Uint8Array && value.byteLength === 48, "48 bytes"],
  requestCert: FLAG,
  rejectUnauthorized: FLAG,
  minVersion: undefined,
  maxVersion: undefined,
  sni: undefined,
};

const ALIASES = { SNICallback: "sni", certificate: "cert", privateKey: "key" };

/** Checks that a value can be sent to a worker. @throws TypeError */
function checkCloneable(name: string, value: unknown): void {
  if (typeof value === "function") {
    const instead = name.endsWith(".SNICallback") ? "; give certificates by name as tls.sni" : "";
    throw new TypeError(`${name}: a function cannot be sent to the worker${instead}`);
  }
  try {
    structuredClone(value);
  } catch {
    throw new TypeError(`${name}: ${show(value)} that cannot be sent to the worker`);
  }
}

/** Checks an object of a key, its certificate and further options. @throws TypeError */
function checkContext(
  name: string,
  value: unknown,
  kinds: Readonly<Record<string, Kind | undefined>>,
): asserts value is TlsContext {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${name}: ${show(value)} is not an object with key and cert`);
  const given = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(given)) checkCloneable(`${name}.${key}`, given[key]);
  refuseUnknown(given, { names: Object.keys(kinds), prefix: `${name}.`, aliases: ALIASES });
  for (const [key, kind] of Object.entries(kinds)) {
    const one = given[key];
    if (one !== undefined && kind && !kind[0](one))
      throw new TypeError(`${name}.${key}: ${show(one)} is not ${kind[1]}`);
  }
  if (!given.pfx && !(given.key && given.cert))
    throw new TypeError(`${name}: key and cert are missing`);
}

/** Checks the certificates by host name. @param of the name of the TLS options @throws TypeError */
function readSni(sni: unknown, of: string): NonNullable<TlsOptions["sni"]> {
  if (typeof sni !== "object" || sni === null || Array.isArray(sni))
    throw new TypeError(`${of}.sni: ${show(sni)} is not an object of host names`);
  const contexts: Record<string, TlsContext> = {};
  for (const [host, context] of Object.entries(sni)) {
    const name = listedHost(host);
    if (name === undefined || /^\*?$|[:[]/.test(name))
      throw new TypeError(
        `${of}.sni: ${show(host)} is not a host name, such as "a.example" or "*.example"`,
      );
    if (contexts[name]) throw new TypeError(`${of}.sni: ${show(host)} is listed twice`);
    checkContext(`${of}.sni[${JSON.stringify(host)}]`, context, CONTEXT);
    contexts[name] = context;
  }
  return contexts;
}

/**
 * Checks the option `tls` and returns it with host names in lower case.
 * @param of its name in messages
 * @throws TypeError naming the part that is wrong
 */
export function readTls(tls: unknown, of = "tls"): TlsOptions | undefined {
  if (tls === undefined) return undefined;
  checkContext(of, tls, MAIN);
  const given: TlsOptions = tls;
  for (const name of ["minVersion", "maxVersion"] as const) {
    const version: unknown = given[name];
    if (version !== undefined && !VERSIONS.includes(version as string))
      throw new TypeError(
        `${of}.${name}: ${show(version)} is not one of ${VERSIONS.map(show).join(", ")}`,
      );
  }
  const { minVersion = "TLSv1.2", maxVersion = "TLSv1.3" } = given;
  if (minVersion > maxVersion)
    throw new TypeError(
      `${of}.minVersion: ${show(minVersion)} is above maxVersion ${show(maxVersion)}`,
    );
  if (given.rejectUnauthorized !== undefined && !given.requestCert)
    throw new TypeError(
      `${of}.rejectUnauthorized: ${given.rejectUnauthorized} without requestCert`,
    );
  return given.sni === undefined ? given : { ...given, sni: readSni(given.sni, of) };
}

/**
 * Checks new certificates for a running server. Where several listeners have TLS, each keeps its own flags that `tls`
 * leaves out.
 * @param listeners options of the listeners that have TLS
 * @throws TypeError for options that cannot change
 */
export function checkTlsChange(listeners: readonly TlsOptions[], tls: TlsOptions): void {
  if (listeners.length === 0)
    throw new TypeError("tls: cannot be switched on while the server runs");
  if (listeners.length > 1 && tls.requestCert === undefined) return;
  for (const name of FLAGS) {
    const is = tls[name] ?? tls.requestCert === true;
    for (const before of listeners) {
      const was = before[name] ?? before.requestCert === true;
      if (was !== is) throw new TypeError(`tls.${name}: cannot change while the server runs`);
    }
  }
}
