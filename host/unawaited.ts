// Makes a promise of a server say that it was not awaited.

/**
 * Defines the members of a promise's value on the promise, where access throws an Error that asks for `await`. Without
 * them a user would only read "is not a function". The promise is otherwise unchanged, and does not list the members.
 * @param what name of the function that made the promise, such as "serve"
 */
export function unawaited<T>(
  promise: Promise<T>,
  what: string,
  names: readonly string[],
): Promise<T> {
  for (const name of names) {
    const complain = (): never => {
      throw new TypeError(`${name}: ${what}() returns a promise; write \`await ${what}(…)\``);
    };
    Object.defineProperty(promise, name, { configurable: true, get: complain, set: complain });
  }
  return promise;
}
