// Waiting in tests.
//
// Invariant: nothing waits without a limit, and a wait that fails says what for. A test waits for a condition. Where it
// must let time pass, because something must NOT happen or because time is what it is about, a comment at the `sleep`
// says so; the style test looks for it.

/** Longest that anything is waited for, in ms. Nothing but a failure takes that long. */
export const LIMIT = 20000;
/** Time between two looks at a condition, in ms. */
const INTERVAL = 5;
/** How long a value must stay the same to be at a standstill, in ms. */
const STILL = 300;

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Rejects when a promise takes too long. @param what its name in the error */
export function within<T>(promise: Promise<T>, what: string, ms = LIMIT): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * Waits until a condition holds.
 * @param what names it in the error
 * @param holds may throw, which ends the wait
 * @param pause passes the time between two looks: virtual time, for one
 */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = LIMIT,
  pause: () => Promise<void> = () => sleep(INTERVAL),
): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await pause();
  }
}

/**
 * Waits until a number has stayed the same for 300 ms: the sender has nothing left, or is held back.
 * @param what names it in the error
 * @returns the number
 */
export async function standstill(
  what: string,
  read: () => number | Promise<number>,
  ms = LIMIT,
): Promise<number> {
  const end = Date.now() + ms;
  let value = await read();
  for (let since = Date.now(); Date.now() - since < STILL; ) {
    if (Date.now() > end) throw new Error(`${what}: no standstill within ${ms} ms, last ${value}`);
    await sleep(INTERVAL);
    const now = await read();
    if (now !== value) since = Date.now();
    value = now;
  }
  return value;
}
