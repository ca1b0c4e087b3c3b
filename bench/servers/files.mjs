// Servers of one folder of files. `kind` says which: "node:http" streams each file, as its documentation has it;
// "sirv" and "fastify" use their own middleware; "ringcast" has a mount, "ringcast-send" answers with `res.send` of the
// same bytes and fields.

import { createReadStream, statSync } from "node:fs";
import { once } from "node:events";
import path from "node:path";
import { control, peer } from "./control.mjs";

/** Returns the port of a server of node:http. */
async function listening(server) {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { port: server.address().port };
}

/** Starts Ringcast. @param {object} options */
async function ringcast(options) {
  const { serve } = await import("../../dist/index.js");
  const server = await serve({ port: 0, hostname: "127.0.0.1", ...options });
  return { port: server.address.port };
}

/** @type {Record<string, (folder: string) => Promise<{ port: number }>>} */
const KINDS = {
  async "node:http"(folder) {
    const { createServer } = await import("node:http");
    return listening(
      createServer((request, response) => {
        const file = path.join(folder, request.url);
        const { size } = statSync(file);
        response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": size });
        createReadStream(file).pipe(response);
      }),
    );
  },
  async sirv(folder) {
    const { createServer } = await import("node:http");
    const { default: sirv } = await peer(() => import("sirv"));
    return listening(createServer(sirv(folder, { etag: true })));
  },
  async fastify(folder) {
    const { fastify } = await peer(() => import("fastify"));
    const { default: files } = await peer(() => import("@fastify/static"));
    const app = fastify();
    app.register(files, { root: folder });
    await app.listen({ port: 0, host: "127.0.0.1" });
    return { port: app.server.address().port };
  },
  async bun(folder) {
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: ({ url }) => new Response(Bun.file(path.join(folder, new URL(url).pathname))),
    });
    return { port: server.port };
  },
  ringcast: (folder) => ringcast({ mounts: [{ path: "/", files: folder }] }),
  "ringcast-send"(folder) {
    const url = new URL("./files-handler.mjs", import.meta.url);
    url.searchParams.set("folder", folder);
    return ringcast({ handler: url });
  },
};

await control(({ kind, folder }) => KINDS[kind](folder));
