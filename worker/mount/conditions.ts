// Conditional requests and ranges of files (RFC 9110 13, 14).
//
// Invariant: a condition that is malformed is ignored, as if the request did not have it. Only GET and HEAD come here.

import type { Request } from "../../host/handler";

/** The validators of a representation. */
export interface Validators {
  /** The strong entity tag, with its quotes. */
  readonly tag: string;
  /** The field Last-Modified, in whole seconds. */
  readonly modified: string;
}

/** Bytes from `start` up to `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

const TAGS = /(?:^|,)[\t ]*(W\/)?("[!#-~\x80-\xff]*")[\t ]*(?=,|$)/g;
const CLOCK = "\\d\\d:\\d\\d:\\d\\d";
/** The three forms of a date (RFC 9110 5.6.7). */
const DATES = [
  `[A-Z][a-z]{2}, \\d\\d [A-Z][a-z]{2} \\d{4} ${CLOCK} GMT`,
  `[A-Z][a-z]{5,8}, \\d\\d-[A-Z][a-z]{2}-\\d\\d ${CLOCK} GMT`,
  `[A-Z][a-z]{2} [A-Z][a-z]{2} [ \\d]\\d ${CLOCK} \\d{4}`,
];
const DATE = new RegExp(`^(?:${DATES.join("|")})$`);

/** Returns the time of a date field in ms; undefined for any other text. */
function timeOf(text: string | undefined): number | undefined {
  if (text === undefined || !DATE.test(text)) return undefined;
  const time = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(time) ? undefined : time;
}

/** Returns true when a list of entity tags has one, or is `*`. @param weak whether weak tags match, too */
function lists(field: string, tag: string, weak: boolean): boolean {
  if (field.trim() === "*") return true;
  for (const [, isWeak, one] of field.matchAll(TAGS))
    if (one === tag && (weak || isWeak === undefined)) return true;
  return false;
}

/** Returns the status that the conditions of a request call for (RFC 9110 13.2.2): 412, 304, or 0 for none. */
export function judgeConditions(request: Request, { tag, modified }: Validators): 412 | 304 | 0 {
  const time = Date.parse(modified);
  const match = request.header("if-match");
  const since = timeOf(request.header("if-unmodified-since"));
  if (match !== undefined ? !lists(match, tag, false) : since !== undefined && time > since)
    return 412;
  const noneMatch = request.header("if-none-match");
  if (noneMatch !== undefined) return lists(noneMatch, tag, true) ? 304 : 0;
  const modifiedSince = timeOf(request.header("if-modified-since"));
  return modifiedSince !== undefined && time <= modifiedSince ? 304 : 0;
}

/** Returns true when a range applies to this representation and no other (RFC 9110 13.1.5). */
function isRangeMeant(request: Request, { tag, modified }: Validators): boolean {
  const field = request.header("if-range");
  if (field === undefined) return true;
  // A date is a strong validator only when it is the very one that was sent.
  return field.includes('"') ? field.trim() === tag : field.trim() === modified;
}

/**
 * Returns the range of a file that a request asks for.
 * @returns undefined: the whole file; "none": a range of which the file has no byte
 */
export function rangeOf(
  request: Request,
  size: number,
  validators: Validators,
): Range | "none" | undefined {
  const field = request.method === "GET" ? request.header("range") : undefined;
  if (field === undefined || !isRangeMeant(request, validators)) return undefined;
  // Several ranges, and a malformed one, are answered with the whole file (RFC 9110 14.2).
  const [, first, last] = /^bytes=[\t ]*(\d*)-(\d*)[\t ]*$/i.exec(field) ?? [];
  if (first === undefined || last === undefined || first + last === "") return undefined;
  if (first === "") {
    if (Number(last) === 0) return "none";
    return size === 0 ? undefined : { start: Math.max(0, size - Number(last)), end: size };
  }
  if (last !== "" && Number(last) < Number(first)) return undefined;
  if (Number(first) >= size) return "none";
  return { start: Number(first), end: last === "" ? size : Math.min(size, Number(last) + 1) };
}
