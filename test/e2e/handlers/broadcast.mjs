// Greets with the id. The first word of a client's message says which action to run.

export default (server) => {
  let round = 0;
  const commands = {
    /** Publishes a text, then sends each client one of its own. */
    text(_ws, rest) {
      server.broadcast(rest);
      server.each((one) => one.send(`${one.id}/${round}`));
      round++;
    },
    /** Answers with what `broadcast` said, or threw. */
    try(ws, rest) {
      const data = rest.startsWith("x") ? "x".repeat(Number(rest.slice(1))) : rest;
      try {
        ws.send(`${server.broadcast(data)}`);
      } catch (error) {
        ws.send(`${error.name}: ${error.message}`);
      }
    },
    stage() {
      server
        .stage()
        .text('{"n":')
        .text(42)
        .text(",€")
        .bytes(new Uint8Array([33, 34]))
        .reserve(10, (view) => {
          view.set([65, 66, 67]);
          return 3;
        })
        .text("gone")
        .truncate(16)
        .text(true)
        .broadcast();
    },
    stageBinary: () =>
      server.stage().bytes(new Uint8Array(70000).fill(7)).broadcast({ binary: true }),
    stageSend: (ws, rest) => ws.send(`${server.stage().text("to one").send(Number(rest))}`),
    stageEmpty: () => server.stage().broadcast(),
    stageTooLarge(ws) {
      const stage = server.stage();
      for (let i = 0; i < 100; i++) stage.bytes(new Uint8Array(65536));
      try {
        stage.broadcast();
      } catch (error) {
        ws.send(error.name);
      }
      ws.send(`${server.stage().text("after").broadcast()}`);
    },
    stageSeveral(ws) {
      const first = server.stage().text("fir");
      const second = server.stage().text("sec");
      server.broadcast("x");
      second.text("ond").broadcast();
      first.text("st").broadcast();
      try {
        first.text("x");
      } catch (error) {
        ws.send(error.message);
      }
    },
    stageLeftOpen: () => server.stage().text("nobody ever sees this"),
    count: (ws) => ws.send(`${server.count()}`),
    sendTo(ws, rest) {
      const [id, text] = rest.split(" ");
      ws.send(`${server.send(Number(id), text)}`);
    },
  };
  return {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200)),
    open: (ws) => ws.send(`id ${ws.id}`),
    message(ws, data, isBinary) {
      if (isBinary) {
        server.broadcast(data);
        server.each((one) => one.send(`${one.id}/${round}`));
        round++;
        return;
      }
      const space = data.indexOf(" ");
      const word = space < 0 ? data : data.slice(0, space);
      commands[word](ws, space < 0 ? "" : data.slice(space + 1));
    },
  };
};
