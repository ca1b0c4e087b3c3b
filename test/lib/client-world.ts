// A world for `ringcast/client`: a clock that is moved by hand, WebSockets and event streams that the test controls.

/** Members of the global object that are replaced during a test. */
export type Globals = Record<string, unknown>;

/** Timers and `performance.now` that do not advance between two calls of `advance`. */
export class Clock {
  now = 0;
  #last = 0;
  readonly #timers = new Map<number, { at: number; run: () => void }>();

  readonly globals: Globals = {
    setTimeout: (fn: (...args: unknown[]) => void, ms: number, ...args: unknown[]) => {
      this.#timers.set(++this.#last, { at: this.now + ms, run: () => fn(...args) });
      return this.#last;
    },
    clearTimeout: (id: number) => this.#timers.delete(id),
    performance: { now: () => this.now },
  };

  get waiting(): number {
    return this.#timers.size;
  }

  /** Goes from timer to timer. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      let next: number | undefined;
      let at = end;
      for (const [id, timer] of this.#timers) {
        if (timer.at < at || (timer.at === at && next === undefined)) [next, at] = [id, timer.at];
      }
      if (next === undefined) break;
      const { run } = this.#timers.get(next) as { run: () => void };
      this.#timers.delete(next);
      this.now = at;
      run();
    }
    this.now = end;
  }
}

/** A WebSocket that the test is the network of. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) as FakeSocket;
  }
  readonly url: string;
  readonly offered: unknown;
  protocol = "";
  readonly sent: unknown[] = [];
  binaryType = "blob";
  readyState = 0;
  closedWith: unknown[] | undefined;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;

  constructor(url: string, protocols?: string | string[]) {
    this.url = url;
    this.offered = protocols;
    FakeSocket.all.push(this);
  }
  send(data: unknown): void {
    this.sent.push(data);
  }
  close(...args: unknown[]): void {
    this.closedWith = args;
    this.readyState = 2;
  }
  open(): this {
    this.readyState = 1;
    this.onopen?.({} as never);
    return this;
  }
  get(data: unknown): void {
    this.onmessage?.({ data } as never);
  }
  error(): this {
    this.onerror?.({} as never);
    return this;
  }
  end(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as never);
  }
}

/** Lets promises that can settle do so. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A response that is an event stream, or is still to come, of a `fetch` that the test is the network of. */
export class FakeStream {
  static all: FakeStream[] = [];
  static get last(): FakeStream {
    return FakeStream.all.at(-1) as FakeStream;
  }
  readonly url: string;
  readonly init: RequestInit;
  readonly headers: Headers;
  #respond: (response: Response) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;

  static readonly fetch = (url: string, init: RequestInit): Promise<Response> => {
    const stream = new FakeStream(url, init);
    FakeStream.all.push(stream);
    return new Promise((resolve, reject) => {
      stream.#respond = resolve;
      stream.#fail = reject;
      init.signal?.addEventListener("abort", () => {
        reject(init.signal?.reason);
        stream.#body?.error(init.signal?.reason);
      });
    });
  };

  constructor(url: string, init: RequestInit) {
    this.url = url;
    this.init = init;
    this.headers = new Headers(init.headers);
  }

  get isAborted(): boolean {
    return this.init.signal?.aborted === true;
  }

  /** Responds. */
  async open(status = 200, type = "text/event-stream"): Promise<this> {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
      },
    });
    const isEmpty = status === 204;
    const headers = { "Content-Type": type };
    this.#respond(new Response(isEmpty ? null : body, { status, headers }));
    await turn();
    return this;
  }

  async get(text: string): Promise<void> {
    this.#body?.enqueue(Buffer.from(text));
    await turn();
  }

  async end(): Promise<void> {
    this.#body?.close();
    await turn();
  }

  async fail(text: string): Promise<void> {
    this.#fail(new TypeError(text));
    this.#body?.error(new TypeError(text));
    await turn();
  }
}

/**
 * Runs a body in a world of its own.
 * @param random its `value` is the result of Math.random
 */
export async function inWorld(
  body: (clock: Clock, random: { value: number }) => void | Promise<void>,
  globals: Globals = {},
): Promise<void> {
  const clock = new Clock();
  const random = { value: 0.5 };
  const all: Globals = {
    ...clock.globals,
    WebSocket: FakeSocket,
    fetch: FakeStream.fetch,
    ...globals,
  };
  const before = Object.keys(all).map(
    (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
  );
  const { random: native } = Math;
  FakeSocket.all = [];
  FakeStream.all = [];
  for (const [name, value] of Object.entries(all))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  Math.random = () => random.value;
  try {
    await body(clock, random);
  } finally {
    Math.random = native;
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
  }
}
