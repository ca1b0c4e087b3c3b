// Checks everything about options that can be checked before a server starts: the options themselves, the memory plan,
// the certificates, and the files that the options name. `serve` starts with the result, `ringcast --check` ends there.

import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { checkCertificates } from "../certificates";
import { descriptorLimit, fitDescriptors } from "../limits";
import { refusePlan } from "../options/plan";
import { type Settings, settle } from "../options/settle";
import { tlsChecks } from "../options/site/hosts";
import type { MountSettings } from "../options/site/mounts";
import {
  type ErrorPage,
  type PageSettings,
  checkPageSize,
  pageOfFile,
} from "../options/site/pages";
import type { Options } from "../options/types";

/** Options that were checked. */
export interface Prepared {
  /** The options, with defaults that fit the descriptors of this process. */
  readonly options: Options;
  /** The settings, with the contents of error pages and the absolute paths of mounts. */
  readonly settings: Settings;
}

/** Reads an error page that is in a file. @throws TypeError, RangeError, or the error of reading, naming the page */
function readPage(page: PageSettings): ErrorPage {
  if ("body" in page) return page;
  const file = page.file.startsWith("file:") ? new URL(page.file) : page.file;
  let body: Uint8Array;
  try {
    // A large file is not read, and a pipe would be waited for.
    const { size } = statSync(file);
    checkPageSize(page, size);
    body = readFileSync(file);
  } catch (thrown) {
    if (thrown instanceof RangeError || !(thrown instanceof Error)) throw thrown;
    thrown.message = `errorPages[${page.status}]: ${thrown.message}`;
    throw thrown;
  }
  return pageOfFile(page, body);
}

/** Returns a mount with the absolute path of its folder or archive. @throws TypeError, or the error of looking at it */
function checkRoot(mount: MountSettings): MountSettings {
  if (mount.kind !== "files" && mount.kind !== "zip") return mount;
  const name = `${mount.option}.${mount.kind}`;
  const root = path.resolve(
    mount.root.startsWith("file:") ? fileURLToPath(mount.root) : mount.root,
  );
  let isRight = false;
  try {
    const stats = statSync(root);
    isRight = mount.kind === "files" ? stats.isDirectory() : stats.isFile();
  } catch (thrown) {
    (thrown as Error).message = `${name}: ${(thrown as Error).message}`;
    throw thrown;
  }
  if (isRight) return { ...mount, root };
  throw new TypeError(
    `${name}: ${JSON.stringify(root)} is not a ${mount.kind === "files" ? "folder" : "file"}`,
  );
}

/**
 * Checks options.
 * @throws TypeError, RangeError naming the option, the value and the range; the error of reading a file, naming the
 * option
 */
export function prepare(given: Options): Prepared {
  // Wrong values are reported before the numbers are compared with the limits of the system.
  const options = fitDescriptors(given, settle(given), descriptorLimit());
  const settled = settle(options);
  refusePlan(settled);
  checkCertificates(tlsChecks(settled.listeners, settled.hosts));
  const settings = {
    ...settled,
    errorPages: settled.errorPages.map(readPage),
    mounts: settled.mounts.map((list) => list?.map(checkRoot)),
  };
  return { options, settings };
}
