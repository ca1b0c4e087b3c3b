// The files that are kept in memory, of all mounts together, and the validators of the others.
//
// Invariant: the bytes kept are at most `bytes`. An entry holds for a second. Then the file is opened again, once for
// all requests that wait for it, and its bytes are read again if its entity tag has changed.

import type { FileSystem, ServedFile } from "../../host/handler";
import { type MaybePromise, PATH_LIMIT, checkFile } from "./source";

/** Time (ms) for which an entry holds. */
const FRESH_MILLIS = 1000;
/** Bytes of the largest file that is kept. */
const KEPT_FILE_BYTES = 65536;
/** Bytes that an entry costs besides those of its file. */
const ENTRY_BYTES = 1024;

/** A file, as it was when it was opened last. */
export interface Kept {
  readonly etag: string;
  readonly size: number;
  /** ms since 1970. */
  readonly modified: number;
  /** Its bytes, when it is small; undefined: it is read when it is sent. */
  readonly bytes: Uint8Array | undefined;
}

/** An entry: a file, a folder, or nothing. */
interface Entry {
  kept: Kept | "folder" | undefined;
  /** Time until which it holds. */
  until: number;
  /** Bytes that count. */
  cost: number;
  /** Whether it was used since it was last passed over. */
  isUsed: boolean;
  /** The look at the file that is under way. */
  look: Promise<Kept | "folder" | undefined> | undefined;
}

/** Reads a whole small file. */
async function readWhole(file: ServedFile, where: string): Promise<Uint8Array> {
  if (file.size === 0) return new Uint8Array(0);
  const bytes = await file.read(0, file.size);
  if (!(bytes instanceof Uint8Array) || bytes.length !== file.size)
    throw new TypeError(`${where}: read: it did not return the ${file.size} bytes`);
  return bytes;
}

export class FileCache {
  readonly #most: number;
  readonly #now: () => number;
  /** Entries by mount and path, in the order in which they are looked at for one to drop. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  /** Time until which the entry holds that `find` has returned last, unless it was a promise. */
  until = 0;

  /** @param most bytes; 0: nothing is kept @param now returns ms */
  constructor(most: number, now: () => number) {
    this.#most = most;
    this.#now = now;
  }

  /** Bytes kept, with those of the entries. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns true before a time of `until`. */
  isBefore(until: number): boolean {
    return this.#now() < until;
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  /**
   * Returns what a file system has at a path. It is no promise while an entry holds.
   * @param where names the mount, in keys and errors
   * @param from "client": the path is of a client's making, so it is not kept that there is nothing
   */
  find(
    files: FileSystem,
    where: string,
    path: string,
    from: "client" | "server",
  ): MaybePromise<Kept | "folder" | undefined> {
    if (path.length > PATH_LIMIT) return undefined;
    const key = `${where} ${path}`;
    const entry = this.#entries.get(key);
    if (!entry) return this.#look(files, where, path, key, from);
    entry.isUsed = true;
    this.until = entry.until;
    if (this.#now() < entry.until) return entry.kept;
    return entry.look ?? this.#look(files, where, path, key, from, entry);
  }

  /** Looks at a file. @param before the entry so far */
  #look(
    files: FileSystem,
    where: string,
    path: string,
    key: string,
    from: "client" | "server",
    before?: Entry,
  ): Promise<Kept | "folder" | undefined> {
    const entry: Entry = before ?? {
      ...{ kept: undefined, until: 0, cost: 0, isUsed: false, look: undefined },
    };
    const look = this.#read(files, where, path, entry.kept).then(
      (kept) => {
        entry.look = undefined;
        entry.kept = kept;
        entry.until = this.#now() + FRESH_MILLIS;
        if (kept === undefined && from === "client") this.#drop(key, entry);
        else this.#keep(key, entry);
        return kept;
      },
      (thrown: unknown) => {
        entry.look = undefined;
        this.#drop(key, entry);
        throw thrown;
      },
    );
    entry.look = look;
    // Requests that come meanwhile wait for the same look.
    if (!before) this.#entries.set(key, entry);
    return look;
  }

  async #read(
    files: FileSystem,
    where: string,
    path: string,
    before: Entry["kept"],
  ): Promise<Kept | "folder" | undefined> {
    const found = checkFile(await files.open(path), where);
    if (found === undefined || found === "folder") return found;
    try {
      const { etag, size, modified } = found;
      if (typeof before === "object" && before.etag === etag && before.size === size) return before;
      const isSmall = size <= KEPT_FILE_BYTES;
      const bytes = isSmall ? await readWhole(found, where) : undefined;
      return { etag, size, modified, bytes };
    } finally {
      found.close?.();
    }
  }

  /** Counts an entry, and drops others: the first ones that were not used since they were last passed over. */
  #keep(key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    this.#bytes -= entry.cost;
    const { kept } = entry;
    const size = typeof kept === "object" ? (kept.bytes?.length ?? 0) : 0;
    entry.cost = ENTRY_BYTES + 2 * key.length + size;
    this.#bytes += entry.cost;
    // An entry that is set again comes up once more, and then it is not used.
    for (const [next, one] of this.#entries) {
      if (this.#bytes <= this.#most) break;
      if (one.look) continue;
      if (!one.isUsed) this.#drop(next, one);
      else {
        one.isUsed = false;
        this.#entries.delete(next);
        this.#entries.set(next, one);
      }
    }
  }

  #drop(key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.cost;
    entry.cost = 0;
  }
}
