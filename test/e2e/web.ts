// A web server of before, for the time of a test.

import { type RequestListener, createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Runs a web server of node:http. @param body gets its origin, without a slash at the end */
export async function withWebServer(
  listener: RequestListener,
  body: (origin: string) => Promise<void>,
): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
