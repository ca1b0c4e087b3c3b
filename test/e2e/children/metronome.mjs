// A paced stream that is independent of the server: lateness in it is caused by the machine.

import { createServer } from "node:net";
import { PACE, stamped } from "./pace.mjs";

const sockets = new Set();
const server = createServer({ noDelay: true }, (socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => undefined);
});
let number = 0;
setInterval(() => {
  const line = `${stamped(number++)}\n`;
  for (const socket of sockets) socket.write(line);
}, PACE);
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
process.on("disconnect", () => process.exit());
