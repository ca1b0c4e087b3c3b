// The paced stream that a bystander watches: its messages carry their number and the time at which they left. The
// clock is the system's monotonic one, the same in every process.

/** ms between two messages. */
export const PACE = 10;
/** Characters of a message. */
const LENGTH = 200;

/** Returns the time in ms. */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function stamped(number) {
  return `${number} ${now()} `.padEnd(LENGTH, ".");
}

/** Returns the number and time of a message. */
export function read(text) {
  const [number, sent] = text.split(" ", 2);
  return { number: Number(number), sent: Number(sent) };
}
