// The port of a server that listens on TCP, as all servers of tests do but those of Unix sockets.

/** Returns a server's port. @throws Error when the server listens on a Unix socket */
export function portOf(server: {
  readonly address: { readonly port: number | undefined };
}): number {
  const { port } = server.address;
  if (port === undefined) throw new Error("the server listens on a Unix socket");
  return port;
}
