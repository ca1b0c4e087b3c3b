// Event streams that resume: each with the topic of its query, and a snapshot unless it resumes. For every place.

/** @type {import("ringcast").Handler} */
export default {
  request(req, res) {
    const topic = new URLSearchParams(req.query).get("topic");
    return res.events({ data: { since: req.since }, topics: topic ? [topic] : [] });
  },
  async open(ws) {
    if (ws.resumed) return;
    ws.send(`snapshot 1 ${ws.data.since ?? "none"} ${ws.gap?.reason ?? "first"}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    ws.send("snapshot 2");
  },
};
