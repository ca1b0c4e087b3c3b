// An application with a server, in its own process: `application.mjs CASE`. It says what happened
// and must then exit by itself.

import { createServer } from "node:net";
import { serve } from "ringcast";

const handler = new URL("../handlers/lifecycle.mjs", import.meta.url);
const say = (value) => console.log(JSON.stringify(value));
const sayError = (error) => say({ name: error.name, message: error.message });

const cases = {
  async inUse() {
    const other = createServer();
    await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
    await serve({ port: other.address().port, handler }).then(() => say("served"), sayError);
    other.close();
  },
  async badHandlers() {
    for (const name of ["missing", "throws", "empty", "rejects"]) {
      const url = new URL(`../handlers/${name}.mjs`, import.meta.url);
      await serve({ port: 0, handler: url }).then(() => say("served"), sayError);
    }
  },
  async closed() {
    const server = await serve({ port: 0, handler });
    await server.close();
    await server.finished;
    say("finished");
  },
  async throws() {
    await serve({ port: 0, handler });
    say("served");
    throw new Error("thrown by the application");
  },
  async exits() {
    await serve({ port: 0, handler });
    say("served");
    process.exit(7);
  },
  async dies() {
    const server = await serve({ port: 0, handler });
    fetch(`http://127.0.0.1:${server.address.port}/exit?3`).catch(() => undefined);
    await server.finished.then(() => say("finished"), sayError);
  },
};

await cases[process.argv[2]]();
