// The error of calls and waits that a server's end cuts short.

/** Makes the error with which waits and calls reject once the server has ended. @param cause why, if it died */
export function serverEnded(cause?: Error): Error {
  const error = new Error("the server has ended", cause && { cause });
  return Object.assign(error, { code: "ERR_SERVER_ENDED" });
}

/** Marks a promise's rejection as handled, so that a caller may ignore the promise. @returns the same promise */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Returns the error of opening the access log again when there is none. */
export function withoutLog(): Error {
  return new Error("accessLog: the server has no access log");
}
