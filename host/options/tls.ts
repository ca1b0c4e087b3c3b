// Checks the part of the option `tls` that needs no platform. host/certificates.ts checks whether keys fit their
// certificates.

import type { HostTlsOptions, TlsContext, TlsOptions } from "../../worker/net/transport";
import { refuseUnknown } from "./known";
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

/** Options of TLS for one virtual host. */
const HOST: Readonly<Record<keyof HostTlsOptions, Kind>> = {
  ...CONTEXT,
  crl: PEMS,
  requestCert: FLAG,
  rejectUnauthorized: FLAG,
};

/** Options of `tls`. Options without a kind here have checks of their own. */
const MAIN: Readonly<Record<keyof TlsOptions, Kind | undefined>> = {
  ...HOST,
  ciphers: TEXT,
  ecdhCurve: TEXT,
  sigalgs: TEXT,
  dhparam: PEM,
  honorCipherOrder: FLAG,
  sessionTimeout: [
    (value) => Number.isInteger(value) && (value as number) > 0,
    "a number of seconds from 1 on",
  ],
  ticketKeys: [(value) => value instanceof Uint8Array && value.byteLength === 48, "48 bytes"],
  minVersion: undefined,
  maxVersion: undefined,
};

const ALIASES = { certificate: "cert", privateKey: "key" };

/** Says where certificates by name are options. */
const BY_NAME =
  'give certificates by name as virtualHosts: { "a.example": { tls: { key, cert } } }';

/** Checks that a value can be sent to a worker. @throws TypeError */
function checkCloneable(name: string, value: unknown): void {
  if (typeof value === "function") {
    const instead = name.endsWith(".SNICallback") ? `; ${BY_NAME}` : "";
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
  if (given.sni !== undefined)
    throw new TypeError(`${name}.sni: is no option any more; ${BY_NAME}`);
  refuseUnknown(given, { names: Object.keys(kinds), prefix: `${name}.`, aliases: ALIASES });
  for (const [key, kind] of Object.entries(kinds)) {
    const one = given[key];
    if (one !== undefined && kind && !kind[0](one))
      throw new TypeError(`${name}.${key}: ${show(one)} is not ${kind[1]}`);
  }
  if (!given.pfx && !(given.key && given.cert))
    throw new TypeError(`${name}: key and cert are missing`);
}

/** Refuses `rejectUnauthorized` where no client is asked for a certificate. @throws TypeError */
function checkFlags(
  { requestCert, rejectUnauthorized }: Readonly<Partial<Record<(typeof FLAGS)[number], unknown>>>,
  of: string,
): void {
  if (rejectUnauthorized !== undefined && !requestCert)
    throw new TypeError(`${of}.rejectUnauthorized: ${rejectUnauthorized} without requestCert`);
}

/**
 * Checks the option `tls` of a virtual host.
 * @param of its name in messages
 * @param before its options so far, whose flags stay when they are left out
 * @throws TypeError naming the part that is wrong
 */
export function readHostTls(
  tls: unknown,
  of: string,
  before: HostTlsOptions = {},
): HostTlsOptions | undefined {
  if (tls === undefined) return undefined;
  checkContext(of, tls, HOST);
  const { requestCert = before.requestCert, rejectUnauthorized }: HostTlsOptions = tls;
  checkFlags({ requestCert, rejectUnauthorized }, of);
  return tls;
}

/** Returns all options of TLS of a virtual host at a listener, whose key and certificate it never uses. */
export function tlsOfHost(main: TlsOptions, own: HostTlsOptions): TlsOptions {
  const { key, cert, pfx, passphrase, requestCert, rejectUnauthorized, ca, crl, ...others } = main;
  const flags = own.requestCert === undefined ? { requestCert, rejectUnauthorized } : {};
  const issuers = own.ca === undefined ? { ca, crl } : {};
  const all = { ...others, ...flags, ...issuers, ...own };
  const given = Object.entries(all).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as TlsOptions;
}

/** Returns a listener's options of TLS after a change. Its flags cannot change. */
export function tlsAfter(before: TlsOptions, { ...changed }: TlsOptions): TlsOptions {
  const after: { -readonly [Name in keyof TlsOptions]: TlsOptions[Name] } = changed;
  for (const name of FLAGS) {
    const flag = before[name];
    if (flag === undefined) delete after[name];
    else after[name] = flag;
  }
  return after;
}

const decoder = new TextDecoder();

/** Returns PEM files as texts. */
function textsOf(pems: TlsOptions["ca"] = []): string[] {
  const list = typeof pems === "string" || pems instanceof Uint8Array ? [pems] : pems;
  return list.map((pem) => (typeof pem === "string" ? pem : decoder.decode(pem)));
}

/**
 * Returns a text that two options of TLS share when they ask for the same client certificates; "" when they ask for
 * none.
 */
export function clientPolicy({ requestCert, rejectUnauthorized, ca, crl }: TlsOptions): string {
  if (!requestCert) return "";
  return JSON.stringify([rejectUnauthorized ?? true, textsOf(ca), textsOf(crl)]);
}

/**
 * Checks the option `tls`.
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
  checkFlags(given, of);
  return given;
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
