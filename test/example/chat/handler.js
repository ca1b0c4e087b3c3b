// The server of the example: a chat, and a ticker that the server publishes. The same module runs in production,
// as `serve({ handler: new URL("./handler.js", import.meta.url) })` of "ringcast".

export default (server) => {
  const lines = [];
  return {
    request(req, res) {
      if (req.upgrade) {
        const name = decodeURIComponent(req.query);
        if (name === "") return res.send(400, "text/plain", "who are you?\n");
        return res.upgrade({ data: { name } });
      }
      if (req.path === "/history") {
        return res.send(200, "application/json", JSON.stringify(lines));
      }
      return res.send(404, "text/plain", "there is no such page\n");
    },
    open(ws) {
      ws.subscribe("prices");
      ws.subscribe("lines");
    },
    message(ws, text) {
      if (text === "/quit") return ws.close(4000, "good bye");
      const line = { name: ws.data.name, text };
      lines.push(line);
      server.publish("lines", JSON.stringify({ line }));
    },
  };
};
