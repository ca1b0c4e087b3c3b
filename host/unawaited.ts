// A promise of a server that was not awaited says so.

/**
 * Makes the members of what a promise will give say that it has to be awaited: without that they are undefined, and
 * "is not a function" is all that a user reads. The promise is otherwise as before, and shows none of them.
 * @param what made the promise, such as "serve"
 */
export function unawaited<T>(
  promise: Promise<T>,
  what: string,
  names: readonly string[],
): Promise<T> {
  for (const name of names) {
    const complain = (): never => {
      throw new TypeError(`${name}: ${what}() gives a promise; write \`await ${what}(…)\``);
    };
    Object.defineProperty(promise, name, { configurable: true, get: complain, set: complain });
  }
  return promise;
}
