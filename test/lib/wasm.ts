// The engine for tests: the release build, or the debug build, whose assertions are on, when
// RINGCAST_WASM is "debug".

import debugBytes from "../../dist/engine.debug.wasm";
import releaseBytes from "../../dist/engine.wasm";
import { Engine, type EngineParams } from "../../worker/engine/engine";

export const BUILDS = { release: releaseBytes, debug: debugBytes } as const;

const compiled = new Map<string, WebAssembly.Module>();

/** Small sizes, so that a test reaches every limit. */
export const SMALL: EngineParams = {
  Connections: 8,
  WebSockets: 8,
  RingBytes: 4096,
  Frames: 64,
  QueuedFrames: 64,
  ReceivePoolBytes: 262144,
  ReplyPoolBytes: 262144,
  PieceBytes: 262144,
  Backlog: 16384,
  WindowBytes: 4096,
  ScratchBytes: 65536,
  HeadBytes: 4096,
  Headers: 32,
  TargetBytes: 1024,
  BodyBytes: 16384,
  PayloadBytes: 32768,
  Fragments: 1000,
  RunBytes: 2048,
  HeadTimeout: 10000,
  RequestTimeout: 20000,
  KeepAliveTimeout: 5000,
  WriteTimeout: 30000,
  IdleTimeout: 60000,
  SendPings: 1,
  PingInterval: 30000,
  CloseTimeout: 2000,
  BufferTimeout: 3000,
  SlowGrace: 250,
  Topics: 8,
  Subscriptions: 32,
  AddressConnections: 0,
  FirstSequence: 0,
  Seed: 1,
};

/** Returns an engine of one of the builds. */
export function testEngine(
  params: EngineParams = {},
  build: keyof typeof BUILDS = process.env.RINGCAST_WASM === "debug" ? "debug" : "release",
): Engine {
  let module = compiled.get(build);
  if (!module) {
    module = new WebAssembly.Module(BUILDS[build]);
    compiled.set(build, module);
  }
  return new Engine(module, { ...SMALL, ...params });
}
