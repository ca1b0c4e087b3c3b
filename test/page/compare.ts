// Scenarios for a WebSocket, played on any class with that interface. Everything that a front end can observe becomes a
// log. The page's own class against a real server, and ours against the same handler, must give the same.

import { sleep } from "../lib/wait";

/** A WebSocket's events and what is said of them. */
class Player {
  readonly log: string[] = [];
  readonly socket: WebSocket;
  readonly #closed: Promise<void>;

  constructor(socket: WebSocket) {
    this.socket = socket;
    const state = (): string => `state ${socket.readyState}`;
    socket.addEventListener("open", ({ type }) => {
      this.log.push(`${type}, ${state()}, protocol "${socket.protocol}"`);
    });
    socket.addEventListener("message", ({ data }) => this.log.push(`message ${shown(data)}`));
    socket.addEventListener("error", ({ type }) => this.log.push(`${type}, ${state()}`));
    this.#closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason, wasClean }) => {
        this.log.push(`close ${code} "${reason}" ${wasClean ? "clean" : "unclean"}, ${state()}`);
        resolve();
      });
    });
  }

  opened(): Promise<void> {
    return new Promise((resolve) => this.socket.addEventListener("open", () => resolve()));
  }

  next(): Promise<unknown> {
    return new Promise((resolve) => {
      this.socket.addEventListener("message", ({ data }) => resolve(data), { once: true });
    });
  }

  /** All that was seen, when it has closed. */
  async end(): Promise<string[]> {
    await this.#closed;
    return this.log;
  }
}

function shown(data: unknown): string {
  if (typeof data === "string") return data.length > 40 ? `text of ${data.length}` : `"${data}"`;
  if (data instanceof Blob) return `Blob of ${data.size} "${data.type}"`;
  if (data instanceof ArrayBuffer) return `ArrayBuffer [${[...new Uint8Array(data)].slice(0, 8)}]`;
  return typeof data;
}

/** Returns the result or the error of a function, as text. */
function outcome(fn: () => unknown): string {
  try {
    return String(fn());
  } catch (error) {
    const kind = error instanceof DOMException ? "DOMException " : "";
    return `throws ${kind}${(error as Error).name}`;
  }
}

type Play = (Class: typeof WebSocket, base: string) => Promise<string[]>;

/** Opens, does something, closes, and tells all. */
function session(path: string, act: (player: Player) => Promise<void> | void): Play {
  return async (Class, base) => {
    const player = new Player(new Class(base + path));
    await player.opened();
    await act(player);
    player.socket.close(1000);
    return player.end();
  };
}

/** Opens and waits for the end. */
function watched(path: string, protocols?: string | string[]): Play {
  return (Class, base) => new Player(new Class(base + path, protocols)).end();
}

export const SCENARIOS: Readonly<Record<string, Play>> = {
  "texts come back": session("/", async (player) => {
    for (const text of ["", "a", "€𝄞", "x".repeat(125), "x".repeat(126), "x".repeat(70000)]) {
      player.socket.send(text);
      await player.next();
    }
  }),
  "a lone surrogate is replaced": session("/", async (player) => {
    player.socket.send("\ud800!");
    await player.next();
  }),
  "binary arrives as Blob, or ArrayBuffer": session("/", async ({ socket }) => {
    const next = (): Promise<void> =>
      new Promise((resolve) => socket.addEventListener("message", () => resolve(), { once: true }));
    socket.send(new Uint8Array([1, 2, 3]));
    await next();
    socket.binaryType = "arraybuffer";
    socket.send(new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4));
    await next();
    socket.send(new Uint16Array([258, 772]));
    await next();
    socket.send(new DataView(new ArrayBuffer(3), 1));
    await next();
    socket.send(new Uint8Array([7]).buffer);
    await next();
    socket.binaryType = "blob";
    socket.send(new Uint8Array(0));
    await next();
  }),
  "a Blob keeps its place": session("/", async (player) => {
    player.socket.binaryType = "arraybuffer";
    player.socket.send("before");
    player.socket.send(new Blob(["ab"]));
    player.socket.send("behind");
    for (let i = 0; i < 3; i++) await player.next();
  }),
  "anything else is sent as a string": session("/", async (player) => {
    for (const value of [1, null, undefined, { toString: () => "object" }, [1, 2]]) {
      player.socket.send(value as unknown as string);
      await player.next();
    }
  }),
  "messages that come together arrive one a task": async (Class, base) => {
    const socket = new Class(`${base}/burst`);
    const log: string[] = [];
    for (let i = 0; i < 5; i++) {
      const message: MessageEvent = await new Promise((resolve) => {
        socket.onmessage = resolve;
      });
      log.push(String(message.data));
    }
    await new Promise((resolve) => {
      socket.onclose = resolve;
    });
    return log;
  },
  "the server closes with code and reason": watched("/close"),
  "the server closes with 1000": watched("/close-plain"),
  "the server sends and closes": watched("/burst"),
  "the server resets": watched("/reset"),
  "the server refuses": watched("/refused"),
  "a subprotocol is chosen": async (Class, base) => {
    const player = new Player(new Class(`${base}/protocol`, ["a", "b"]));
    await player.opened();
    player.socket.close();
    return player.end();
  },
  "no subprotocol is chosen": watched("/", "a"),
  "a ping is answered": session("/ping", async (player) => {
    await player.next();
  }),
  "the client closes without code": async (Class, base) => {
    const player = new Player(new Class(base));
    await player.opened();
    player.socket.close();
    player.log.push(`state ${player.socket.readyState}`);
    return player.end();
  },
  "the client closes with code and reason": async (Class, base) => {
    const player = new Player(new Class(base));
    await player.opened();
    player.socket.close(3333, "see you €");
    return player.end();
  },
  "the server hears of code and reason": async (Class, base) => {
    const other = new Player(new Class(base));
    await other.opened();
    const player = new Player(new Class(base));
    await player.opened();
    player.socket.close(3456, "reported");
    await player.end();
    while (!other.log.some((line) => line.includes("3456"))) await other.next();
    other.socket.close();
    await other.end();
    return other.log.filter((line) => line.includes("3456"));
  },
  "close before it is open": async (Class, base) => {
    const player = new Player(new Class(base));
    player.socket.close();
    player.log.push(`state ${player.socket.readyState}`);
    return player.end();
  },
  "close twice": session("/", async (player) => {
    player.socket.close(1000, "first");
    player.socket.close(3000, "second");
  }),
  "no message after close": async (Class, base) => {
    const player = new Player(new Class(`${base}/talk`));
    await player.next();
    player.socket.close();
    const before = player.log.length;
    const log = await player.end();
    return log.slice(before);
  },
  "both close at once": async (Class, base) => {
    const player = new Player(new Class(base));
    await player.opened();
    player.socket.send("close me");
    player.socket.close(3001, "mine");
    return player.end();
  },
  "send before it is open": async (Class, base) => {
    const player = new Player(new Class(base));
    player.log.push(outcome(() => player.socket.send("early")));
    await player.opened();
    player.socket.close();
    return player.end();
  },
  "bufferedAmount counts what is sent": async (Class, base) => {
    const player = new Player(new Class(base));
    const { socket, log } = player;
    await player.opened();
    socket.send("€");
    log.push(`${socket.bufferedAmount}`);
    socket.send(new Uint8Array(10));
    log.push(`${socket.bufferedAmount}`);
    socket.send(new Blob(["four"]));
    log.push(`${socket.bufferedAmount}`);
    for (let i = 0; i < 3; i++) await player.next();
    // It falls when the browser has sent all, which no event tells.
    for (let i = 0; i < 250 && socket.bufferedAmount > 0; i++) await sleep(20);
    log.push(`${socket.bufferedAmount}`);
    socket.close();
    socket.send("12345");
    log.push(`${socket.bufferedAmount}`);
    await player.end();
    socket.send(new Uint8Array(3));
    log.push(`${socket.bufferedAmount}`);
    return log;
  },
  "1 MiB goes both ways": session("/", async (player) => {
    player.socket.binaryType = "arraybuffer";
    player.socket.send(new Uint8Array(1048576).fill(5));
    player.log.push(`${((await player.next()) as ArrayBuffer).byteLength}`);
    player.socket.send("y".repeat(1048576));
    await player.next();
  }),
  "handlers stand where they were first set": async (Class, base) => {
    const socket = new Class(base);
    const log: string[] = [];
    socket.onopen = () => log.push("replaced");
    socket.addEventListener("open", () => log.push("listener"));
    socket.onopen = function (event) {
      log.push(`handler ${this === socket} ${event.target === socket} ${event.bubbles}`);
    };
    socket.onmessage = () => log.push("removed");
    socket.onmessage = null;
    log.push(`${socket.onmessage} ${typeof socket.onopen} ${socket.onclose}`);
    (socket as { onerror: unknown }).onerror = "no function";
    log.push(`${socket.onerror}`);
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    socket.send("x");
    await new Promise((resolve) => socket.addEventListener("message", resolve, { once: true }));
    socket.onclose = (event) => log.push(`${event.type} ${event instanceof CloseEvent}`);
    socket.close();
    await new Promise((resolve) => socket.addEventListener("close", resolve));
    return log;
  },
  "URLs and subprotocols are checked": async (Class) => {
    const log: string[] = [];
    const tried = (...args: unknown[]): void => {
      const made = outcome(() => {
        const socket = Reflect.construct(Class, args) as WebSocket;
        socket.close();
        return socket.url;
      });
      log.push(`${args.map(String)}: ${made}`);
    };
    const url = "ws://nowhere.test/";
    tried();
    for (const wrong of ["http://[", "ftp://x/", `${url}#a`, `${url}#`, "mailto:a", "ws://a b/"])
      tried(wrong);
    tried(url, ["a", "a"]);
    tried(url, ["a", "A"]);
    for (const wrong of ["", "a b", "a,b", "é", "a/b", null, 0, {}]) tried(url, wrong);
    tried(url, []);
    tried(url, undefined);
    tried(new URL("http://nowhere.test:81/a?b"));
    tried("HTTPS://Nowhere.test:443/%20 x");
    tried(url, new Set(["x", "y"]));
    // A refused call must cause no event.
    await sleep(50);
    return log;
  },
  "codes and reasons are checked": async (Class, base) => {
    const player = new Player(new Class(base));
    await player.opened();
    const { socket, log } = player;
    const tried = (...args: unknown[]): void => {
      log.push(`${args.map(String)}: ${outcome(() => Reflect.apply(socket.close, socket, args))}`);
    };
    for (const code of [0, 999, 1001, 1005, 1006, 2999, 5000, 65536, -1, null, "x", Number.NaN])
      tried(code);
    tried(1000, "x".repeat(124));
    tried(3000, "€".repeat(42));
    log.push(`state ${socket.readyState}`);
    tried("3000", "€".repeat(41));
    tried(5000);
    return player.end();
  },
  "the class looks alike": async (Class, base) => {
    const socket = new Class(base);
    const log = [
      `${Class.name} ${Class.length} ${Class.CONNECTING}${Class.OPEN}${Class.CLOSING}${Class.CLOSED}`,
      `${socket.CONNECTING}${socket.OPEN}${socket.CLOSING}${socket.CLOSED} ${String(socket)}`,
      `${socket.readyState} "${socket.protocol}" "${socket.extensions}" ${socket.binaryType}`,
      `${socket instanceof EventTarget} ${outcome(() => Reflect.apply(Class as never, undefined, [base]))}`,
      outcome(() => Reflect.apply(socket.send, socket, [])),
    ];
    (socket as { binaryType: string }).binaryType = "other";
    log.push(socket.binaryType);
    const player = new Player(socket);
    await player.opened();
    socket.close();
    await player.end();
    return log;
  },
};
