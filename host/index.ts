// `serve`: starts a server in a worker thread, on Node or on a runtime that provides Node's modules.

import {
  MessageChannel,
  type MessagePort,
  Worker,
  receiveMessageOnPort,
} from "node:worker_threads";
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import type { ControlPlane, Notice } from "../worker/control/control";
import type { MainData } from "../worker/entry/main";
import { checkCertificates } from "./certificates";
import { descriptorLimit } from "./limits";
import type { TlsCheck } from "./options/site/hosts";
import type { Options } from "./options/types";
import { TRANSPORTS } from "./options/table";
import { prepare } from "./start/prepare";
import {
  SERVER_NAMES,
  RunningServer,
  type Server,
  type StartThread,
  type ThreadEvents,
} from "./server";
import { variableOf } from "./permission";
import { explained, threadFlags } from "./start/threads";
import { unawaited } from "./unawaited";
import { needWebAssembly } from "./shared/webassembly";

export type * from "./exported";
export { CLOSE_TABLE } from "./shared/close";
export { type Publisher, openPublisher } from "./send/publisher";
export {
  OPTIONS,
  POOL_OPTIONS,
  type ListName,
  type OptionName,
  type OptionRow,
} from "./options/table";
export { plan } from "./options/plan";

class NodeServer extends RunningServer {
  protected override explain(error: unknown): Promise<unknown> {
    return explained(error);
  }

  protected override checkTls(checks: readonly TlsCheck[]): void {
    checkCertificates(checks);
  }
}

/** Reads the last messages of a thread that has ended, because its end may be reported before they have arrived. */
function hearLast(port: MessagePort, events: ThreadEvents): void {
  try {
    for (;;) {
      const last = receiveMessageOnPort(port);
      if (!last) return;
      events.notice(last.message as Notice);
    }
  } catch {
    // Deno: the port has closed.
  }
}

const startThread: StartThread = (data, events) => {
  const stream = variableOf("RINGCAST_STREAM") === "1";
  const { heap, transport } = data.settings.values;
  const chosen = variableOf("RINGCAST_TRANSPORT") ?? TRANSPORTS[transport];
  const hasPlain = data.settings.listeners.some((one) => !one.options.tls);
  const handles = chosen !== "sockets" && hasPlain;
  // The thread has a channel of its own for this, because a handler may post any message to the thread's parent.
  const { port1: port, port2 } = new MessageChannel();
  const descriptors = descriptorLimit();
  const main: MainData = { ...data, stream, handles, descriptors, port: port2 };
  const worker = new Worker(new URL("./worker.js", import.meta.url), {
    workerData: main,
    transferList: [port2],
    name: "ringcast",
    ...threadFlags(),
    ...(heap > 0 ? { resourceLimits: { maxOldGenerationSizeMb: heap } } : {}),
  });
  port.on("message", (notice: Notice) => events.notice(notice));
  worker.on("error", (error) => {
    hearLast(port, events);
    events.failed(error);
  });
  worker.on("exit", (code) => {
    hearLast(port, events);
    port.close();
    events.exited(code);
  });
  const control = Comlink.wrap<ControlPlane>(nodeEndpoint(port as never));
  // The worker, not this port, keeps the process alive.
  port.unref();
  return {
    control,
    post: (message, transfer) => port.postMessage(message, transfer as ArrayBuffer[] | undefined),
    async terminate() {
      control[Comlink.releaseProxy]();
      await worker.terminate();
    },
  };
};

/**
 * Starts a server in a worker thread. `User` is the type of `ws.data`, which the handler gives to `res.upgrade()`.
 * @throws TypeError, RangeError for a wrong option, naming the option, the value and the range; otherwise the error of
 * the handler module or of listening. After an error nothing of the server remains.
 */
export function serve<User = unknown>(options: Options<User> = {}): Promise<Server<User>> {
  return unawaited(start(options), "serve", SERVER_NAMES);
}

async function start<User>(options: Options<User>): Promise<Server<User>> {
  // The type of `ws.data` is up to the upgrades of the handler, so it is not checked here.
  const given = options as Options;
  const { options: fitting, settings } = prepare(given);
  needWebAssembly();
  const server = new NodeServer(fitting, settings, startThread);
  await server.listen();
  server.follow(given.signal);
  return server as unknown as Server<User>;
}
