// Ringcast's handler, in its worker: it answers, echoes, and publishes a job that is posted to /publish.

import { setClients, toGroups, topicsOf } from "./groups.mjs";
import { pacer, publish } from "./publish.mjs";

const settings = JSON.parse(new URL(import.meta.url).searchParams.get("settings"));
const { grouped, isAsync, text } = settings;
if (grouped > 0) setClients(grouped);

/** @typedef {import("../../host/handler.ts").HandlerServer} HandlerServer */
/** @typedef {import("../../host/handler.ts").Handler} Handler */

/** @type {(server: HandlerServer) => Handler} */
export default (server) => {
  const behind = () => {
    const lags = [];
    server.each(({ lag }) => lags.push(lag.bytes));
    return pacer(settings, lags, (bytes) => bytes)();
  };
  const broadcast = (message) => server.broadcast(text ? message.latin1Slice() : message);
  const toTopics = (message) => toGroups(message, (topic, data) => server.publish(topic, data));
  const stage = grouped > 0 ? toTopics : broadcast;

  const run = async (req, res) => {
    const figures = await publish(req.json(), { stage, behind });
    return res.send(200, "application/json", JSON.stringify(figures));
  };

  const answer = (req, res) => {
    if (req.path === "/events") return res.events();
    if (req.method !== "POST") return res.send(200, "text/plain", "hello\n");
    if (req.path === "/publish") return run(req, res);
    return res.send(200, "text/plain", `${req.body.length}\n`);
  };

  return {
    open(client) {
      if (grouped === 0) return;
      for (const topic of topicsOf(server.count() - 1)) client.subscribe(topic);
    },
    request: isAsync
      ? async (req, res) => void answer(req, res)
      : (req, res) => (req.upgrade ? res.upgrade() : answer(req, res)),
    message: (client, data) => client.send(data),
  };
};
