// An application of Hono's, with WebSockets beside it.

import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { streamSSE } from "hono/streaming";
import { fetchHandler } from "ringcast/fetch";

const app = new Hono();
/** Events so far, for the tests to read. */
const log = [];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

app.use(async (c, next) => {
  await next();
  c.res.headers.set("X-Served-By", "hono");
});

app.get("/", (c) => c.text("hello\n"));
app.get("/users/:name", (c) => c.json({ name: c.req.param("name"), tags: c.req.queries("tag") }));
app.post("/users", async (c) => c.json(await c.req.json(), 201));
app.post("/form", async (c) => {
  const { title, file } = await c.req.parseBody();
  return c.json({ title, name: file.name, size: file.size });
});
app.get("/log", (c) => c.json(log.splice(0)));

app.get("/login", (c) => {
  setCookie(c, "user", "ada", { path: "/", httpOnly: true });
  setCookie(c, "theme", "dark");
  return c.redirect("/", 303);
});
app.get("/me", (c) => c.text(getCookie(c, "user") ?? "nobody"));

app.get("/events", (c) =>
  streamSSE(c, async (stream) => {
    stream.onAbort(() => log.push("events aborted"));
    for (let id = 0; !stream.aborted && !stream.closed; id++) {
      await stream.writeSSE({ id: `${id}`, data: `tick ${id}` });
      if (id === Number(c.req.query("count"))) return;
      await sleep(10);
    }
  }),
);

app.post("/upload", async (c) => {
  let length = 0;
  let sum = 0;
  for await (const piece of c.req.raw.body) {
    length += piece.length;
    sum = (sum + piece[0] + piece[piece.length - 1]) % 1024;
  }
  return c.json({ length, sum });
});
app.post("/back", (c) => c.body(c.req.raw.body));

app.get("/slow", async (c) => {
  const { signal } = c.req.raw;
  log.push("slow");
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  log.push("slow aborted");
  return c.text("nobody reads this");
});

app.onError((error, c) => c.text(`sorry: ${error.message}`, 500));
app.get("/fails", () => {
  throw new Error("as asked");
});

app.get("/chat/:room", (c) => {
  const user = getCookie(c, "user");
  if (!user) return c.text("who are you?\n", 401);
  return c.env.upgrade({ data: { user, room: c.req.param("room") } });
});

export default fetchHandler(app.fetch, {
  open(ws) {
    ws.subscribe(ws.data.room);
    ws.send(`welcome ${ws.data.user}`);
  },
  message: (ws, text) => ws.publish(ws.data.room, `${ws.data.user}: ${text}`),
});
