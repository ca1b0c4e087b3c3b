// Makes a list that shows a failure short: runs of it are left out, ever shorter ones, for as long as what is
// left still fails.

/**
 * Shortens a list that fails.
 * @param fails whether a list fails; also false when the budget of runs is spent
 * @returns a list that fails, in which no element is known to be needless
 */
export async function shrink<T>(
  list: readonly T[],
  fails: (list: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let found = list;
  for (let length = Math.max(1, list.length >> 1); ; ) {
    const before = found.length;
    for (let at = 0; at < found.length; ) {
      const shorter = [...found.slice(0, at), ...found.slice(at + length)];
      if (await fails(shorter)) found = shorter;
      else at += length;
    }
    // Single ones again and again, until none can be left out.
    if (length === 1 && found.length === before) return found;
    length = Math.max(1, length >> 1);
  }
}
