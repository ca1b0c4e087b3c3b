// The option `errorPages`: a page for each of some statuses. Files are named here, and read where there are any.

import { show } from "../../shared/text/show";
import { toBytes } from "../../shared/text/text";
import { isOptions, readOptions } from "../known";
import type { Options } from "../types";

/** Bytes of a page at most. A longer one is a RangeError: it is sent to any client that makes a mistake. */
const MAX_PAGE_BYTES = 65536;

/** First and last status that can have a page. */
const FIRST = 400;
const LAST = 599;

/** Content-Types by the ends of files' names. */
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  htm: "text/html; charset=utf-8",
  txt: "text/plain; charset=utf-8",
  json: "application/json",
};

/** An error page. */
export interface ErrorPage {
  readonly status: number;
  /** Its Content-Type. */
  readonly type: string;
  readonly body: Uint8Array;
}

/** An error page that is in a file. */
interface PageFile {
  readonly status: number;
  readonly type: string;
  /** The file's path, or its URL. */
  readonly file: string;
}

/** An error page as the options give it. */
export type PageSettings = ErrorPage | PageFile;

const nameOf = (status: number): string => `errorPages[${status}]`;

/** Refuses a page that is empty or too long. @param of the page in the message */
function checkBytes(status: number, of: string, bytes: number): void {
  if (bytes > 0 && bytes <= MAX_PAGE_BYTES) return;
  throw new RangeError(
    `${nameOf(status)}: ${of} has ${bytes} bytes, not from 1 to ${MAX_PAGE_BYTES}`,
  );
}

/** Refuses a file that is empty or too long. @throws RangeError */
export function checkPageSize({ status, file }: PageFile, bytes: number): void {
  checkBytes(status, show(file), bytes);
}

/** Returns the page of a file. @throws RangeError when it is empty or too long */
export function pageOfFile(page: PageFile, body: Uint8Array): ErrorPage {
  checkPageSize(page, body.length);
  return { status: page.status, type: page.type, body };
}

function readFileName(status: number, file: string): PageFile {
  const end = /\.(\w+)$/.exec(file)?.[1]?.toLowerCase() ?? "";
  const type = Object.hasOwn(TYPES, end) ? TYPES[end] : undefined;
  if (type === undefined || file.includes("\0")) {
    const ends = Object.keys(TYPES).map((one) => `.${one}`);
    throw new TypeError(
      `${nameOf(status)}: ${show(file)} is not a file with a name that ends with ${ends.join(", ")}`,
    );
  }
  return { status, type, file };
}

function readBody(status: number, given: object): ErrorPage {
  const prefix = `${nameOf(status)}.`;
  const known = { names: ["type", "body"], prefix };
  const { type, body } = readOptions<{ type?: unknown; body?: unknown }>(given, known);
  if (typeof type !== "string" || type.length > 256 || !/^[!-~](?:[\t -~]*[!-~])?$/.test(type))
    throw new TypeError(
      `${prefix}type: ${show(type)} is not a media type such as "text/html; charset=utf-8"`,
    );
  if (typeof body !== "string" && !(body instanceof Uint8Array))
    throw new TypeError(`${prefix}body: ${show(body)} is neither a string nor a Uint8Array`);
  const bytes = typeof body === "string" ? toBytes(body) : new Uint8Array(body);
  checkBytes(status, "body", bytes.length);
  return { status, type, body: bytes };
}

function readPage(key: string, given: unknown): PageSettings {
  const status = /^\d{3}$/.test(key) ? Number(key) : 0;
  if (status < FIRST || status > LAST)
    throw new RangeError(`errorPages: ${show(key)} is not a status from ${FIRST} to ${LAST}`);
  if (given instanceof URL) {
    if (given.protocol === "file:") return readFileName(status, given.href);
    throw new TypeError(`${nameOf(status)}: ${show(given.href)} is not a file: URL`);
  }
  if (typeof given === "string") return readFileName(status, given);
  if (isOptions(given)) return readBody(status, given);
  throw new TypeError(
    `${nameOf(status)}: ${show(given)} is not a path, a file: URL or { type, body }`,
  );
}

/** Reads the error pages, in the order of their statuses. @throws TypeError, RangeError naming the page */
export function readErrorPages({ errorPages }: Options): PageSettings[] {
  if (errorPages === undefined) return [];
  if (!isOptions(errorPages))
    throw new TypeError(`errorPages: ${show(errorPages)} is not an object of pages by status`);
  const known = { names: Object.keys(errorPages), prefix: "errorPages." };
  return Object.entries(readOptions(errorPages, known)).map(([key, page]) => readPage(key, page));
}

/** Returns the pages of a server that has no files. @throws TypeError naming one that is in a file */
export function pagesWithoutFiles(pages: readonly PageSettings[]): ErrorPage[] {
  return pages.map((page) => {
    if ("body" in page) return page;
    const { status, file } = page;
    throw new TypeError(
      `${nameOf(status)}: ${show(file)} is a file, and there are none here; give { type, body }`,
    );
  });
}
