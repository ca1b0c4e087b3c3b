// `--watch`: reports when a module in the handler's folder has changed, and makes a URL under which the module, and
// its imports from that folder, are loaded again.
//
// Node imports a module once for each URL. Therefore a small module with a number in its text imports the handler, and
// a resolve hook adds that number to the URLs that a numbered module of the folder imports from the folder.

import { type FSWatcher, readdirSync, watch } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

/** Time in ms in which changes are combined, because an editor writes a file in several steps. */
const SETTLE = 60;
/** Folders that are watched at most, to bound file watchers. Changes in further ones are not noticed. */
const FOLDERS = 500;
const MODULE = /\.([cm]?[jt]s|json|wasm)$/;

/** Returns the source of the resolve hook. It runs in a thread of its own and cannot use anything of this file. */
function hook(folder: string): string {
  return `export async function resolve(specifier, context, next) {
    const found = await next(specifier, context);
    const version = /[?&]watch=(\\d+)/.exec(context.parentURL ?? "")?.[1];
    const isOurs = found.url.startsWith(${JSON.stringify(folder)}) && !found.url.includes("/node_modules/");
    if (!version || !isOurs || found.url.includes("?")) return found;
    return { ...found, url: found.url + "?watch=" + version };
  }`;
}

function dataUrl(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}

/** Returns a URL that imports a handler module as it is now. @param version another number each time */
export function watchedUrl(file: string, version: number): string {
  const url = pathToFileURL(file).href;
  const folder = `${pathToFileURL(path.dirname(file)).href}/`;
  // A runtime without such hooks loads only the handler's module again.
  return dataUrl(`import * as module from "node:module";
    globalThis.ringcastWatch ??= module.register?.(${JSON.stringify(dataUrl(hook(folder)))}) ?? true;
    export default (await import(${JSON.stringify(`${url}?watch=${version}`)})).default;`);
}

/** Returns a folder and the folders in it, except packages and hidden ones. */
function foldersIn(folder: string): string[] {
  const all = [folder];
  for (let i = 0; i < all.length && all.length < FOLDERS; i++) {
    const here = all[i] as string;
    for (const entry of readdirSync(here, { withFileTypes: true })) {
      if (entry.isDirectory() && !/^\.|^node_modules$/.test(entry.name))
        all.push(path.join(here, entry.name));
    }
  }
  return all;
}

/** Calls `changed` when modules in a file's folder have changed. @returns a function that stops watching */
export function watchModules(file: string, changed: () => void): () => void {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    for (const folder of foldersIn(path.dirname(file))) {
      if (watchers.has(folder)) continue;
      const watcher = watch(folder, (kind, name) => {
        const isModule = name !== null && MODULE.test(name);
        // A rename may have created a folder.
        if (!isModule && kind !== "rename") return;
        clearTimeout(timer);
        timer = setTimeout(() => {
          look();
          if (isModule) changed();
        }, SETTLE);
      });
      watcher.on("error", () => {
        watcher.close();
        watchers.delete(folder);
      });
      watchers.set(folder, watcher);
    }
  };
  look();
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers.values()) watcher.close();
  };
}
