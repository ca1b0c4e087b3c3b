// The arguments of the programs of test/: `--name NUMBER`.

/** Returns the whole number after `--name`. Ends this process when it is none. */
export function numberGiven(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return fallback;
  const value = Number(process.argv[at + 1]);
  if (!Number.isInteger(value) || value < 0) {
    console.error(`--${name}: ${process.argv[at + 1]} is not a whole number`);
    process.exit(2);
  }
  return value;
}
