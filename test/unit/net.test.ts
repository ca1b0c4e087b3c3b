// Node's sockets as the pump uses them: whatever is asked of a link, in whatever order, its handle is
// closed, and its client learns of the end.

import { readFileSync } from "node:fs";
import * as net from "node:net";
import * as tls from "node:tls";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Link, Sink } from "../../worker/net/transport";
import { nodeTransport } from "../../worker/net/node";
import { portOf } from "../lib/port";
import { until } from "../lib/wait";

const links = suite("links");

const CERTIFICATE = {
  key: readFileSync("test/e2e/tls/key.pem", "utf8"),
  cert: readFileSync("test/e2e/tls/cert.pem", "utf8"),
};

/** Handles of TCP connections that this process has. */
function handles(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
}

type Action = (link: Link) => void;

/** Operations on a link, and where they run. */
interface Actions {
  /** Before TLS. */
  readonly early?: Action;
  readonly accepted?: Action;
  readonly read?: Action;
  readonly later?: (link: Link) => Promise<void>;
}

/** How connections are held. */
type Held = "sockets" | "handles" | "TLS";

/** Accepts a connection that says "hi", acts, and sees that its client and its handle are gone. */
async function leavesNothing(held: Held, actions: Actions): Promise<void> {
  const isSecure = held === "TLS";
  let accepted: Action = () => undefined;
  const found = new Promise<Link>((resolve) => {
    accepted = resolve;
  });
  const accept = (link: Link): Sink => {
    const begin = (): void => {
      accepted(link);
      actions.accepted?.(link);
    };
    if (!isSecure) {
      begin();
    } else if (actions.early) {
      accepted(link);
      actions.early(link);
    }
    return {
      secured: begin,
      read: () => actions.read?.(link),
      written: () => undefined,
      ended: () => undefined,
      lost: () => undefined,
    };
  };
  const options = {
    port: 0,
    hostname: "127.0.0.1",
    backlog: 8,
    noDelay: true,
    keepAlive: undefined,
  };
  const listener = await nodeTransport({ handles: held === "handles" }).listen(
    {
      ...options,
      ipv6Only: false,
      handshakeTimeout: 5000,
      proxied: false,
      redirects: false,
      tls: isSecure ? CERTIFICATE : undefined,
    },
    new Uint8Array(65536),
    accept,
    () => undefined,
  );
  assert.is(listener.transport, isSecure ? "sockets" : held);
  const origin = { port: portOf({ address: listener }), host: "127.0.0.1", allowHalfOpen: true };
  const client = isSecure ? tls.connect({ ...origin, ca: CERTIFICATE.cert }) : net.connect(origin);
  const gone = new Promise((resolve) => {
    for (const event of ["end", "error", "close"]) client.once(event, resolve);
  });
  client.on("error", () => undefined);
  client.write("hi");
  client.resume();
  await actions.later?.(await found);
  await gone;
  client.destroy();
  listener.close();
  await until("the end of all handles", () => handles() === 0);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const MOMENTS: Record<string, () => Promise<void>> = {
  "at once": async () => undefined,
  "a turn later": turn,
  "20 ms later": () => new Promise((resolve) => setTimeout(resolve, 20)),
};

const WAYS: Record<string, Action> = {
  "a write": (link) => void link.write(Buffer.from("bye")),
  "an end": (link) => link.end(),
  "a write and an end": (link) => {
    link.write(Buffer.from("bye"));
    link.end();
  },
  nothing: () => undefined,
};

for (const held of ["sockets", "handles", "TLS"] as const) {
  for (const how of ["reset", "destroy"] as const) {
    for (const [before, act] of Object.entries(WAYS)) {
      const name = `${held}: ${how} after ${before}`;
      const both: Action = (link) => {
        act(link);
        link[how]();
      };
      links(`${name}, within accept, leaves no handle`, () =>
        leavesNothing(held, { accepted: both }),
      );
      links(`${name}, within a read, leaves no handle`, () => leavesNothing(held, { read: both }));
      for (const [moment, wait] of Object.entries(MOMENTS)) {
        links(`${name}, ${moment}, leaves no handle`, () =>
          leavesNothing(held, {
            async later(link) {
              act(link);
              await wait();
              link[how]();
            },
          }),
        );
      }
    }
  }
}

for (const how of ["reset", "destroy", "end"] as const) {
  links(`TLS: ${how} before the handshake leaves no handle`, () =>
    leavesNothing("TLS", { early: (link) => link[how]() }),
  );
  for (const [moment, wait] of Object.entries(MOMENTS)) {
    links(`TLS: ${how} ${moment}, at any point of the handshake, leaves no handle`, () =>
      leavesNothing("TLS", {
        early: () => undefined,
        async later(link) {
          await wait();
          link[how]();
          link.destroy();
        },
      }),
    );
  }
}

// ---- writes ------------------------------------------------------------------------------------------

interface Handle {
  writeBuffer(request: object, bytes: Uint8Array): number;
}
type Handled = net.Socket & { readonly _handle: Handle };

/** Connects; returns a link, the number of its completions so far, and its client. */
async function connected(): Promise<{
  link: Link;
  completions: () => number;
  client: Handled;
  end(): void;
}> {
  let accepted: Action = () => undefined;
  const found = new Promise<Link>((resolve) => {
    accepted = resolve;
  });
  let completions = 0;
  const accept = (link: Link): Sink => {
    accepted(link);
    const written = (): void => {
      completions++;
    };
    const nothing = (): void => undefined;
    return { read: nothing, written, ended: nothing, lost: nothing, secured: nothing };
  };
  const options = {
    port: 0,
    hostname: "127.0.0.1",
    backlog: 8,
    noDelay: true,
    keepAlive: undefined,
  };
  const listener = await nodeTransport().listen(
    { ...options, ipv6Only: false, handshakeTimeout: 5000, proxied: false, redirects: false },
    new Uint8Array(65536),
    accept,
    () => undefined,
  );
  const client = net.connect(portOf({ address: listener }), "127.0.0.1") as Handled;
  const link = await found;
  const end = (): void => {
    link.destroy();
    client.destroy();
    listener.close();
  };
  return { link, completions: () => completions, client, end };
}

links(
  "a write that libuv completes at its second try is complete when that is reported",
  async () => {
    const one = await connected();
    const other = await connected();
    let got = "";
    one.client.on("data", (bytes) => {
      got += bytes;
    });
    // The first shows how writes are requested.
    one.link.write(Buffer.from("first"));
    await until("the first bytes", () => got === "first");
    other.client.pause();
    const prototype = Object.getPrototypeOf(Object.getPrototypeOf(one.client._handle)) as Handle;
    const { writeBuffer } = prototype;
    const seen: Handle[] = [];
    let isGiven = false;
    prototype.writeBuffer = function (request, bytes) {
      seen.push(this);
      isGiven = request !== null;
      return writeBuffer.call(this, request, bytes);
    };
    try {
      // A client that does not read: bytes written to it stay in flight.
      assert.not(other.link.write(new Uint8Array(32 << 20)));
      const [blocked] = seen as [Handle];
      // Node 26 makes a request only for a write that has to wait: none is given, so none can be in use.
      if (!isGiven) {
        one.end();
        other.end();
        return;
      }
      prototype.writeBuffer = function (request, bytes) {
        // The request is in use, and the handle's own queue is empty.
        writeBuffer.call(blocked, request, Buffer.from("x"));
        const Request = request.constructor as new () => object;
        return writeBuffer.call(this, new Request(), bytes);
      };
      assert.not(one.link.write(Buffer.from(", second")));
    } finally {
      prototype.writeBuffer = writeBuffer;
    }
    const before = one.completions();
    other.client.resume();
    await until("a completion", () => one.completions() === before + 1);
    assert.ok(one.link.write(Buffer.from(", third")));
    await until("all bytes", () => got === "first, second, third");
    one.end();
    other.end();
  },
);

links.run();
