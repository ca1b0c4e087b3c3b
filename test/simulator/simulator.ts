// The simulator: the real engine and the real pump over sockets in memory, under a virtual clock, with the handler in
// each of its placements.
//
//   1. A seed and a mode give a list of steps, as data (simulator/author.ts, steps.ts): clients connect, send requests
//      and frames, right and wrong, whole and cut, read a little, leave; the server's owner publishes, sends,
//      subscribes, swaps the handler, changes options, shuts down; time passes.
//   2. A world carries them out (world.ts) and tells a judge what happens. In exact mode, with ample memory and no
//      faults, that is a model: each client must receive its bytes (model.ts). In stress mode, with little memory,
//      slow readers, resets and time limits, it is a ledger of what must always hold (ledger.ts). After each step the
//      engine's own rules, all counters and the memory of outstanding writes are checked (checks.ts, watch.ts); at the
//      end nothing may be left.
//   3. A list that fails is shortened by leaving steps out (shrink.ts), and printed with its seed and its mode.
//
// It works on the pump, the engine's host, so slots, completions and threads take part. The fuzzers (fuzz/) drive the
// engine under a host of a few lines, and look at parsing more closely.

import { scriptOf } from "./author";
import { checkDelivered, checkOver, checkPunctual, checkStep } from "./checks";
import { shrink } from "./shrink";
import type { Mode, Script, Step } from "./steps";
import { World } from "./world";

interface SimulationOptions {
  readonly seed: number;
  readonly mode: Mode;
  readonly steps: number;
  readonly build?: "release" | "debug";
  /** Runs in which a list that fails may be shortened; 0: it is printed as it is. */
  readonly shrinks?: number;
}

/** The results of a run. */
export interface SimulationResult {
  readonly place: string;
  readonly evicted: number;
  readonly published: number;
  readonly refused: number;
  readonly requests: number;
  readonly messages: number;
  /** Pieces of bodies that were recalled. */
  readonly recalled: number;
  /** Event streams that resumed, did not because of a gap, and were lapped. */
  readonly resumed: number;
  readonly gaps: number;
  readonly lapped: number;
  readonly closed: Readonly<Record<string, number>>;
  /** Of all bytes that clients have received, and when. */
  readonly trace: string;
}

/** ms to wait at the end: until everything is delivered, then until every time limit has passed. */
const DELIVERED = new Array(60).fill(50) as readonly number[];
const AFTERWARDS = new Array(30).fill(10000) as readonly number[];

/**
 * Ends a run: all clients read everything, and pending handlers settle; then time limits pass; then the server ends.
 */
async function finish(world: World): Promise<void> {
  for (const ms of DELIVERED) {
    await world.rest(ms);
    checkStep(world, true);
  }
  checkDelivered(world);
  let quiet = 0;
  // In exact mode none passes.
  for (const ms of world.settings.mode === "exact" ? [] : AFTERWARDS) {
    await world.rest(ms);
    checkStep(world, true);
    quiet += ms;
    checkPunctual(world, quiet);
  }
  await world.end();
  checkStep(world, true);
  checkOver(world);
}

/** A run's failure. */
interface Failure {
  readonly message: string;
  /** Steps that were carried out. */
  readonly steps: number;
}

/** Runs a script. @returns what it has reached, or how it fails */
export async function perform(
  { settings, steps }: Script,
  build?: "release" | "debug",
): Promise<SimulationResult | Failure> {
  let done = 0;
  try {
    const world = new World(settings, build);
    await world.start();
    for (const step of steps) {
      done++;
      await world.step(step);
      checkStep(world, step.pause >= 0);
    }
    await finish(world);
    const stats = world.pump.stats();
    const { evicted, requests, closed, messagesIn: messages, fileBuffers, resumed, gaps } = stats;
    const { published, refused } = world.owner;
    const trace = world.trace.digest("hex");
    return {
      place: settings.place,
      evicted,
      published,
      refused,
      requests,
      messages,
      recalled: fileBuffers.recalled,
      resumed,
      gaps: gaps.expired + gaps.epoch + gaps.invalid,
      lapped: gaps.lapped,
      closed,
      trace,
    };
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
  ...{ calls: "calls", request: "asks", say: "says" },
};

/** Returns a script that fails, as short as the given number of runs can make it. */
async function shortened(
  script: Script,
  runs: number,
  build?: "release" | "debug",
): Promise<Script> {
  let left = runs;
  const failing = async (steps: readonly Step[]): Promise<boolean> =>
    left-- > 0 && isFailure(await perform({ ...script, steps }, build));
  let steps = await shrink(script.steps, failing);
  // Then lists within one step.
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

  constructor({ seed, mode, steps }: SimulationOptions, failure: Failure, script: Script) {
    const list = script.steps.map((step) => `  ${JSON.stringify(step)}`).join("\n");
    super(
      `seed ${seed}, ${mode}: ${failure.message}\nsettings ${JSON.stringify(script.settings)}\n` +
        `${script.steps.length} steps:\n${list}\n` +
        `again: npm run simulate -- --from ${seed} --mode ${mode} --steps ${steps}`,
    );
    this.steps = script.steps.length;
  }
}

/** Runs one seed. @throws SimulationError, which names the seed and shows the steps it takes */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, mode, steps, build, shrinks = 600 } = options;
  const script = scriptOf(seed, mode, steps);
  const result = await perform(script, build);
  if (!isFailure(result)) return result;
  const most = script.steps.slice(0, result.steps);
  // Steps after the one that failed are not needed, unless it failed at the end.
  const short = await shortened({ ...script, steps: most }, shrinks, build);
  const failure = await perform(short, build);
  if (!isFailure(failure))
    throw new Error(`seed ${seed}, ${mode}: it fails in one of two runs: ${result.message}`);
  throw new SimulationError(options, failure, short);
}
