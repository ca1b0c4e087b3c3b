// Mounts: which one serves a request, and how.
//
// Invariant: a request's path is judged once, before a mount is chosen, so no spelling of a path reaches a mount, or
// the handler, around a mount that another spelling would have reached.

import { describe } from "../../host/shared/result";
import type { MountSettings } from "../../host/options/site/mounts";
import { AddressSet } from "../../host/shared/text/address";
import type { Request } from "../../host/handler";
import type { ResponseImpl } from "../request/response";
import { FileCache } from "./cache";
import type { Backend } from "../net/transport";
import { ProxyMount, type ProxyOwner } from "./proxy";
import { FileMount, escapeOctets } from "./files";
import { decodePath, encodePath, readingsOf } from "./path";
import type { FileSystem } from "../../host/handler";
import type { MaybePromise } from "./source";

/** Errors of a file system that lacks a resource for now. */
const BUSY = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);

/** A mount and the path of a request below it. */
interface Match {
  readonly mount: Mount;
  /** The whole path, decoded. */
  readonly path: string;
  /** "" for the mount's own path without a slash. */
  readonly below: string;
}

interface Mount {
  readonly settings: MountSettings;
  readonly readers: AddressSet | undefined;
  readonly files: FileMount | undefined;
  readonly proxy: ProxyMount | undefined;
}

/** The parts of the server that mounts need. */
export interface MountsOwner {
  /** Owner of static bodies. */
  readonly server: object;
  /** Returns ms. */
  now(): number;
  /** Returns the files of a mount. */
  filesOf(settings: MountSettings): FileSystem | undefined;
  /** Returns the server behind a mount. */
  backendOf(settings: MountSettings): Backend | undefined;
  /** The connections of clients. */
  readonly clients: ProxyOwner;
}

type MountList = readonly MountSettings[] | undefined;

export class Mounts {
  /** Mounts by their paths, by the numbers of the virtual hosts; first the server's. */
  readonly #byHost: readonly ReadonlyMap<string, Mount>[];
  readonly #owner: MountsOwner;
  readonly cache: FileCache;
  /** Whether a mount has a module of its own. */
  readonly hasModules: boolean;
  /** Whether a mount passes requests on. */
  readonly hasProxies: boolean;

  /**
   * @param lists by the numbers of the virtual hosts, first the server's. undefined: a host has those of the server
   * @param cacheBytes bytes of files that are kept
   */
  constructor(lists: readonly MountList[], cacheBytes: number, owner: MountsOwner) {
    const all = lists.flatMap((list) => list ?? []);
    this.#owner = owner;
    this.hasModules = all.some(({ kind }) => kind === "handler");
    this.hasProxies = all.some(({ kind }) => kind === "proxy");
    this.cache = new FileCache(cacheBytes, () => owner.now());
    const own = this.#mapOf(lists[0] ?? []);
    this.#byHost = lists.map((list, host) => (host === 0 || !list ? own : this.#mapOf(list)));
  }

  #mapOf(list: readonly MountSettings[]): ReadonlyMap<string, Mount> {
    return new Map(list.map((settings) => [settings.path, this.#make(settings)]));
  }

  #make(settings: MountSettings): Mount {
    const { addresses, path, fields } = settings;
    const { server, clients } = this.#owner;
    const files = this.#owner.filesOf(settings);
    const backend = this.#owner.backendOf(settings);
    const isStripped = settings.kind === "proxy" && settings.strip && path !== "/";
    return {
      settings,
      readers: addresses && new AddressSet(addresses),
      files:
        files && "rules" in settings
          ? new FileMount(settings, files, this.cache, server)
          : undefined,
      proxy: backend && new ProxyMount(backend, clients, fields, isStripped),
    };
  }

  /** Returns the mount with the longest path that a decoded path begins with, at a slash. */
  #find(path: string, host: number): Match | undefined {
    const mounts = this.#byHost[host] as ReadonlyMap<string, Mount>;
    for (let end = path.length; ; end = path.lastIndexOf("/", end - 1)) {
      // The root is the only path that ends with a slash.
      const mount = mounts.get(end <= 1 ? "/" : path.slice(0, end));
      if (mount) return { mount, path, below: end <= 1 ? path : path.slice(end) };
      if (end <= 1) return undefined;
    }
  }

  /** Returns the mount of a request; "unclear" for a path that could be read as one of a mount. */
  #match(path: string, host: number): Match | "unclear" | undefined {
    const decoded = decodePath(path);
    if (decoded !== undefined) return this.#find(decoded, host);
    const isUnclear = readingsOf(path).some((one) => this.#find(one, host) !== undefined);
    return isUnclear ? "unclear" : undefined;
  }

  /** Returns true when the body of a request is passed on as it arrives. */
  streams({ path }: Request, host: number): boolean {
    const match = this.hasProxies ? this.#match(path, host) : undefined;
    return typeof match === "object" && match.mount.proxy !== undefined;
  }

  /** Returns the number of the module that a request is for; 0: none. */
  moduleOf({ path }: Request, host: number): number {
    const match = this.#match(path, host);
    const settings = typeof match === "object" ? match.mount.settings : undefined;
    return settings?.kind === "handler" ? settings.module : 0;
  }

  /**
   * Answers a request, if that is for a mount.
   * @param host number of its virtual host, 0 for none
   * @param hasHandler whether a handler is asked for what mounts do not have
   * @returns whether it is answered; otherwise the handler is asked
   */
  serve(response: ResponseImpl, host: number, hasHandler: boolean): MaybePromise<boolean> {
    const { request } = response;
    const match = this.#match(request.path, host);
    if (match === undefined) return false;
    if (match === "unclear") {
      response.refuse(404, "Not Found\n");
      return true;
    }
    const { mount, below } = match;
    const { settings, readers } = mount;
    if (settings.internal) return this.#lacks(response, hasHandler);
    if (readers && !readers.has(request.remoteAddress)) {
      response.refuse(403, "Forbidden\n");
      return true;
    }
    if (settings.kind === "handler") {
      response.checked(settings.fields);
      return false;
    }
    if (mount.proxy) return mount.proxy.serve(response, below).then(() => true);
    // An upgrade is for the handler.
    if (request.upgrade) return false;
    if (settings.kind === "redirect") return this.#redirect(response, match);
    return this.#serveFile(response, match, hasHandler);
  }

  /** Answers a request with a file that the handler has named. @returns whether there is one */
  pass(response: ResponseImpl, host: number, target: string): MaybePromise<boolean> {
    const decoded = decodePath(target);
    const match = decoded === undefined ? undefined : this.#find(decoded, host);
    const { files } = match?.mount ?? {};
    if (!match || !files)
      throw new TypeError(`pass: no mount of files has the path ${JSON.stringify(target)}`);
    return files.serve(response, match.path, match.below);
  }

  #serveFile(response: ResponseImpl, match: Match, hasHandler: boolean): MaybePromise<boolean> {
    const { method } = response.request;
    const { mount, path, below } = match;
    if (method !== "GET" && method !== "HEAD") return this.#lacks(response, hasHandler);
    const served = (mount.files as FileMount).serve(response, path, below);
    if (!(served instanceof Promise)) return served || this.#lacks(response, hasHandler);
    return served.then(
      (isServed) => isServed || this.#lacks(response, hasHandler),
      (thrown: unknown) => {
        const { code } = describe(thrown);
        if (!BUSY.has(String(code)) || response.sent) throw thrown;
        response.header("Retry-After", 1).refuse(503, "Service Unavailable\n");
        return true;
      },
    );
  }

  /** Answers a request for which there is nothing, unless a handler is to be asked. */
  #lacks(response: ResponseImpl, hasHandler: boolean): boolean {
    if (hasHandler) return false;
    if (response.sent) return true;
    const { method } = response.request;
    if (method === "GET" || method === "HEAD") response.refuse(404, "Not Found\n");
    else response.header("Allow", "GET, HEAD").refuse(405, "Method Not Allowed\n");
    return true;
  }

  #redirect(response: ResponseImpl, { mount, below }: Match): boolean {
    const { settings } = mount;
    if (settings.kind !== "redirect") return false;
    const { query } = response.request;
    const rest = encodePath(below);
    const to = rest === "" ? settings.to : settings.to.replace(/\/$/, "") + rest;
    const location = query === "" ? to : `${to}?${escapeOctets(query)}`;
    response.checked([...settings.fields, ["Location", location]]).send(settings.status);
    return true;
  }
}

/** Returns the mounts of a server; undefined: there are none. The parameters are those of `Mounts`. */
export function mountsOf(
  lists: readonly MountList[],
  cacheBytes: number,
  owner: MountsOwner,
): Mounts | undefined {
  const isAny = lists.some((list) => list !== undefined && list.length > 0);
  return isAny ? new Mounts(lists, cacheBytes, owner) : undefined;
}
