// Serves the files of a mount: which file a path means, which of its codings a client takes, conditions and ranges.
//
// Invariant: the head and the body of a response are of one version of a file: a file that is not kept in memory is
// judged by the validators that it has when it is opened for the response.

import { lookup } from "mrmime";
import type { FileRules } from "../../host/options/site/mounts";
import type { Field } from "../../host/shared/request/response";
import { StaticBodyImpl, type ResponseImpl } from "../request/response";
import type { FileCache, Kept } from "./cache";
import { type Range, type Validators, judgeConditions, rangeOf } from "./conditions";
import { encodePath } from "./path";
import type { FileSystem, ServedFile } from "../../host/handler";
import { type MaybePromise, checkFile } from "./source";

/** Codings of files next to the plain ones, the best first, and the ends of their names. */
const CODINGS = [
  ["br", ".br"],
  ["gzip", ".gz"],
] as const;
const TEXTS = /^(?:text\/|application\/(?:javascript|json|xml|manifest\+json)|image\/svg\+xml)/;
const UNKNOWN_TYPE = "application/octet-stream";
/** Seconds of a year, for files that never change. */
const YEAR = 31536000;

/** How a file is named, and coded. */
interface Named {
  /** Path of the plain file. */
  readonly file: string;
  /** End of the name of the file that holds this coding of it; "" for the plain file. */
  readonly end: string;
  /** The coding; "" for none. */
  readonly coding: string;
}

/** A file in one coding, with the parts of its response that are always the same. */
interface Representation extends Named, Validators {
  readonly kept: Kept;
  /** Whether there are codings of the file. */
  readonly isCoded: boolean;
  readonly type: string;
  readonly fields: readonly Field[];
  /** The body, when it is kept. */
  readonly body: StaticBodyImpl | undefined;
}

/** The representations of a file, the plain one at the end. */
interface Variants {
  readonly coded: readonly (Kept | undefined)[];
  readonly all: readonly Representation[];
  /** Time until which nothing is known to have changed in the files beside the plain one. */
  until: number;
}

/** Returns the weight that a client gives to a coding (RFC 9110 12.5.3), 0 … 1. */
function weightOf(accepted: string, coding: string): number {
  let any = 0;
  for (const part of accepted.split(",")) {
    const [name = "", ...parameters] = part.split(";").map((one) => one.trim().toLowerCase());
    const q = parameters.find((one) => one.startsWith("q="));
    const weight = q === undefined ? 1 : Number(q.slice(2));
    const known = Number.isNaN(weight) ? 0 : Math.min(1, Math.max(0, weight));
    if (name === coding || (coding === "gzip" && name === "x-gzip")) return known;
    if (name === "*") any = known;
  }
  return any;
}

/** Returns true for a request of a page that a browser navigates to. */
function isNavigation({ request }: ResponseImpl, below: string): boolean {
  if (request.method !== "GET" || /\.[^/]*$/.test(below)) return false;
  return /(?:^|[\s,])text\/html(?:$|[\s,;])/i.test(request.header("accept") ?? "");
}

/** Returns true for a path with a name that is never served. */
export function isHidden(below: string): boolean {
  return /\/\.(?!well-known(?:\/|$))/.test(below);
}

export class FileMount {
  readonly #option: string;
  readonly #files: FileSystem;
  readonly #rules: FileRules;
  readonly #fields: readonly Field[];
  readonly #cache: FileCache;
  /** The owner of static bodies. */
  readonly #owner: object;
  /** Representations of files that are kept, so that a response is made of ready parts. */
  readonly #variants = new WeakMap<Kept, Variants>();

  constructor(
    {
      option,
      rules,
      fields,
    }: {
      readonly option: string;
      readonly rules: FileRules;
      readonly fields: readonly Field[];
    },
    files: FileSystem,
    cache: FileCache,
    owner: object,
  ) {
    this.#option = option;
    this.#files = files;
    this.#rules = rules;
    this.#fields = fields;
    this.#cache = cache;
    this.#owner = owner;
  }

  /**
   * Answers a request for a path below the mount, if there is a file for it.
   * @param path of the URL, decoded
   * @param below the part of it below the mount, which begins with "/"; "" for the mount's own path without its slash
   * @returns whether it is answered
   */
  serve(response: ResponseImpl, path: string, below: string): MaybePromise<boolean> {
    if (isHidden(below)) return this.#serveSpa(response, below);
    const { index } = this.#rules;
    // The mount's own path without its slash.
    if (below === "") return this.#moveToFolder(response, path, below);
    const isFolder = below.endsWith("/");
    if (isFolder && index === "") return this.#serveSpa(response, below);
    const file = isFolder ? below + index : below;
    const found = this.#find(file, "client");
    return found instanceof Promise
      ? found.then((one) => this.#serveFound(response, path, below, file, one))
      : this.#serveFound(response, path, below, file, found);
  }

  /** @param from "client": the path is of a client's making */
  #find(file: string, from: "client" | "server"): MaybePromise<Kept | "folder" | undefined> {
    return this.#cache.find(this.#files, this.#option, file, from);
  }

  #serveFound(
    response: ResponseImpl,
    path: string,
    below: string,
    file: string,
    found: Kept | "folder" | undefined,
  ): MaybePromise<boolean> {
    if (found === undefined) return this.#serveSpa(response, below);
    if (found !== "folder") return this.#serveFile(response, file, found);
    if (below.endsWith("/") || this.#rules.index === "") return this.#serveSpa(response, below);
    return this.#moveToFolder(response, path, below);
  }

  /** Redirects to the path of a folder with its slash, if the folder has an index. */
  async #moveToFolder(response: ResponseImpl, path: string, below: string): Promise<boolean> {
    const index = await this.#find(`${below}/${this.#rules.index}`, "client");
    if (typeof index !== "object") return this.#serveSpa(response, below);
    if (response.sent) return true;
    const { query } = response.request;
    const location = `${encodePath(path)}/${query === "" ? "" : `?${escapeOctets(query)}`}`;
    response.defaults([...this.#fields, ["Location", location]]).send(301);
    return true;
  }

  #serveSpa(response: ResponseImpl, below: string): MaybePromise<boolean> {
    const { spa } = this.#rules;
    if (spa === "" || !isNavigation(response, below)) return false;
    const found = this.#find(spa, "server");
    const serve = (one: Kept | "folder" | undefined): MaybePromise<boolean> =>
      typeof one === "object" ? this.#serveFile(response, spa, one) : false;
    return found instanceof Promise ? found.then(serve) : serve(found);
  }

  /** Serves a file that is there. */
  #serveFile(response: ResponseImpl, file: string, plain: Kept): MaybePromise<boolean> {
    const known = this.#variants.get(plain);
    if (known && this.#cache.isBefore(known.until)) return this.#serveVariant(response, known);
    let until = Number.POSITIVE_INFINITY;
    const coded = CODINGS.map(([, end]) => {
      const found = this.#find(file + end, "server");
      until = Math.min(until, this.#cache.until);
      return found;
    });
    if (coded.some((one) => one instanceof Promise))
      return Promise.all(coded).then((all) =>
        this.#serveVariant(response, this.#variantsOf(file, plain, all, 0)),
      );
    const all = coded as (Kept | "folder" | undefined)[];
    return this.#serveVariant(response, this.#variantsOf(file, plain, all, until));
  }

  /**
   * Returns a file's representations.
   * @param found the files beside it, in the order of CODINGS
   * @param until time until which all of them hold; 0: unknown
   */
  #variantsOf(
    file: string,
    plain: Kept,
    found: readonly (Kept | "folder" | undefined)[],
    until: number,
  ): Variants {
    // One that is older than the plain file was made from another version of it.
    const coded = found.map((one) =>
      typeof one === "object" && one.modified >= plain.modified ? one : undefined,
    );
    const known = this.#variants.get(plain);
    if (known?.coded.every((one, i) => one === coded[i])) {
      known.until = until;
      return known;
    }
    const isCoded = coded.some((one) => one !== undefined);
    const all = coded.flatMap((kept, i) => {
      const [coding, end] = CODINGS[i] as (typeof CODINGS)[number];
      return kept ? [this.#represent({ file, end, coding }, kept, isCoded)] : [];
    });
    all.push(this.#represent({ file, end: "", coding: "" }, plain, isCoded));
    const variants = { coded, all, until };
    this.#variants.set(plain, variants);
    return variants;
  }

  #represent({ file, end, coding }: Named, kept: Kept, isCoded: boolean): Representation {
    const tag = `"${kept.etag}${coding === "" ? "" : `-${coding}`}"`;
    const modified = new Date(Math.min(kept.modified, Date.now())).toUTCString();
    const type = this.#typeOf(file);
    const fields: Field[] = [...this.#fields];
    if (!fields.some(([name]) => name.toLowerCase() === "cache-control"))
      fields.push(["Cache-Control", this.#cacheControl(file)]);
    fields.push(["ETag", tag], ["Last-Modified", modified], ["Accept-Ranges", "bytes"]);
    if (isCoded) fields.push(["Vary", "Accept-Encoding"]);
    if (coding !== "") fields.push(["Content-Encoding", coding]);
    const body = kept.bytes && new StaticBodyImpl(this.#owner, kept.bytes, type);
    return { file, end, coding, tag, modified, kept, isCoded, type, fields, body };
  }

  #typeOf(file: string): string {
    const end = /\.([^./]*)$/.exec(file)?.[1]?.toLowerCase() ?? "";
    const own = Object.hasOwn(this.#rules.types, end) ? this.#rules.types[end] : undefined;
    if (own !== undefined) return own;
    const type = lookup(end) ?? UNKNOWN_TYPE;
    return TEXTS.test(type) ? `${type}; charset=utf-8` : type;
  }

  #cacheControl(file: string): string {
    const { immutable, maxAge } = this.#rules;
    const below = immutable.endsWith("/") ? immutable : `${immutable}/`;
    if (immutable !== "" && file.startsWith(below)) return `public, max-age=${YEAR}, immutable`;
    return `public, max-age=${maxAge}`;
  }

  /** Serves the representation that a client prefers. */
  #serveVariant(response: ResponseImpl, { all }: Variants): MaybePromise<boolean> {
    // The client may have left while the files were looked up.
    if (response.sent) return true;
    const accepted = all.length > 1 ? response.request.header("accept-encoding") : undefined;
    let best = all.at(-1) as Representation;
    let most = 0;
    for (const one of accepted === undefined ? [] : all) {
      const weight = one.coding === "" ? 0 : weightOf(accepted as string, one.coding);
      if (weight > most) [best, most] = [one, weight];
    }
    const { body } = best;
    if (!body) return this.#serveOpened(response, best);
    const asked = this.#judge(response, best);
    if (asked === "whole") response.static(body);
    else if (asked !== "nothing")
      response.send(206, best.type, body.bytes.subarray(asked.start, asked.end));
    return true;
  }

  /** Serves a representation that is not kept. Its file is opened, and need not be the one of before. */
  async #serveOpened(response: ResponseImpl, known: Representation): Promise<boolean> {
    const { request } = response;
    // No byte is needed to say that nothing has changed.
    if (request.method === "HEAD" || judgeConditions(request, known) !== 0) {
      if (this.#judge(response, known) !== "nothing")
        response.header("Content-Length", known.kept.size).send(200, known.type);
      return true;
    }
    const file = checkFile(await this.#files.open(known.file + known.end), this.#option);
    if (file === undefined || file === "folder") return false;
    const { etag, size, modified } = file;
    const isSame = etag === known.kept.etag && size === known.kept.size;
    const one = isSame
      ? known
      : this.#represent(known, { etag, size, modified, bytes: undefined }, known.isCoded);
    const asked = response.sent ? "nothing" : this.#judge(response, one);
    if (asked === "nothing") file.close?.();
    else await this.#stream(response, one, file, asked);
    return true;
  }

  /**
   * Judges conditions and ranges, and sets the fields of the response.
   * @returns the part of the file to send; "nothing": the response is complete
   */
  #judge(response: ResponseImpl, one: Representation): Range | "whole" | "nothing" {
    const { request } = response;
    const { size } = one.kept;
    const status = judgeConditions(request, one);
    if (status === 412) {
      response.defaults(this.#fields).refuse(412, "Precondition Failed\n");
      return "nothing";
    }
    const range = status === 304 ? undefined : rangeOf(request, size, one);
    if (range === "none") {
      response.defaults([...this.#fields, ["Content-Range", `bytes */${size}`]]);
      response.refuse(416, "Range Not Satisfiable\n");
      return "nothing";
    }
    response.defaults(one.fields);
    if (status === 304) {
      response.send(304);
      return "nothing";
    }
    if (!range) return "whole";
    response.header("Content-Range", `bytes ${range.start}-${range.end - 1}/${size}`);
    return range;
  }

  /** Sends a file, or a part of it, piece by piece. */
  #stream(
    response: ResponseImpl,
    { type, kept }: Representation,
    file: ServedFile,
    asked: Range | "whole",
  ): Promise<void> {
    const { start, end } = asked === "whole" ? { start: 0, end: kept.size } : asked;
    return response.sendFrom(asked === "whole" ? 200 : 206, type, {
      size: end - start,
      read: (from: number, to: number) => file.read(start + from, start + to),
      close: () => file.close?.(),
    });
  }
}

/** Escapes the octets that a URL must not have. @param text octets as characters */
export function escapeOctets(text: string): string {
  return text.replace(/[^!-~]/g, (octet) => {
    return `%${octet.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  });
}
