// WebSocket clients in a process of their own. Each reads into one shared buffer and checks what it
// gets without keeping it: frames of `size` bytes of payload that begin with their number.
//
// Messages: { open: { port, clients, stalled, size } } is answered with "open" when all are,
// "report" with how far each has come. The first `stalled` clients never read.

import net from "node:net";
import { HANDSHAKE } from "./floods/wire.mjs";

const buffer = Buffer.alloc(262144);
const clients = [];
let opened = 0;

class Client {
  count = 0;
  wrong = "";
  ended = "";
  #head = "";
  #open = false;
  /** Bytes of the current frame that have come, and how many of them matter. */
  #at = 0;
  #header;
  #first = Buffer.alloc(8);

  constructor(port, size, stalls) {
    this.#header = size < 126 ? 2 : size < 65536 ? 4 : 10;
    this.total = this.#header + size;
    const callback = (n) => {
      if (this.#open) this.#read(0, n);
      else if (!this.#readHead(n)) return true;
      return !(stalls && this.#open);
    };
    this.socket = net.connect({ port, host: "127.0.0.1", onread: { buffer, callback } });
    this.socket.on("error", (error) => {
      this.ended = error.code;
    });
    this.socket.on("close", () => {
      this.ended ||= "closed";
    });
    this.socket.write(`${HANDSHAKE}\r\n`);
  }

  #readHead(n) {
    const before = this.#head.length;
    this.#head += buffer.latin1Slice(0, n);
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) return false;
    if (!this.#head.startsWith("HTTP/1.1 101 ")) this.wrong = this.#head;
    this.#open = true;
    if (++opened === clients.length) process.send("open");
    this.#read(end + 4 - before, n);
    return true;
  }

  #read(from, to) {
    for (let i = from; i < to; ) {
      if (this.#at < 8) {
        this.#first[this.#at++] = buffer[i++];
        if (this.#at === 8) this.#check();
        continue;
      }
      const step = Math.min(this.total - this.#at, to - i);
      this.#at += step;
      i += step;
      if (this.#at === this.total) {
        // The last byte belongs to this frame, too: it is the number's lowest.
        if (buffer[i - 1] !== (this.count & 255))
          this.wrong ||= `frame ${this.count} ends with ${buffer[i - 1]}`;
        this.count++;
        this.#at = 0;
      }
    }
  }

  #check() {
    const number = this.#first.readUInt32BE(this.#header);
    if (this.#first[0] !== 0x82 || number !== this.count)
      this.wrong ||= `frame ${this.count} is ${number}, ${this.#first.toString("hex")}`;
  }
}

process.on("message", (message) => {
  if (message === "report") {
    process.send(clients.map(({ count, wrong, ended }) => ({ count, wrong, ended })));
  } else if (message.open) {
    const { port, clients: count, stalled = 0, size } = message.open;
    while (clients.length < count) clients.push(new Client(port, size, clients.length < stalled));
  }
});
process.on("disconnect", () => process.exit());
