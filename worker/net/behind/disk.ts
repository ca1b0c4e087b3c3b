// The files of a folder, on runtimes that have Node's file system.
//
// Invariant: a file that is served is a regular file whose real path is below the folder's. Nothing else is opened: a
// FIFO or a device could stop the thread that opens it. At most half of libuv's threads work for us at a time, so that
// neither slow disks nor many downloads stop the application's own use of them.

import { type BigIntStats, constants, type NoParamCallback } from "node:fs";
import * as fs from "node:fs";
import path from "node:path";
import type { FileSystem, ServedFile } from "../../../host/handler";

/** Time (ms) for which the folder's own real path holds. A deploy may replace a link to it. */
const ROOT_MILLIS = 1000;
/** Errors that mean that there is no such file, or none that may be read. */
const NO_FILE = new Set([
  "ENOENT",
  "ENOTDIR",
  "ENAMETOOLONG",
  "ELOOP",
  "EACCES",
  "EPERM",
  "EINVAL",
]);
// Windows has neither flag.
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
/** The only name with a dot at its begin that is served (RFC 8615). */
const WELL_KNOWN = ".well-known";

type Callback<T> = (error: NodeJS.ErrnoException | null, result: T) => void;

/** Calls of libuv's threads, a few at a time and in order. */
class Turns {
  readonly #most: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Calls a function of `fs` when it is its turn. */
  run<T>(call: (callback: Callback<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        this.#running++;
        call((error, result) => {
          this.#running--;
          this.#waiting.shift()?.();
          if (error) reject(error);
          else resolve(result);
        });
      };
      if (this.#running < this.#most) begin();
      else this.#waiting.push(begin);
    });
  }
}

const threads = Number(process.env.UV_THREADPOOL_SIZE ?? 4) || 4;
const turns = new Turns(Math.max(1, Math.floor(Math.min(threads, 1024) / 2)));

const realpath = (name: string): Promise<string> =>
  turns.run((callback) => fs.realpath.native(name, callback));
const lstat = (name: string): Promise<BigIntStats> =>
  turns.run((callback) => fs.lstat(name, { bigint: true }, callback));
const fstat = (fd: number): Promise<BigIntStats> =>
  turns.run((callback) => fs.fstat(fd, { bigint: true }, callback));
const open = (name: string): Promise<number> =>
  turns.run((callback) => fs.open(name, FLAGS, callback));

/** Closes a descriptor. Nothing can be done about a failure. */
export function closeFile(fd: number): void {
  const closed = turns.run<void>((callback) => fs.close(fd, callback as NoParamCallback));
  closed.catch(() => undefined);
}

/** Reads the bytes of an open file from `start` up to `end`. @throws Error when the file ends before them */
export async function readFrom(fd: number, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  for (let at = 0; at < bytes.length; ) {
    const from = at;
    const n = await turns.run<number>((callback) =>
      fs.read(fd, bytes, from, bytes.length - from, start + from, callback),
    );
    if (n === 0) throw new Error(`the file has become shorter: it ends before byte ${end}`);
    at += n;
  }
  return bytes;
}

const isSame = (a: BigIntStats, b: BigIntStats): boolean => a.dev === b.dev && a.ino === b.ino;
const tagOf = ({ size, mtimeNs, ino }: BigIntStats): string =>
  [size, mtimeNs, ino].map((part) => part.toString(36)).join("-");

class DiskFile implements ServedFile {
  readonly size: number;
  readonly modified: number;
  readonly etag: string;
  readonly #fd: number;
  /** Reads under way. The descriptor is closed after the last one. */
  #reads = 0;
  #isClosed = false;

  constructor(fd: number, stats: BigIntStats) {
    this.#fd = fd;
    this.size = Number(stats.size);
    this.modified = Number(stats.mtimeMs);
    this.etag = tagOf(stats);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    if (this.#isClosed) throw new Error("the file is closed");
    this.#reads++;
    try {
      const bytes = await readFrom(this.#fd, start, end);
      // The last bytes are not sent when others have changed, so that the client does not take a mix for the file.
      if (end === this.size && tagOf(await fstat(this.#fd)) !== this.etag)
        throw new Error("the file has changed while it was sent");
      return bytes;
    } finally {
      this.#reads--;
      this.#release();
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#release();
  }

  #release(): void {
    if (!this.#isClosed || this.#reads > 0) return;
    this.#reads = Number.POSITIVE_INFINITY;
    closeFile(this.#fd);
  }
}

/** Most versions of a file that may take each other's place while it is opened. */
const VERSIONS = 4;

export class Folder implements FileSystem {
  readonly #folder: string;
  #root = "";
  #rootUntil = Number.NEGATIVE_INFINITY;

  /** @param folder its absolute path */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Looks up the folder's real path. @returns true when it is another one than before */
  async #lookUp(): Promise<boolean> {
    const before = this.#root;
    this.#root = await realpath(this.#folder);
    this.#rootUntil = performance.now() + ROOT_MILLIS;
    return this.#root !== before;
  }

  /** Returns the real path of a file below the folder; undefined when it is elsewhere, or has a hidden part. */
  async #realPath(below: string): Promise<string | undefined> {
    if (performance.now() >= this.#rootUntil) await this.#lookUp();
    const root = this.#root;
    const real = await realpath(path.join(root, below));
    const rest = path.relative(root, real);
    if (path.isAbsolute(rest)) return undefined;
    const isHidden = (name: string): boolean => name.startsWith(".") && name !== WELL_KNOWN;
    return rest.split(path.sep).some(isHidden) ? undefined : real;
  }

  async open(below: string): Promise<ServedFile | "folder" | undefined> {
    for (let version = 0; version < VERSIONS; version++) {
      try {
        const real = await this.#realPath(below);
        if (real === undefined) return undefined;
        const found = await openFile(real);
        if (found !== "changed") return found;
      } catch (thrown) {
        const { code } = thrown as NodeJS.ErrnoException;
        if (code === undefined || !NO_FILE.has(code)) throw thrown;
        // The folder itself may have been replaced, and then the file is below the new one.
        if (!(await this.#lookUp())) return undefined;
      }
    }
    return undefined;
  }
}

/** Opens a regular file. @param real its real path @returns "changed" when another file has taken its place */
async function openFile(real: string): Promise<ServedFile | "folder" | "changed" | undefined> {
  const seen = await lstat(real);
  if (seen.isDirectory()) return "folder";
  if (seen.isSymbolicLink()) return "changed";
  if (!seen.isFile()) return undefined;
  const fd = await open(real);
  let file: DiskFile | undefined;
  try {
    const stats = await fstat(fd);
    if (stats.isFile() && isSame(stats, seen)) file = new DiskFile(fd, stats);
  } finally {
    if (!file) closeFile(fd);
  }
  return file ?? "changed";
}
