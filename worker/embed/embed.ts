// `ringcast/engine`: the engine and its driver, for any JavaScript runtime. No I/O, no timers, no imports of a
// platform.

import { Param } from "../../assembly/abi";
import type { Options } from "../../host/options/types";
import { engineParams } from "../../host/options/params";
import { refusePlan } from "../../host/options/plan";
import { settle } from "../../host/options/settle";
import { OPTIONS } from "../../host/options/table";
import { epochOf } from "../../host/shared/message/position";
import { type WasmModule, needWebAssembly } from "../../host/shared/webassembly";
import { Engine, type EngineParams } from "../engine/engine";
import { wasmModule } from "../engine/wasm";

export {
  ABI_VERSION,
  CloseReason,
  Control,
  EventKind,
  Outcome,
  Param,
  RowKind,
} from "../../assembly/abi";
export { CLOSE_TABLE, type CloseRow } from "../../host/shared/close";
export type {
  CertificateNames,
  CloseCause,
  CloseInfo,
  ConnectionId,
  Data,
  FragmentInfo,
  PeerCertificate,
  PoolStats,
  Request,
  Stats,
} from "../../host/handler";
export type { Size } from "../../host/options/size";
export {
  type DriverClock,
  type DriverEvents,
  type DriverPages,
  type DriverPublish,
  EngineDriver,
} from "./driver";
export { Engine, type EngineExports, type EngineParams, type Fields } from "../engine/engine";
export type { RequestHead } from "../../host/shared/request/request";
export type { EventCursor, RowCursor } from "../engine/cursors";
export { wasmBytes } from "../engine/wasm";
export type { WasmMemory, WasmModule } from "../../host/shared/webassembly";
export { Wire, type WireFields } from "./connection";
export type { BodySource, NextSource, ReadSource } from "../supply/source";
export type { PieceSource } from "../../host/shared/request/pieces";

/** The source of the wasm: bytes, a place to fetch them from, or a compiled module. */
export type WasmSource =
  | URL
  | string
  | Response
  | ArrayBuffer
  | Uint8Array<ArrayBuffer>
  | WasmModule;

/** The options in the README's table that concern the engine. */
export type EngineOptions = Pick<
  Options,
  | "maxConnections"
  | "maxWebSockets"
  | "maxConnectionsPerAddress"
  | "maxReceivePerAddress"
  | "maxReplyPerAddress"
  | "whenFull"
  | "ring"
  | "events"
  | "eventRing"
  | "maxFrames"
  | "maxQueuedFrames"
  | "maxRunBytes"
  | "slowGrace"
  | "receiveBuffers"
  | "replyBuffers"
  | "fileBuffers"
  | "maxBacklog"
  | "maxTopics"
  | "maxSubscriptions"
  | "maxMemory"
  | "maxHeadLength"
  | "maxHeaders"
  | "maxTargetLength"
  | "maxBodyLength"
  | "maxStreamLength"
  | "maxRequestsPerSocket"
  | "requireContentLength"
  | "maxPayloadLength"
  | "maxFragments"
  | "messageRate"
  | "messageBurst"
  | "fragments"
  | "headersTimeout"
  | "requestTimeout"
  | "keepAliveTimeout"
  | "writeTimeout"
  | "idleTimeout"
  | "sendPings"
  | "pingInterval"
  | "closeTimeout"
  | "bufferTimeout"
  | "minReceiveRate"
  | "minSendRate"
  | "rateGrace"
> & {
  /** Source of the engine. Default: the bytes that are part of the package. */
  wasm?: WasmSource;
  /** Parameters by the engine's own names. They override the options. */
  params?: EngineParams;
};

/** Returns true for options of `serve` that an engine alone does not use. */
function isForeign(name: string): boolean {
  if (["whenFull", "maxMemory", "events", "eventRing"].includes(name)) return false;
  if (name === "history") return true;
  return !OPTIONS.some((row) => row.name === name && row.param && row.name !== "deflateThreshold");
}

async function bytesOf(response: Response): Promise<ArrayBuffer> {
  if (!response.ok)
    throw new Error(`wasm: fetching ${response.url} failed with status ${response.status}`);
  return response.arrayBuffer();
}

/**
 * Compiles the engine, unless it is compiled already.
 * @throws TypeError when the value is no wasm
 */
export async function compileEngine(wasm?: WasmSource): Promise<WasmModule> {
  needWebAssembly();
  if (wasm === undefined) return wasmModule();
  if (wasm instanceof WebAssembly.Module) return wasm;
  if (typeof wasm === "string" || wasm instanceof URL) return compileEngine(await fetch(wasm));
  if (typeof Response === "function" && wasm instanceof Response)
    return WebAssembly.compile(await bytesOf(wasm));
  if (wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm)) return WebAssembly.compile(wasm);
  throw new TypeError("wasm: must be a URL, a Response, bytes or a WebAssembly.Module");
}

/** Returns an unpredictable seed and epoch where the platform has a source of random numbers. */
function randomParams(): { Seed: number; Epoch: number } {
  const crypto = globalThis.crypto as typeof globalThis.crypto | undefined;
  const [seed = 0, high = 0, low = 0] = crypto?.getRandomValues(new Uint32Array(3)) ?? [];
  return { Seed: seed || 1, Epoch: epochOf(high, low) };
}

/**
 * Creates an engine with its memory.
 * @throws TypeError, RangeError that name the option, the value and the range
 */
export async function loadEngine(options: EngineOptions = {}): Promise<Engine> {
  const { wasm, params, ...rest } = options;
  for (const name of Object.keys(rest)) {
    if (isForeign(name)) throw new TypeError(`${name}: an engine has no such option`);
  }
  for (const name of Object.keys(params ?? {})) {
    if (typeof Param[name as keyof typeof Param] !== "number" || name === "COUNT")
      throw new TypeError(`params.${name}: there is no such parameter`);
  }
  const settings = settle(rest);
  refusePlan(settings);
  const all = { ...engineParams(settings), ...randomParams(), ...params };
  return new Engine(await compileEngine(wasm), all);
}
