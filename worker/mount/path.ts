// Judges the path of a request, once, before mounts are matched.
//
// Invariant: a decoded path has one reading: its segments are those of the request, and none of them is empty, a dot
// segment, or has an octet that some programs take for a separator or an end. A path with a second reading is no path
// of any mount that either reading could match.

/** A path that is its own decoded form, but for segments that are empty or dots. */
const PLAIN = /^[!#$&-[\]_a-z{|}~]+$/;
/** Escapes of a slash, a backslash and NUL, and percent signs that begin no escape. */
const REFUSED = /%(?:2f|5c|00|(?![\da-f]{2}))/i;
/** Segments that are empty, except the last, and dot segments. */
const AMBIGUOUS = /\/(?=\/)|\/\.\.?(?=\/|$)/;
/** Octets of control characters, and the backslash. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to refuse
const CONTROLS = /[\0-\x1f\x7f\\]/;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** Returns the octets of a path, with its escapes decoded. A percent sign that begins no escape stays. */
function octetsOf(path: string): Uint8Array {
  const text = path.replace(/%([\da-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/**
 * Decodes the path of a request (RFC 3986 2.4), once.
 * @param path octets as characters
 * @returns the path; undefined when it has no reading, or more than one
 */
export function decodePath(path: string): string | undefined {
  if (!path.startsWith("/")) return undefined;
  let decoded = path;
  if (!PLAIN.test(path)) {
    if (REFUSED.test(path)) return undefined;
    try {
      decoded = utf8.decode(octetsOf(path));
    } catch {
      return undefined;
    }
    if (CONTROLS.test(decoded)) return undefined;
  }
  return AMBIGUOUS.test(decoded) ? undefined : decoded;
}

/**
 * Returns the readings that programs may have of a path without a decoded form: with dot segments as names, and with
 * dot segments resolved.
 */
export function readingsOf(path: string): readonly string[] {
  const text = lenient.decode(octetsOf(path));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: some programs skip them
  const segments = text.replace(/[\0-\x1f\x7f]/g, "").split(/[/\\]+/);
  const resolved: string[] = [];
  for (const segment of segments) {
    if (segment === "..") resolved.pop();
    else if (segment !== "" && segment !== ".") resolved.push(segment);
  }
  const named = segments.filter((segment) => segment !== "");
  return [`/${named.join("/")}`, `/${resolved.join("/")}`];
}

/** Characters of a path that need no escape (RFC 3986 3.3), although `encodeURIComponent` writes one. */
const UNESCAPED = /%(?:2[14678-9BC]|3[ABD]|40)/g;

/** Returns a decoded path in the form that it has in a URL. */
export function encodePath(path: string): string {
  return path
    .split("/")
    .map((segment) => encodeURIComponent(segment).replace(UNESCAPED, decodeURIComponent))
    .join("/");
}
