// The TLS servers of a listener. On Node each virtual host with certificates of its own has a server, and the name in a
// client's first message chooses one before TLS begins. There a callback that chooses a certificate later (SNI) comes
// too late: a server with an RSA key agrees on RSA, whichever key the chosen certificate has. Elsewhere that works, and
// one server chooses certificates.
//
// Invariant: certificates are replaced for all hosts of a listener, or for none.

import { createHash } from "node:crypto";
import * as tls from "node:tls";
import { clientPolicy } from "../../host/options/tls";
import { Names } from "../../host/shared/text/names";
import type { ListenOptions, ListenerHost, TlsOptions } from "./transport";

/** True where TLS can start after the connection was accepted: on Node itself. */
export const canDefer = !("bun" in process.versions || "deno" in process.versions);

/** Returns the options that net and TLS servers share. */
export function commonOf({ noDelay, keepAlive }: ListenOptions) {
  const keepAliveInitialDelay = (keepAlive?.idle ?? 0) * 1000;
  return { allowHalfOpen: true, noDelay, keepAlive: Boolean(keepAlive), keepAliveInitialDelay };
}

/** Characters of a session's context at most (OpenSSL's SSL_MAX_SID_CTX_LENGTH). */
const CONTEXT_LENGTH = 32;

/**
 * Returns the options of a certificate, as node:tls takes them. A session is resumed at its own host alone, and while
 * that asks for the same client certificates, even where ticket keys are shared. Otherwise a client would bring along
 * the certificate that it has shown elsewhere, or none.
 * @param host name of the virtual host; "": they are the listener's own
 */
function contextOf(own: TlsOptions, host = ""): tls.SecureContextOptions {
  const options = own as tls.SecureContextOptions;
  const policy = clientPolicy(own);
  if (host === "" && policy === "") return options;
  const text = JSON.stringify(["ringcast", host, policy]);
  const id = createHash("sha256").update(text).digest("hex");
  return { ...options, sessionIdContext: id.slice(0, CONTEXT_LENGTH) };
}

export class TlsServers {
  /** The server that listens, which has the listener's certificate. */
  readonly main: tls.Server;
  readonly #hosts = new Map<number, tls.Server>();
  #names: Names | undefined;
  /** Number of the host that each name of `#names` chooses; 0: the listener's certificate. */
  #numbers: readonly number[] = [];
  /** Certificates by number, where one server chooses them. */
  #contexts = new Map<number, tls.SecureContext>();

  /** @param own the listener's options of TLS @param take called with secured sockets, where one server chooses */
  constructor(options: ListenOptions, own: TlsOptions, take?: (socket: tls.TLSSocket) => void) {
    const { hosts } = options;
    const choose: Partial<tls.TlsOptions> =
      hosts && !canDefer
        ? { SNICallback: (name, done) => done(null, this.#contexts.get(this.find(name))) }
        : {};
    this.main = serverOf(options, own, contextOf(own), choose, take);
    for (const host of hosts ?? []) {
      const { tls: other, number, name } = host;
      if (!other) continue;
      const context = contextOf(other, name);
      if (canDefer) this.#hosts.set(number, serverOf(options, other, context, {}));
      else this.#contexts.set(number, tls.createSecureContext(context));
    }
    this.#know(hosts);
  }

  #know(hosts: readonly ListenerHost[] | undefined): void {
    this.#names = hosts && new Names(hosts.map(({ name }) => ({ name, listeners: -1 })));
    this.#numbers = (hosts ?? []).map(({ number, tls: other }) => (other ? number : 0));
  }

  /** True when the name that a client asks for decides which certificate it gets. */
  get areSeveral(): boolean {
    return this.#names !== undefined;
  }

  /** All servers. */
  get all(): readonly tls.Server[] {
    return [this.main, ...this.#hosts.values()];
  }

  /** Returns the number of the host whose certificate a client gets; 0: the listener's. @param name "": none */
  find(name: string): number {
    const at = this.#names?.findText(name, -1) ?? 0;
    return this.#numbers[at - 1] ?? 0;
  }

  /** Returns the server of a host. */
  of(number: number): tls.Server {
    return this.#hosts.get(number) ?? this.main;
  }

  /** Prepares other certificates. @returns a function that uses them from then on @throws Error when one is wrong */
  prepare(own: TlsOptions, hosts: readonly ListenerHost[] | undefined): () => void {
    const context = contextOf(own);
    tls.createSecureContext(context);
    const contexts = new Map<number, readonly [tls.SecureContextOptions, tls.SecureContext]>();
    for (const { number, name, tls: other } of hosts ?? []) {
      if (!other) continue;
      const options = contextOf(other, name);
      contexts.set(number, [options, tls.createSecureContext(options)]);
    }
    return () => {
      this.main.setSecureContext(context);
      for (const [number, [options, made]] of contexts) {
        if (canDefer) this.#hosts.get(number)?.setSecureContext(options);
        else this.#contexts.set(number, made);
      }
    };
  }
}

function serverOf(
  options: ListenOptions,
  { requestCert = false, rejectUnauthorized = requestCert }: TlsOptions,
  context: tls.SecureContextOptions,
  others: Partial<tls.TlsOptions>,
  take?: (socket: tls.TLSSocket) => void,
): tls.Server {
  const all: tls.TlsOptions = {
    ...commonOf(options),
    ...context,
    ...others,
    requestCert,
    rejectUnauthorized,
    ALPNProtocols: ["http/1.1"],
    handshakeTimeout: options.handshakeTimeout,
  };
  const server = tls.createServer(all, take);
  // A failed handshake affects only its client.
  server.on("tlsClientError", (_, socket) => socket.destroy());
  return server;
}
