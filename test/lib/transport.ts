// The transport that a server on this Node has by default.

/** Node 26 has handles that make requests of their own, which are not used. */
export const AUTO = Number.parseInt(process.versions.node, 10) < 26 ? "handles" : "sockets";
