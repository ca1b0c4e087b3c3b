// The option `tls`: what of it can be checked without a platform. Whether keys fit their certificates, the platform
// says (host/index.ts).

import type { TlsContext, TlsOptions } from "../worker/net";
import { show } from "./show";

const VERSIONS = ["TLSv1.2", "TLSv1.3"];
const FLAGS = ["requestCert", "rejectUnauthorized"] as const;

/** A host name as a client asks for it, or a wildcard for one label of it (RFC 6125 6.4.3). */
const NAME = /^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

/** @throws TypeError for what does not travel to a worker */
function checkCloneable(name: string, value: unknown): void {
  if (typeof value === "function") {
    const instead = name === "tls.SNICallback" ? "; give certificates by name as tls.sni" : "";
    throw new TypeError(`${name}: a function cannot be sent to the worker${instead}`);
  }
  try {
    structuredClone(value);
  } catch {
    throw new TypeError(`${name}: ${show(value)} that cannot be sent to the worker`);
  }
}

/** @throws TypeError */
function checkContext(name: string, value: unknown): asserts value is TlsContext {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${name}: ${show(value)} is not an object with key and cert`);
  const given = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(given)) checkCloneable(`${name}.${key}`, given[key]);
  if (!given.pfx && !(given.key && given.cert))
    throw new TypeError(`${name}: key and cert are missing`);
}

/** @throws TypeError */
function readSni(sni: unknown): TlsOptions["sni"] {
  if (typeof sni !== "object" || sni === null || Array.isArray(sni))
    throw new TypeError(`tls.sni: ${show(sni)} is not an object of host names`);
  const contexts: Record<string, TlsContext> = {};
  for (const [host, context] of Object.entries(sni)) {
    const name = host.toLowerCase();
    if (!NAME.test(name))
      throw new TypeError(
        `tls.sni: ${show(host)} is not a host name, such as "a.example" or "*.example"`,
      );
    if (contexts[name]) throw new TypeError(`tls.sni: ${show(host)} is there twice`);
    checkContext(`tls.sni[${JSON.stringify(host)}]`, context);
    contexts[name] = context;
  }
  return contexts;
}

/**
 * Checks the option `tls`; names of hosts get lower case.
 * @throws TypeError naming the part that is wrong
 */
export function readTls(tls: unknown): TlsOptions | undefined {
  if (tls === undefined) return undefined;
  checkContext("tls", tls);
  const given: TlsOptions = tls;
  for (const name of ["minVersion", "maxVersion"] as const) {
    const version: unknown = given[name];
    if (version !== undefined && !VERSIONS.includes(version as string))
      throw new TypeError(
        `tls.${name}: ${show(version)} is not one of ${VERSIONS.map(show).join(", ")}`,
      );
  }
  const { minVersion = "TLSv1.2", maxVersion = "TLSv1.3" } = given;
  if (minVersion > maxVersion)
    throw new TypeError(
      `tls.minVersion: ${show(minVersion)} is above maxVersion ${show(maxVersion)}`,
    );
  for (const name of FLAGS) {
    const flag: unknown = given[name];
    if (flag !== undefined && typeof flag !== "boolean")
      throw new TypeError(`tls.${name}: ${show(flag)} is not a boolean`);
  }
  if (given.rejectUnauthorized !== undefined && !given.requestCert)
    throw new TypeError(`tls.rejectUnauthorized: ${given.rejectUnauthorized} without requestCert`);
  return given.sni === undefined ? given : { ...given, sni: readSni(given.sni) };
}

/**
 * Checks new certificates of a server that runs.
 * @throws TypeError for what cannot change
 */
export function checkTlsChange(before: TlsOptions | undefined, tls: TlsOptions): void {
  if (!before) throw new TypeError("tls: cannot be switched on while the server runs");
  for (const name of FLAGS) {
    const was = before[name] ?? before.requestCert === true;
    const is = tls[name] ?? tls.requestCert === true;
    if (was !== is) throw new TypeError(`tls.${name}: cannot change while the server runs`);
  }
}
