// Greets with the id. The first word of a client's message says which action to run, and each is answered.

export default (server) => {
  const commands = {
    sub: (ws, topic) => ws.subscribe(topic),
    unsub: (ws, topic) => ws.unsubscribe(topic),
    is: (ws, topic) => ws.isSubscribed(topic),
    list: (ws) => [...ws.subscriptions].sort().join(","),
    count: (_, topic) => server.subscriberCount(topic),
    stats: () => `${server.stats().topics} ${server.stats().subscriptions}`,
    /** Says something to a topic's other subscribers. */
    say(ws, rest) {
      const [topic, text] = rest.split(" ");
      return ws.publish(topic, text);
    },
    /** A message to all subscribers but one, staged. */
    stage(_, rest) {
      const [topic, text, except = "0"] = rest.split(" ");
      return server
        .stage()
        .text(text)
        .publish(topic, { except: Number(except) });
    },
    /** A snapshot and a subscription in one run leave no gap. */
    join(ws, topic) {
      ws.send("snapshot");
      ws.subscribe(topic);
      server.publish(topic, "first");
      return "joined";
    },
  };
  return {
    request: (_, res) => res.upgrade(),
    open: (ws) => {
      ws.send(`id ${ws.id}`);
    },
    message(ws, data) {
      const space = data.indexOf(" ");
      const word = space < 0 ? data : data.slice(0, space);
      let answer;
      try {
        answer = commands[word](ws, space < 0 ? "" : data.slice(space + 1));
      } catch (error) {
        answer = `${error.name}: ${error.message}`;
      }
      ws.send(`= ${answer}`);
    },
  };
};
