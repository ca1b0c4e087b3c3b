// Ringcast as a plugin of Fastify: a server of the application's, `app.stream`, that ends when the application does.

import fastifyPlugin from "fastify-plugin";
import { serve } from "ringcast";

async function register(app, options) {
  const stream = await serve({ onError: (error) => app.log.error(error), ...options });
  app.decorate("stream", stream);
  app.addHook("onClose", () => stream.shutdown());
}

/** Its options are those of `serve`. */
export const ringcast = fastifyPlugin(register, { name: "ringcast", fastify: "5.x" });
