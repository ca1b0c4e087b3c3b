// Hostile clients, in a process of their own that yields to others. On { flood, port, … } it runs that flood until the
// server has ended every connection of it, or until the flood ends by itself, then reports what it did.

import os from "node:os";
import * as connections from "./floods/connections.mjs";
import * as messages from "./floods/messages.mjs";
import * as requests from "./floods/requests.mjs";

// The processor time of these clients is not the server's fault.
os.setPriority(10);

const floods = { ...connections, ...messages, ...requests };

process.on("message", async ({ flood, ...rest }) => {
  try {
    process.send({ did: await floods[flood](rest) });
  } catch (error) {
    process.send({ error: error.stack });
  }
});
process.on("disconnect", () => process.exit());
