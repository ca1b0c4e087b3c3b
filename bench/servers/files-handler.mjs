// Ringcast's handler that answers with the bytes of a file and the fields that a mount of files sends with them.

import { readFileSync } from "node:fs";
import path from "node:path";

const folder = new URL(import.meta.url).searchParams.get("folder");
const bytes = readFileSync(path.join(folder, "small.txt"));
const FIELDS = {
  "Cache-Control": "public, max-age=0",
  ETag: '"sg-dn9ew4akyhkp-1a0b5-1e68"',
  "Last-Modified": "Tue, 01 Dec 2026 12:57:26 GMT",
  "Accept-Ranges": "bytes",
};

export default {
  request: (_, res) => res.send(200, "text/plain; charset=utf-8", bytes, FIELDS),
};
