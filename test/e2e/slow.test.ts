// Slow and frozen clients on real sockets of Linux, with short limits: the kernel's send queue says who makes progress.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as net from "node:net";
import { type Handler, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { handshake, sleep, until, within } from "./peer";

const slow = suite("slow");
/** More than the kernels of both ends hold. */
const BODY = 24e6;
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** Sends what it is given, reads and says so. */
const CHILD = `
  const [port, text] = process.argv.slice(1);
  const socket = require("node:net").connect(Number(port), "127.0.0.1", () => socket.write(text));
  socket.once("data", () => process.stdout.write("read"));
  socket.on("data", () => undefined);
  socket.on("error", () => undefined);
`;

async function serving(
  options: object,
  body: (server: Server, port: number, causes: string[]) => Promise<void>,
): Promise<void> {
  const causes: string[] = [];
  const bytes = new Uint8Array(BODY);
  const handler: Handler = {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "", bytes)),
    disconnect: (_, { cause }) => void causes.push(cause),
    close: (_, { cause }) => void causes.push(cause),
  };
  const server = await within(
    serve({ port: 0, hostname: "127.0.0.1", handler, ...options }),
    "serve",
  );
  try {
    await body(server, server.address.port, causes);
  } finally {
    await within(server.close(), "close");
  }
}

/** A client in a process of its own, which has read something and is stopped then. */
async function frozen(port: number, text: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", CHILD, String(port), text], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await within(once(child.stdout as NodeJS.ReadableStream, "data"), "the client reads");
  child.kill("SIGSTOP");
  return child;
}

async function endsAs(text: string, options: object, cause: string): Promise<void> {
  await serving(options, async (_, port, causes) => {
    const child = await frozen(port, text);
    try {
      await until(cause, () => causes.length > 0);
      assert.equal(causes, [cause]);
    } finally {
      child.kill("SIGKILL");
    }
  });
}

if (process.platform === "linux") {
  slow(
    "a reader whose writes take longer than writeTimeout to complete gets all of its answer",
    () =>
      serving({ writeTimeout: 5000 }, async (_, port, causes) => {
        const socket = net.connect({ port, host: "127.0.0.1" });
        await once(socket, "connect");
        socket.pause();
        socket.write(GET);
        let got = 0;
        const from = Date.now();
        // A write completes when a third of the send buffer is free, which takes about 8 s at this rate.
        while (Date.now() - from < 9000 && causes.length === 0) {
          await sleep(100);
          got += (socket.read(16000) as Buffer | null)?.length ?? 0;
        }
        assert.equal(causes, [], `${got} bytes in ${Date.now() - from} ms`);
        socket.on("data", (bytes: Buffer) => {
          got += bytes.length;
        });
        socket.resume();
        await until("all of it", () => got > BODY || causes.length > 0);
        assert.equal(causes, []);
        socket.destroy();
      }),
  );

  slow("a client that is stopped within its answer is ended as WriteTimeout", () =>
    endsAs(GET, { writeTimeout: 3000 }, "WriteTimeout"),
  );

  slow("a WebSocket client that is stopped is ended as IdleTimeout", () =>
    endsAs(handshake("/"), { idleTimeout: 4 }, "IdleTimeout"),
  );
} else {
  slow("send queues are read on Linux alone", () => assert.is.not(process.platform, "linux"));
}

slow.run();
