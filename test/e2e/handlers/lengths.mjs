// A handler that states the length of its body, 4 bytes, and sends another one: `/?way&status&kind`.

import { fetchHandler } from "ringcast/fetch";

const PIECES = {
  exact: ["bo", "", "dy"],
  short: ["bo", "d"],
  long: ["bo", "dy!"],
  failing: ["bo"],
};
/** Times that each character is in a body that is too large to be sent at once. */
const LARGE = 50_000;

/** Yields the pieces of a kind. */
async function* pieces(kind) {
  for (const piece of PIECES[kind]) yield piece;
  if (kind === "failing") throw new Error("the source fails");
}

const isBodiless = (status) => status === 204 || status === 205 || status === 304;

/** Returns the same pieces, each character repeated, as a stream that does not have them at once. */
function streamOf(kind, times) {
  const source = pieces(kind);
  return new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve));
      const { done, value } = await source.next();
      if (done) {
        controller.close();
        return;
      }
      const text = value.replace(/./g, (character) => character.repeat(times));
      controller.enqueue(new TextEncoder().encode(text));
    },
  });
}

const fetched = fetchHandler(async (request) => {
  await request.text();
  const [way, status, kind] = new URL(request.url).search.slice(1).split("&");
  const times = way === "large" ? LARGE : 1;
  const body = isBodiless(Number(status)) ? null : streamOf(kind, times);
  const headers = { "content-length": `${4 * times}` };
  return new Response(body, { status: Number(status), headers });
});

const ways = {
  async begin(status, kind, res) {
    res.begin(status, "text/plain", { "content-length": 4 });
    if (!isBodiless(status)) {
      for (const piece of PIECES[kind]) res.write(piece);
      if (kind === "failing") throw new Error("the handler fails");
    }
    await res.end();
  },
  stream: (status, kind, res) =>
    res.header("Content-Length", "4").stream(status, "text/plain", pieces(kind)),
  fetch: (_status, _kind, res, req) => fetched.request(req, res),
  large: (_status, _kind, res, req) => fetched.request(req, res),
};

/** Answers with a stated length and a whole body, or with the error that this throws. */
function whole(stated, res) {
  try {
    res.header("content-length", /^\d+n$/.test(stated) ? Number.parseInt(stated, 10) : stated);
    return res.send(200, "text/plain", "body");
  } catch (error) {
    return res.json({ name: error.name, message: error.message });
  }
}

export default {
  async request(req, res) {
    const [way, status, kind] = req.query.split("&");
    if (way === "next") return res.send(200, "text/plain", "next");
    if (way === "whole") return whole(status, res);
    const isRead = way === "begin" || way === "stream";
    if (req.method === "POST" && isRead) for await (const _ of req.stream()) void _;
    return ways[way](Number(status), kind, res, req);
  },
};
