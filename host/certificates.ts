// Checks keys and certificates with node:tls before anything starts or changes, and refuses options of virtual hosts
// that a runtime other than Node would ignore.
//
// Invariant: an error names the option whose value is wrong. It shows a certificate's subject, and never a key.

import { X509Certificate, createPrivateKey } from "node:crypto";
import { type SecureContextOptions, createSecureContext } from "node:tls";
import type { TlsContext } from "../worker/net/transport";
import type { TlsCheck } from "./options/site/hosts";
import { show } from "./shared/text/show";

/** True on Node itself, where each virtual host has a TLS server of its own. */
const isNode = !("bun" in process.versions || "deno" in process.versions);

/** Options that only such a server can have for itself. */
const NODE_ONLY = ["requestCert", "rejectUnauthorized", "ca", "crl"] as const;

/** Returns the error that `fn` throws; undefined: it throws none. */
function errorIn(fn: () => unknown): Error | undefined {
  try {
    fn();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** Reads the private key of a context. @throws Error when it cannot be read */
function keyOf({ key, passphrase }: TlsContext): ReturnType<typeof createPrivateKey> {
  const protectedBy = passphrase === undefined ? {} : { passphrase };
  return createPrivateKey({ key: key as string | Buffer, ...protectedBy });
}

/** Returns the part of a context that is the reason why it was refused; "": it cannot be determined. */
function culpritOf(context: TlsContext): string {
  const { key, cert } = context;
  if (cert && errorIn(() => new X509Certificate(cert))) return ".cert";
  return key && errorIn(() => keyOf(context)) ? ".key" : "";
}

/**
 * Returns the subject of a certificate that a key does not belong to; undefined when it does, or when the runtime
 * cannot check it. OpenSSL accepts a key whose type differs from its certificate's without an error, but then no
 * handshake succeeds.
 */
function strangerOf(context: TlsContext): string | undefined {
  const { key, cert } = context;
  if (!key || !cert) return undefined;
  try {
    const certificate = new X509Certificate(cert);
    if (certificate.checkPrivateKey(keyOf(context))) return undefined;
    return certificate.subject?.replaceAll("\n", ", ") ?? "";
  } catch {
    // A runtime may lack some of these functions.
    return undefined;
  }
}

/** Refuses options of a virtual host that only Node can keep apart from those of other hosts. */
function refuseForeign({ option, host }: TlsCheck): void {
  if (isNode || !host) return;
  const name = NODE_ONLY.find((one) => host.own[one] !== undefined);
  if (name)
    throw new TypeError(`${option}.${name}: only Node can ask for client certificates by host`);
}

/** Refuses keys and certificates that cannot be used. @throws TypeError naming the option */
export function checkCertificates(checks: readonly TlsCheck[]): void {
  for (const check of checks) {
    const { option, tls } = check;
    refuseForeign(check);
    const cause = errorIn(() => createSecureContext(tls as SecureContextOptions));
    const stranger = strangerOf(tls);
    if (stranger !== undefined)
      throw new TypeError(
        `${option}.key: is not the private key of the certificate ${show(stranger)}`,
        { cause },
      );
    if (cause) throw new TypeError(`${option}${culpritOf(tls)}: ${cause.message}`, { cause });
  }
}
