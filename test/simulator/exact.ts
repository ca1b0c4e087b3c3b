// The judge of exact mode: the bytes that arrive at each client are those of the model. A client that reads at once has
// received all of them whenever nothing is in flight.

import { latin1 } from "../../host/shared/text/text";
import type { Client } from "./client";
import type { Court, Judge } from "./judge";
import { Model, type Peer } from "./model";
import type { Arrived, Frame } from "./stream";

/** Returns the beginning of a response, or of a frame in hexadecimal digits. */
function shown(bytes: Uint8Array): string {
  const isAnswer = bytes[0] === 72;
  const front = isAnswer ? latin1(bytes, 0, Math.min(300, bytes.length)) : "";
  return `${front || Buffer.from(bytes).toString("hex", 0, 20)} (${bytes.length} bytes)`;
}

/** Returns true for a publication to a client that has half-closed: the server may reach it after the client's end. */
function isSpare(client: Client, peer: Peer, expected: Uint8Array): boolean {
  return client.hasEnded && peer.isOpen && !peer.own.has(expected);
}

export class Exact extends Model implements Judge {
  readonly #court: Court;

  constructor(court: Court) {
    super(court.settings);
    this.#court = court;
  }

  answer(client: Client, { bytes }: Arrived): void {
    this.#take(client, bytes);
  }

  frame(client: Client, { opcode, bytes }: Frame): void {
    if (opcode < 9) this.#take(client, bytes);
  }

  #take(client: Client, bytes: Uint8Array): void {
    const peer = this.peer(client);
    let expected = peer.expected.shift();
    while (expected && isSpare(client, peer, expected) && Buffer.compare(expected, bytes) !== 0)
      expected = peer.expected.shift();
    if (expected && Buffer.compare(expected, bytes) === 0) return;
    client.fail(`${shown(bytes)} has arrived, not ${expected ? shown(expected) : "anything"}`);
  }

  quiet(): void {
    for (const [client, peer] of this.peers) {
      // The time at which the server notices a reset is not defined; a slow reader that leaves its WebSocket may miss
      // the rest.
      const mayMiss = client.hasReset || (client.hasEnded && peer.isOpen && !client.isPrompt);
      if (!mayMiss && client.isReading) this.#checkWhole(client, peer);
    }
    for (const [client, topics] of this.#court.readers()) {
      const { topics: known, isOver } = this.peer(client);
      if (!isOver && [...topics].sort().join() !== [...known].sort().join())
        client.fail(`it subscribes to ${topics}, not to ${[...known]}`);
    }
  }

  #checkWhole(client: Client, peer: Peer): void {
    const { length } = peer.expected.filter((bytes) => !isSpare(client, peer, bytes));
    if (length > 0) client.fail(`${length} answers or messages lack`);
    const isCut = client.hasEnded && peer.isOpen;
    if (client.rest > 0 && !isCut)
      client.fail(`${client.rest} bytes that are no answer and no message`);
    // Its end waits for its handlers, and for messages that were queued before.
    const isFree = peer.handlers + peer.inputs.length === 0 && !peer.isPaused;
    if (peer.isOver && isFree && !client.socket.ended) client.fail("its connection has not ended");
  }

  delivered(): void {
    this.quiet();
  }

  // The model knows what handlers send, and when a connection ends.
  echoed(): void {}
  finished(): void {}
}
