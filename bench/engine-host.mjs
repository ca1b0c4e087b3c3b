// A host for one engine without any I/O: it accepts, upgrades, takes rows and events, and nothing else.

/** Sizes that no case runs into. */
const PARAMS = {
  Connections: 256,
  WebSockets: 256,
  RingBytes: 1 << 20,
  Frames: 1 << 16,
  QueuedFrames: 1 << 16,
  ReceivePoolBytes: 1 << 22,
  ReplyPoolBytes: 1 << 22,
  Backlog: 1 << 20,
  WindowBytes: 1 << 21,
  ScratchBytes: 1 << 21,
  HeadBytes: 16384,
  Headers: 100,
  TargetBytes: 8192,
  BodyBytes: 1 << 20,
  PayloadBytes: 1 << 21,
  Fragments: 1000,
  RunBytes: 1 << 18,
  HeadTimeout: 1e6,
  RequestTimeout: 1e6,
  KeepAliveTimeout: 1e6,
  WriteTimeout: 1e6,
  IdleTimeout: 1e6,
  CloseTimeout: 1e6,
  BufferTimeout: 1e6,
  SlowGrace: 250,
  Topics: 1,
  Subscriptions: 1,
  FirstSequence: 0,
  Seed: 1,
};

const HANDSHAKE = Buffer.from(
  "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
);

export class Host {
  #event;
  #row;

  /** @param binding as `buildEngine` made it @param {WebAssembly.Module} module */
  constructor(binding, module, params = {}) {
    this.abi = binding;
    this.engine = new binding.Engine(module, { ...PARAMS, ...params });
    this.x = this.engine.x;
    this.#event = this.engine.eventCursor();
    this.#row = this.engine.rowCursor();
    this.now = 1000;
    this.time(0);
  }

  /** Lets time pass. @param {number} ms */
  time(ms) {
    this.now += ms;
    this.engine.set(this.abi.Control.Now, this.now);
  }

  get events() {
    return this.engine.eventCount;
  }

  /** An event that waits, valid until the next is asked for. @param {number} i */
  event(i) {
    this.#event.move(i);
    return this.#event;
  }

  dropEvents() {
    this.engine.set(this.abi.Control.EventCount, 0);
  }

  /** Bytes arrive; returns how many were consumed. */
  feed({ slot, generation }, bytes) {
    this.engine.u8.set(bytes, this.engine.window);
    return this.x.feed(slot, generation, bytes.length);
  }

  connect() {
    const slot = this.x.accept();
    if (slot >>> 0 === this.abi.NONE) throw new Error("no slot is free");
    return { slot, generation: this.engine.generation };
  }

  /** A WebSocket whose 101 has gone out. */
  open() {
    const c = this.connect();
    this.feed(c, HANDSHAKE);
    this.dropEvents();
    const outcome = this.x.upgrade(c.slot, c.generation, 0, 0);
    if (outcome !== this.abi.Outcome.Ok) throw new Error(`upgrade: ${this.abi.Outcome[outcome]}`);
    const slot = this.engine.get(this.abi.Control.Result);
    const { generation } = this.engine;
    this.x.resume(slot, generation);
    this.flush();
    return { slot, generation };
  }

  /** Ends a connection and frees its slot. */
  end({ slot, generation }) {
    this.x.terminate(slot, generation, this.abi.CloseReason.PeerReset);
    this.dropEvents();
    this.x.free(slot, generation);
  }

  subscribe({ slot, generation }, topic) {
    const outcome = this.x.subscribe(
      slot,
      generation,
      this.engine.scratch,
      this.engine.putTopic(topic),
    );
    if (outcome !== this.abi.Outcome.Ok) throw new Error(`subscribe: ${this.abi.Outcome[outcome]}`);
  }

  /** Marks the rows of the table as written. */
  complete(count) {
    for (let i = 0; i < count; i++) this.row(i).complete();
  }

  /** Takes the table, until it is empty, as if each row was written at once; returns their number. */
  flush() {
    let rows = 0;
    for (let count = this.x.flush(); count > 0; count = this.x.flush()) {
      this.complete(count);
      rows += count;
    }
    this.dropEvents();
    return rows;
  }

  /** A row, valid until the next is asked for. @param {number} i */
  row(i) {
    this.#row.move(i);
    return this.#row;
  }
}
