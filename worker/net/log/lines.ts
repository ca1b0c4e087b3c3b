// A file that lines are appended to, or the standard output, on runtimes that have Node's file system.
//
// Invariant: the thread never waits for the file. A pipe whose reader has stopped is tried again later, so that it
// occupies no thread of libuv. After an error in the middle of a line the next line begins on a line of its own.

import { type Stats, constants } from "node:fs";
import * as fs from "node:fs";
import type { LineFile } from "../transport";

/** The name that means the standard output. */
const STDOUT = "-";
const STDOUT_FD = 1;
/** Time (ms) after which a pipe that was full is tried again. */
const RETRY = 20;
/** Permissions of a new file: lines name clients. */
const MODE = 0o640;
const NEWLINE = new Uint8Array([10]);

// Windows has no O_NONBLOCK.
const FLAGS =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | (constants.O_NONBLOCK ?? 0);

/**
 * Opens the standard output. A pipe or terminal is opened again, so that writing to it does not block, and the
 * process's own descriptor stays as it is. A file keeps that descriptor, whose position it shares with other output.
 * A socket, such as that of systemd's journal, does not block either: Node makes it so for `process.stdout`, to which
 * it pipes the output of each worker.
 */
function openStdout(): number {
  try {
    const stats: Stats = fs.fstatSync(STDOUT_FD);
    if (stats.isFIFO() || stats.isCharacterDevice())
      return fs.openSync("/proc/self/fd/1", FLAGS & ~constants.O_CREAT);
  } catch {
    // There is no such file system, or the descriptor belongs to another user.
  }
  return STDOUT_FD;
}

function closeFile(fd: number): void {
  if (fd < 0 || fd === STDOUT_FD) return;
  try {
    fs.closeSync(fd);
  } catch {
    // All lines were written before.
  }
}

export class AppendedLines implements LineFile {
  readonly #file: string;
  #fd = -1;
  /** The descriptor of the write that is outstanding, which stays open until its end. */
  #busy = -1;
  /** True when the last byte in the file is not the end of a line. */
  #isTorn = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param file its path; "-": the standard output */
  constructor(file: string) {
    this.#file = file;
  }

  open(): void {
    const fd = this.#file === STDOUT ? openStdout() : fs.openSync(this.#file, FLAGS, MODE);
    const before = this.#fd;
    this.#fd = fd;
    this.#isTorn = false;
    if (before !== this.#busy && before !== fd) closeFile(before);
  }

  append(lines: Uint8Array, done: (error?: Error) => void): void {
    const fd = this.#fd;
    this.#busy = fd;
    const over = (error?: Error): void => {
      this.#busy = -1;
      if (fd !== this.#fd) closeFile(fd);
      done(error);
    };
    const write = (at: number): void => {
      if (at === lines.length) {
        over();
        return;
      }
      const bytes = this.#isTorn && at === 0 ? NEWLINE : lines;
      fs.write(fd, bytes, at, bytes.length - at, null, (error, written) => {
        if (error?.code === "EAGAIN") this.#timer = setTimeout(write, RETRY, at);
        else if (error) over(error);
        else {
          const last = bytes[at + written - 1];
          if (written > 0 && fd === this.#fd) this.#isTorn = last !== 10;
          write(bytes === lines ? at + written : 0);
        }
      });
    };
    write(0);
  }

  close(): void {
    clearTimeout(this.#timer);
    if (this.#busy < 0) closeFile(this.#fd);
    this.#fd = -1;
  }
}
