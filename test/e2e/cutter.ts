// A proxy of one port that cuts connections.
//
// Invariant: after `close` none of its sockets is left.

import { type Socket, connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** Ways to cut: an RST, a FIN, or nothing more arrives, although the connection stays. */
export type Cut = "reset" | "end" | "freeze";

/** Resets a connection. libuv refuses that after a FIN, and the handle would keep the process alive. */
function reset(socket: Socket): void {
  if (socket.connecting || socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

export class Cutter {
  port = 0;
  /** The port that connections are passed on to. */
  target = 0;
  /** Number of connections that were cut. */
  cuts = 0;
  /**
   * Called for each connection. Returns after how many bytes of the server's it is cut, and how; undefined: never.
   */
  plan: () => { readonly bytes: number; readonly how: Cut } | undefined = () => undefined;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => {
    const upstream = connect(this.target, "127.0.0.1");
    const planned = this.plan();
    let left = planned?.bytes ?? Number.POSITIVE_INFINITY;
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(one);
      one.on("data", (data) => {
        const part = one === upstream ? data.subarray(0, Math.max(0, left)) : data;
        if (part.length > 0 && left > 0) other.write(part);
        if (one !== upstream || left <= 0) return;
        left -= data.length;
        if (planned && left <= 0) this.#cut(client, upstream, planned.how);
      });
      one.on("end", () => other.end());
      one.on("error", () => reset(other));
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  });

  #cut(client: Socket, upstream: Socket, how: Cut): void {
    this.cuts++;
    if (how === "freeze") return;
    if (how === "reset") reset(client);
    else client.end();
    upstream.destroy();
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as AddressInfo).port;
  }

  /** Cuts all connections. */
  reset(): void {
    for (const socket of this.#sockets) reset(socket);
  }

  close(): void {
    this.#server.close();
    this.reset();
  }
}
