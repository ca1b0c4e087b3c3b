// Faults of a client that only its handler comes upon, because it reads the body. They get their own status, and count
// as no error of the handler's, unless the handler catches them.

const statuses = new WeakMap<object, 400 | 413>();

/** Marks an error as the client's fault. @returns the error */
export function faultOf<E extends Error>(error: E, status: 400 | 413): E {
  statuses.set(error, status);
  return error;
}

/** Returns the status for a request whose handler failed with a client's fault; undefined for any other error. */
export function faultStatus(thrown: unknown): 400 | 413 | undefined {
  return typeof thrown === "object" && thrown !== null ? statuses.get(thrown) : undefined;
}
