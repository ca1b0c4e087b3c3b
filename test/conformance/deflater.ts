// The client's side of permessage-deflate (RFC 7692), by what the server answered: with the windows it
// named, and with a context for each direction unless it said that there is none.

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";

const TAIL = Buffer.from([0, 0, 255, 255]);

/** Parameters of the first element of a Sec-WebSocket-Extensions field. */
function paramsOf(field: string): Map<string, string> {
  const [name, ...params] = (field.split(",")[0] as string).split(";").map((word) => word.trim());
  if (name !== "permessage-deflate") throw new Error(`the answer has an extension ${name}`);
  const found = new Map<string, string>();
  for (const param of params) {
    const [key = "", value = ""] = param.split("=");
    if (found.has(key)) throw new Error(`the answer has ${key} twice`);
    found.set(key, value);
  }
  return found;
}

function bitsOf(params: Map<string, string>, name: string): number {
  const value = params.get(name) ?? "15";
  if (!/^([89]|1[0-5])$/.test(value)) throw new Error(`the answer has ${name}=${value}`);
  return Number(value);
}

export class Deflater {
  readonly #ownBits: number;
  readonly #serverBits: number;
  readonly #ownContext: boolean;
  readonly #serverContext: boolean;
  /** The last octets sent and received, where there is a context. */
  #sent = Buffer.alloc(0);
  #received = Buffer.alloc(0);

  /** @throws Error when the answer is none that the offers allow (RFC 7692 7.1) */
  constructor(answer: string, offers: string) {
    const params = paramsOf(answer);
    for (const name of params.keys()) {
      const known = /^(server|client)_(no_context_takeover|max_window_bits)$/.test(name);
      if (!known) throw new Error(`the answer has a parameter ${name}`);
    }
    const asked = /client_max_window_bits/.test(offers);
    if (params.has("client_max_window_bits") && !asked) {
      throw new Error("the answer limits a client that did not offer it");
    }
    this.#ownBits = bitsOf(params, "client_max_window_bits");
    this.#serverBits = bitsOf(params, "server_max_window_bits");
    this.#ownContext = !params.has("client_no_context_takeover");
    this.#serverContext = !params.has("server_no_context_takeover");
  }

  deflate(data: Buffer): Buffer {
    const windowBits = Math.max(9, this.#ownBits);
    const options = { finishFlush: constants.Z_SYNC_FLUSH, windowBits };
    const known = this.#sent.length > 0 ? { ...options, dictionary: this.#sent } : options;
    const packed = deflateRawSync(data, known);
    if (this.#ownContext) {
      this.#sent = Buffer.concat([this.#sent, data]).subarray(-(1 << this.#ownBits));
    }
    return packed.subarray(0, packed.length - TAIL.length);
  }

  /** Keeps the data that the next message refers to. */
  keep(known: Buffer): void {
    this.#sent = Buffer.from(known);
  }

  /** @throws Error when it is no deflate, or refers further back than was agreed upon */
  inflate(packed: Buffer): Buffer {
    const options = { finishFlush: constants.Z_SYNC_FLUSH, windowBits: this.#serverBits };
    const known = this.#received.length > 0 ? { ...options, dictionary: this.#received } : options;
    const data = inflateRawSync(Buffer.concat([packed, TAIL]), known);
    if (this.#serverContext) {
      this.#received = Buffer.concat([this.#received, data]).subarray(-(1 << this.#serverBits));
    }
    return data;
  }
}
