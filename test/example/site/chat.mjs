// The subprotocol "chat": each line is for all who chat, and a new client gets the last lines.

const LINES = 10;
const LENGTH = 500;

export default (server) => {
  const lines = [];
  return {
    open(ws) {
      for (const line of lines) ws.send(line);
      ws.subscribe("chat");
    },
    message(ws, text, isBinary) {
      if (isBinary) return ws.close(1003, "text only");
      if (text.length > LENGTH) return ws.close(1009, `at most ${LENGTH} characters`);
      lines.push(text);
      if (lines.length > LINES) lines.shift();
      server.publish("chat", text);
    },
  };
};
