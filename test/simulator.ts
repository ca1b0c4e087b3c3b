// The simulator: the real engine and the real pump over sockets in memory, under a virtual clock, with the handler
// in each of its placements, against a model that is short and obvious.
//
// How it works
//   1. Settings and a list of steps are drawn from the seed (simulator/author.ts): clients connect, send requests and
//      frames, right and wrong, whole and cut, read a little, leave; the server publishes, sends, subscribes, swaps
//      its handler, changes its options, shuts down; time passes.
//   2. A world carries them out (world.ts), the model notes what each client must receive (model.ts), and after each
//      step all that must always hold is looked at (checks.ts). At the end everybody reads, then time limits pass:
//      each client has what it is owed up to the end that it came to, for a reason there was.
//   3. A list that fails is made short by leaving steps out (shrink.ts), and printed with its seed.
//
// It works on the pump, the engine's host: what only a host sees (the moment of each completion, slots, a handler in
// each placement) takes part. The engine under a host of a few lines is driven by the fuzzers (fuzz/), byte by byte,
// which looks at what is parsed more closely, and at nothing else.

import {
  checkDelivered,
  checkEnded,
  checkOver,
  checkPunctual,
  checkStep,
} from "./simulator/checks";
import { shrink } from "./simulator/shrink";
import type { Script, Step } from "./simulator/steps";
import { scriptOf } from "./simulator/author";
import { World } from "./simulator/world";

interface SimulationOptions {
  readonly seed: number;
  readonly steps: number;
  readonly build?: "release" | "debug";
  /** Runs in which a list that fails may be made shorter; 0: it is told as it is. */
  readonly shrinks?: number;
}

/** What a run came to: an eye on what the steps reach. */
export interface SimulationResult {
  readonly place: string;
  readonly evicted: number;
  readonly published: number;
  readonly refused: number;
  readonly requests: number;
  readonly messages: number;
  readonly closed: Readonly<Record<string, number>>;
}

/** ms after which every time limit has passed, and as often as they follow each other. */
const AFTERWARDS = [...new Array(60).fill(50), ...new Array(30).fill(10000)] as readonly number[];

/** Everybody reads everything, and whatever waits is settled; then time limits pass. */
async function finish(world: World, memory: number): Promise<void> {
  const readAll = async (ms: number): Promise<void> => {
    await world.runner.advance(ms);
    for (const tag of [...world.pending.keys()]) world.settle(tag);
    for (const guest of world.guests) {
      if (guest.socket.gone !== "reset") world.guests.read(guest, Number.POSITIVE_INFINITY);
    }
    await world.runner.settle();
    checkStep(world, memory, true);
  };
  world.isEnding = true;
  let quiet = 0;
  for (const ms of AFTERWARDS) {
    await readAll(ms);
    quiet += ms;
    if (quiet === 3000) checkDelivered(world);
    checkPunctual(world, quiet);
  }
  checkEnded(world);
  await world.end();
  checkStep(world, memory, true);
  checkOver(world);
}

/** A run's failure. */
interface Failure {
  readonly message: string;
  /** Steps that were carried out. */
  readonly steps: number;
}

/** Runs a script. @returns what it came to, or how it fails */
export async function perform(
  { settings, steps }: Script,
  build?: "release" | "debug",
): Promise<SimulationResult | Failure> {
  let done = 0;
  try {
    const world = new World(settings, build);
    const memory = world.engine.x.memory.buffer.byteLength;
    await world.start();
    for (const step of steps) {
      done++;
      await world.step(step);
      checkStep(world, memory, step.pause >= 0);
    }
    await finish(world, memory);
    const { evicted, requests, closed, messagesIn } = world.pump.stats();
    const { published, refused } = world.serving;
    const messages = messagesIn;
    return { place: settings.place, evicted, published, refused, requests, messages, closed };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const isTrap = error instanceof WebAssembly.RuntimeError;
    return { message: isTrap ? (error.stack ?? error.message) : error.message, steps: done };
  }
}

export function isFailure(result: SimulationResult | Failure): result is Failure {
  return "message" in result;
}

/** Fields of steps that hold several things. */
const LISTS: Readonly<Partial<Record<Step["kind"], string>>> = {
  ...{
    publish: "all",
    send: "all",
    request: "asks",
    say: "says",
    subscribe: "topics",
    unsubscribe: "topics",
  },
};

/** A script that fails, as short as so many runs can make it. */
async function shortened(
  script: Script,
  runs: number,
  build?: "release" | "debug",
): Promise<Script> {
  let left = runs;
  const failing = async (steps: readonly Step[]): Promise<boolean> =>
    left-- > 0 && isFailure(await perform({ ...script, steps }, build));
  let steps = await shrink(script.steps, failing);
  // Then what is many within one step.
  for (let i = 0; i < steps.length; i++) {
    const whole = steps[i] as Step;
    const field = LISTS[whole.kind];
    if (!field) continue;
    const list = (whole as unknown as Readonly<Record<string, readonly unknown[]>>)[field] ?? [];
    const withList = (part: readonly unknown[]): Step[] =>
      steps.map((step, at) => (at === i ? ({ ...whole, [field]: part } as Step) : step));
    steps = withList(await shrink(list, (part) => failing(withList(part))));
  }
  return { ...script, steps };
}

/** A seed that fails. */
class SimulationError extends Error {
  readonly steps: number;

  constructor(seed: number, failure: Failure, script: Script) {
    const list = script.steps.map((step) => `  ${JSON.stringify(step)}`).join("\n");
    super(
      `seed ${seed}: ${failure.message}\nsettings ${JSON.stringify(script.settings)}\n` +
        `${script.steps.length} steps:\n${list}`,
    );
    this.steps = script.steps.length;
  }
}

/** Runs one seed. @throws SimulationError, which names the seed and shows the steps it takes */
export async function simulate({
  seed,
  steps,
  build,
  shrinks = 600,
}: SimulationOptions): Promise<SimulationResult> {
  const script = scriptOf(seed, steps);
  const result = await perform(script, build);
  if (!isFailure(result)) return result;
  const most = script.steps.slice(0, result.steps);
  // What came behind the step that failed is not needed, unless it failed at the end.
  const short = await shortened({ ...script, steps: most }, shrinks, build);
  const failure = await perform(short, build);
  if (!isFailure(failure))
    throw new Error(`seed ${seed}: it fails in one of two runs: ${result.message}`);
  throw new SimulationError(seed, failure, short);
}
