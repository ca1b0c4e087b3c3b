// Text the engine itself writes. Literals are static data (UTF-16) read in place: nothing is allocated.

/** Copies an ASCII literal; returns the end. */
export function putText(at: usize, text: string): usize {
  const from = changetype<usize>(text);
  const length = text.length;
  for (let i = 0; i < length; i++) store<u8>(at + i, load<u8>(from + ((i as usize) << 1)));
  return at + length;
}
