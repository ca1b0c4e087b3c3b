// A handler for what HTTP says of fields, hosts, JSON, lengths and upgrades.

import { fetchHandler } from "ringcast/fetch";

const fetched = fetchHandler(async (request) => {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/fetch-json") return Response.json(await request.json());
  const length = searchParams.get("length");
  return new Response(searchParams.has("body") ? "body" : null, {
    headers: { "Content-Length": length, "X-Kept": "yes" },
  });
});

function caught(fn) {
  try {
    fn();
    return "none";
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

const values = (res) => [
  caught(() => res.header("X-A", undefined)),
  caught(() => res.header("X-A", null)),
  caught(() => res.header("X-A", {})),
  caught(() => res.header("X-A", ["a", undefined])),
  caught(() => res.header("X-A", true)),
  caught(() => res.header(undefined, "a")),
  caught(() => res.send(200, 5)),
  caught(() => res.send(200, "", "", { "X-B": undefined })),
  caught(() => res.json(undefined)),
];

const routes = {
  "/cookie": (req, res) => res.json([req.header("Cookie"), req.header("x-list")]),
  "/host": (req, res) => res.json(req.host),
  "/values": (_req, res) => res.send(200, "", JSON.stringify(values(res)), {}),
  "/octets": (_req, res) =>
    res.header("X-Octets", " \t\xa0a\xa0\t ").header("X-Blank", " ").send(200, "", ""),
  "/type"(req, res) {
    const [by, last] = req.query.split("&");
    if (by === "header") res.header("CONTENT-TYPE", "text/a");
    if (by === "twice") res.header("Content-Type", "text/a").header("content-type", "text/b");
    const headers = by === "headers" ? { "content-type": "text/c" } : undefined;
    return res.send(200, last ?? "", "", headers);
  },
  "/json": (req, res) => res.json({ got: req.json() }, 201, { "X-A": "b" }),
  "/caught": (req, res) =>
    res.send(
      200,
      "",
      caught(() => req.json()),
    ),
  async "/collect"(req, res) {
    const body = await req.collect(10);
    return res.send(200, "", body);
  },
  async "/collect-caught"(req, res) {
    const error = await req.collect(10).catch((thrown) => thrown);
    return res.send(200, "text/plain", error.name);
  },
  "/refuse": (_req, res) => res.send(403, "text/plain", "no"),
  "/refuse-stream": (_req, res) => res.stream(403, "text/plain", ["n", "o"]),
  "/upgrade"(req, res) {
    const name = decodeURIComponent(req.query);
    const errors = [caught(() => res.upgrade({ headers: { [name]: "x" } }))];
    return res.json(errors);
  },
};

const streams = Object.assign((req) => req.path.startsWith("/collect"), { optional: true });

export default {
  streams,
  request(req, res) {
    if (req.path.startsWith("/fetch")) return fetched.request(req, res);
    return routes[req.path](req, res);
  },
};
