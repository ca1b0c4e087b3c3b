// Clients with a fixed number of messages in flight to be echoed. For each echo received the client sends the next
// message, in one write for all echoes of a read. A run ends when its time is over and every echo has arrived.

import { micros } from "./servers/publish.mjs";

const MASK = 0x3d21fa37;
const HEAD_BYTES = 6; // of a masked frame of less than 126 bytes

/** Returns the frames of a client, `depth` of them in a row. @param {number} size bytes of a message, 4 … 125 */
function frames(size, depth) {
  const head = Buffer.from([0x82, 0x80 | size, 0, 0, 0, 0]);
  head.writeInt32LE(MASK, 2);
  const payload = Buffer.alloc(size, "echo").map((byte, i) => byte ^ head[2 + (i % 4)]);
  return Buffer.concat(Array.from({ length: depth }, () => [head, payload]).flat());
}

/** @typedef {import("./load.mjs").Client & { sent: number, buffer: Buffer }} Sender */

export class Echo {
  #start = micros();
  #isOver = false;
  #frameBytes;
  #clients;
  #waiting;

  /**
   * Sends the first messages.
   * @param {{ size: number, depth: number, millis: number }} job
   * @param {import("./load.mjs").Client[]} clients
   */
  constructor({ size, depth, millis }, clients) {
    setTimeout(() => {
      this.#isOver = true;
    }, millis);
    this.#frameBytes = HEAD_BYTES + size;
    this.#clients = clients.map((client) =>
      Object.assign(client, { sent: 0, buffer: frames(size, depth) }),
    );
    this.#waiting = clients.length;
    for (const client of this.#clients) this.#send(client, depth);
  }

  /** @param {Sender} client @param {number} count messages */
  #send(client, count) {
    // A pending write keeps its bytes.
    if (client.socket.writableLength > 0) client.buffer = Buffer.from(client.buffer);
    const { buffer, socket } = client;
    const end = count * this.#frameBytes;
    for (let at = 0; at < end; at += this.#frameBytes) {
      buffer.writeInt32LE(client.sent++ ^ MASK, at + HEAD_BYTES);
    }
    socket.write(end === buffer.length ? buffer : buffer.subarray(0, end));
  }

  /**
   * Messages came back.
   * @param {Sender} client @param {number} count messages
   * @returns {boolean} true: these were the last
   */
  answered(client, count) {
    const { received } = client.frames;
    if (received > client.sent) throw new Error("an echo of nothing");
    if (!this.#isOver) this.#send(client, count);
    else if (received === client.sent) return --this.#waiting === 0;
    return false;
  }

  result() {
    const messages = this.#clients.reduce((sum, { sent }) => sum + sent, 0);
    return { messages, micros: micros() - this.#start };
  }
}
