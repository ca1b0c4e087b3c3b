// handlers/lengths.mjs with streamed uploads, which it reads before it answers.

import lengths from "./lengths.mjs";

export default { ...lengths, streams: true };
