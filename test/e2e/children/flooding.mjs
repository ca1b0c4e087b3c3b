// Clients that mean harm, in a process of their own that yields to others: told { flood, port, … } it runs that flood
// until the server has ended every connection of it, or as the flood says, then tells what it did.

import os from "node:os";
import * as connections from "./floods/connections.mjs";
import * as messages from "./floods/messages.mjs";
import * as requests from "./floods/requests.mjs";

// What they take of the processor is not the server's fault.
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
