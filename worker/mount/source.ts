// Files of a mount, as a folder, an archive or a module of the application opens them.

import type { FileSystem, ServedFile } from "../../host/handler";

export type MaybePromise<T> = T | Promise<T>;

/** Most characters of a path that is looked up. Longer ones name no file. */
export const PATH_LIMIT = 4096;
const ETAG = /^[!#-~]{1,128}$/;

/** Checks a file that a file system has opened. @param where names the file system in errors @throws TypeError */
export function checkFile(file: unknown, where: string): ServedFile | "folder" | undefined {
  if (file === undefined || file === "folder") return file;
  const { size, modified, etag, read } = Object(file) as Partial<Record<keyof ServedFile, unknown>>;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw new TypeError(`${where}: open: size is not a number of bytes`);
  if (typeof modified !== "number" || !Number.isFinite(modified))
    throw new TypeError(`${where}: open: modified is not a number of ms`);
  if (typeof etag !== "string" || !ETAG.test(etag))
    throw new TypeError(`${where}: open: etag is not 1 to 128 printable characters without quotes`);
  if (typeof read !== "function") throw new TypeError(`${where}: open: read is not a function`);
  return file as ServedFile;
}

/** Checks a file system. @param where names it in errors @throws TypeError */
export function checkFileSystem(files: unknown, where: string): FileSystem {
  if (typeof (Object(files) as { open?: unknown }).open === "function") return files as FileSystem;
  throw new TypeError(`${where} has no default export with a function open(path)`);
}
