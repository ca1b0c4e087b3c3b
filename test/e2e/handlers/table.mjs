// A handler that answers with any status in any way: `/?way&status`.

import { fetchHandler } from "ringcast/fetch";

/** Bodies that were returned from. */
const returned = [];

function pieces(status) {
  let left = ["bo", "dy"];
  return {
    [Symbol.iterator]: () => ({
      next: () => ({ done: left.length === 0, value: left.shift() }),
      return() {
        returned.push(status);
        left = [];
        return { done: true };
      },
    }),
  };
}

const isBodiless = (status) => status === 204 || status === 205 || status === 304;

const fetched = fetchHandler((request) => {
  const status = Number(new URL(request.url).search.split("&")[1]);
  return new Response(isBodiless(status) ? null : "body", { status });
});

const ways = {
  text: (status, res) => res.send(status, "text/plain", "body"),
  bytes: (status, res) => res.send(status, "text/plain", new Uint8Array([98, 111, 100, 121])),
  empty: (status, res) => res.send(status),
  large: (status, res) => res.send(status, "text/plain", "body".repeat(20000)),
  static: (status, res, { body }) => res.static(body, status),
  stream: (status, res) => res.stream(status, "text/plain", pieces(status)),
  async pieces(status, res) {
    res.begin(status, "text/plain");
    if (!isBodiless(status)) res.write("bo");
    await res.end(isBodiless(status) ? undefined : "dy");
  },
  // 200, whatever the status.
  end: (_status, res) => res.end("body"),
  fetch: (_status, res, { req }) => fetched.request(req, res),
};

/** Returns the outcome of a piece in a response that has no body. */
async function forbidden(status, res) {
  const errors = [];
  res.begin(status);
  for (const wrong of [() => res.write("x"), () => res.end("x")]) {
    try {
      await wrong();
      errors.push("none");
    } catch (error) {
      errors.push(error.message);
    }
  }
  await res.end();
  returned.push(errors.join());
}

export default (server) => {
  const body = server.body("body", "text/plain");
  return {
    request(req, res) {
      const [way, status] = req.query.split("&");
      if (way === "next") return res.send(200, "text/plain", "next");
      if (way === "returned")
        return res.send(200, "text/plain", JSON.stringify(returned.splice(0)));
      if (way === "forbidden") return forbidden(Number(status), res);
      return ways[way](Number(status), res, { body, req });
    },
  };
};
