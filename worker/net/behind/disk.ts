// The files of a folder, on runtimes that have Node's file system.
//
// Invariant: a file that is served is a regular file whose real path is below the folder's. Nothing else is opened: a
// FIFO or a device could stop the thread that opens it. At most half of libuv's threads work for us at a time, so that
// neither slow disks nor many downloads stop the application's own use of them.

import { type BigIntStats, constants, type NoParamCallback } from "node:fs";
import * as fs from "node:fs";
import path from "node:path";
import type { FileSystem, ServedFile } from "../../../host/handler";
import { variableOf } from "../../../host/permission";

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

const threads = Number(variableOf("UV_THREADPOOL_SIZE") ?? 4) || 4;
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
const tagOf = ({ size, mtimeNs, ino, dev }: BigIntStats): string =>
  [size, mtimeNs, ino, dev].map((part) => part.toString(36)).join("-");

/** A descriptor, which all responses with the same version of a file share. */
class Shared {
  readonly fd: number;
  readonly etag: string;
  /** Files and reads that use it. It is closed after the last one. */
  #users = 0;
  readonly #closed: () => void;

  /** @param closed called when it is closed */
  constructor(fd: number, etag: string, closed: () => void) {
    this.fd = fd;
    this.etag = etag;
    this.#closed = closed;
  }

  use(): void {
    this.#users++;
  }

  leave(): void {
    if (--this.#users > 0) return;
    this.#closed();
    closeFile(this.fd);
  }
}

class DiskFile implements ServedFile {
  readonly size: number;
  readonly modified: number;
  readonly etag: string;
  readonly #shared: Shared;
  #isClosed = false;

  constructor(shared: Shared, stats: BigIntStats) {
    this.#shared = shared;
    shared.use();
    this.size = Number(stats.size);
    this.modified = Number(stats.mtimeMs);
    this.etag = shared.etag;
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    if (this.#isClosed) throw new Error("the file is closed");
    const shared = this.#shared;
    shared.use();
    try {
      const bytes = await readFrom(shared.fd, start, end);
      // The last bytes are not sent when others have changed, so that the client does not take a mix for the file.
      if (end === this.size && tagOf(await fstat(shared.fd)) !== this.etag)
        throw new Error("the file has changed while it was sent");
      return bytes;
    } finally {
      shared.leave();
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#shared.leave();
  }
}

/** Most versions of a file that may take each other's place while it is opened. */
const VERSIONS = 4;

export class Folder implements FileSystem {
  readonly #folder: string;
  #root = "";
  #rootUntil = Number.NEGATIVE_INFINITY;
  /** Open files by their entity tags, which have the file's number. */
  readonly #shared = new Map<string, Shared>();

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
        const found = await this.#openFile(real);
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

  /** Opens a regular file. @param real its real path @returns "changed" when another file has taken its place */
  async #openFile(real: string): Promise<ServedFile | "folder" | "changed" | undefined> {
    const seen = await lstat(real);
    if (seen.isDirectory()) return "folder";
    if (seen.isSymbolicLink()) return "changed";
    if (!seen.isFile()) return undefined;
    const fd = await open(real);
    let isKept = false;
    try {
      const stats = await fstat(fd);
      if (!stats.isFile() || !isSame(stats, seen)) return "changed";
      const etag = tagOf(stats);
      const before = this.#shared.get(etag);
      if (before) return new DiskFile(before, stats);
      const shared = new Shared(fd, etag, () => this.#shared.delete(etag));
      this.#shared.set(etag, shared);
      isKept = true;
      return new DiskFile(shared, stats);
    } finally {
      if (!isKept) closeFile(fd);
    }
  }
}
