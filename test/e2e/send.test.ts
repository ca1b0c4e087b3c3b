// `send(id)` from the application's threads: as many messages arrive as were accepted, in order, or the client ends.

import { type Publisher, type Server, openPublisher } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  BINARY,
  CLOSE,
  type Frame,
  type WsWire,
  closeOf,
  handlerOf,
  openGreeted,
  serving,
  until,
} from "./peer";

const send = suite("send");

type Producer = Server | Publisher;

const PRODUCERS: readonly (readonly [string, (server: Server) => Producer])[] = [
  ["the application's thread", (server) => server],
  ["a publisher", (server) => openPublisher(server.publisher())],
];

/** Returns a message that begins with its number. */
function numbered(number: number, bytes: number): Uint8Array {
  const message = Buffer.alloc(bytes, number);
  message.writeUInt32BE(number);
  return message;
}

const numberOf = ({ payload }: Frame): number => payload.readUInt32BE(0);

/** Takes messages that are numbered from 0. */
async function takeAll(wire: WsWire, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const frame = await wire.next();
    assert.is(frame.opcode, BINARY);
    assert.is(numberOf(frame), i);
  }
}

for (const [name, producerOf] of PRODUCERS) {
  for (const form of ["whole", "staged"] as const) {
    send(
      `200 messages of ${name} to a client that does not read, ${form}: those accepted arrive`,
      () =>
        serving("topics", { maxBacklog: 65536 }, async (server, port) => {
          const { wire, id } = await openGreeted(port);
          const producer = producerOf(server);
          wire.socket.pause();
          let accepted = 0;
          for (let i = 0; i < 200; i++) {
            const message = numbered(accepted, 1000);
            const isAccepted =
              form === "whole"
                ? producer.send(id, message)
                : producer.stage().bytes(message).send(id, { binary: true });
            if (isAccepted) accepted++;
          }
          // No report comes within a run: a limit's worth, and one message.
          assert.is(accepted, Math.floor(65536 / 1016) + 1);
          wire.socket.resume();
          await takeAll(wire, accepted);
          await producer.ready();
          assert.ok(producer.send(id, numbered(accepted, 4)));
          assert.is(numberOf(await wire.next()), accepted);
          assert.is((await server.stats()).messagesRefused, 0);
          wire.destroy();
        }),
    );
  }

  send(`a loop of ${name} that waits for ready() delivers everything, and lets others run`, () =>
    serving("topics", {}, async (server, port) => {
      const { wire, id } = await openGreeted(port);
      const producer = producerOf(server);
      wire.socket.pause();
      let refused = 0;
      const sendAll = async (): Promise<void> => {
        for (let i = 0; i < 600; i++) {
          while (!producer.send(id, numbered(i, 65536))) {
            refused++;
            await producer.ready();
          }
        }
      };
      const sent = sendAll();
      assert.ok(refused > 0, "more than the limit is refused");
      // It waits for the client, which does not read; this thread continues.
      await server.stats();
      assert.ok(producer.broadcast("others are served"));
      wire.socket.resume();
      let next = 0;
      wire.listen((frame) => {
        if (frame.opcode === BINARY) assert.is(numberOf(frame), next++);
      });
      await sent;
      await until("the last message", () => next === 600);
      assert.ok(refused < 2 * 600, `${refused} refusals`);
      wire.destroy();
    }),
  );

  // Half of the limit has to leave: more than kernels take for a client that does not read.
  const large = { maxBacklog: "64MiB", inbox: "128MiB", replyBuffers: "256MiB" } as const;
  send(`ready() of ${name} resolves when the client that refused has ended`, () =>
    serving("topics", large, async (server, port) => {
      const { wire, id } = await openGreeted(port);
      const producer = producerOf(server);
      wire.socket.pause();
      while (producer.send(id, numbered(0, 65536)));
      let isReady = false;
      const waited = producer.ready().then(() => {
        isReady = true;
      });
      await until("the limit is queued", async () => {
        return (await server.stats()).replyPool.used > 33554432;
      });
      assert.not(isReady);
      wire.destroy();
      await waited;
      // In a handler's own placement an id that is stale is still one that takes nothing.
      producer.send(id, "stale");
      await producer.ready();
    }),
  );
}

send(
  "two threads that overrun a client's queue end it: SendOverrun, and no message is missing",
  () =>
    serving("topics", { maxBacklog: 1048576 }, async (server, port) => {
      const { wire, id } = await openGreeted(port);
      using other = openPublisher(server.publisher());
      wire.socket.pause();
      const producers = [server, other] as const;
      const accepted = [0, 0];
      const overrun = async (): Promise<boolean> =>
        ((await server.stats()).closed.SendOverrun ?? 0) > 0;
      const fill = (): void => {
        producers.forEach((producer, which) => {
          for (;;) {
            const message = numbered(accepted[which] as number, 16384);
            message[4] = which;
            if (!producer.send(id, message)) break;
            accepted[which] = (accepted[which] as number) + 1;
          }
        });
      };
      const next = [0, 0];
      let close: Frame | undefined;
      wire.listen((frame) => {
        if (frame.opcode !== BINARY) {
          close = frame;
          wire.send(CLOSE, frame.payload).socket.end();
          return;
        }
        const which = frame.payload[4] as number;
        assert.is(numberOf(frame), next[which]);
        next[which] = (next[which] as number) + 1;
      });
      // The kernel takes some of it first.
      await until("a message without room", async () => {
        fill();
        return (await server.stats()).messagesRefused > 0;
      });
      wire.socket.resume();
      await until("its end", overrun);
      assert.is(closeOf(close as unknown as Frame).code, 1013);
      const received = (next[0] as number) + (next[1] as number);
      assert.ok(received < (accepted[0] as number) + (accepted[1] as number));
      wire.destroy();
    }),
);

for (const where of ["worker", "application"] as const) {
  send(
    `messages and broadcasts in turn while the reply buffers are used up, handler in ${where}`,
    async () => {
      const options = { replyBuffers: 65536, maxBacklog: 65536 };
      const handler = await handlerOf("topics", where);
      await serving("topics", { ...options, handler }, async (server, port) => {
        const slow = await openGreeted(port);
        const prompt = await openGreeted(port);
        const all = [slow, prompt];
        const sent: number[][] = [[], []];
        const received: number[][] = [[], []];
        const closes: Frame[] = [];
        for (const [i, { wire }] of all.entries()) {
          wire.listen((frame) => {
            if (frame.opcode === BINARY) return received[i]?.push(numberOf(frame));
            closes.push(frame);
            wire.send(CLOSE, frame.payload).socket.end();
            return i;
          });
        }
        slow.wire.socket.pause();
        let number = 0;
        const send = (i: 0 | 1): void => {
          if (server.send(all[i]?.id as number, numbered(++number, 8000))) sent[i]?.push(number);
        };
        const step = (): void => {
          send(0);
          send(1);
          if (server.broadcast(numbered(++number, 8000)))
            for (const list of sent) list.push(number);
        };
        step();
        await until("a message without room", async () => {
          for (let i = 0; i < 12; i++) send(0);
          return (await server.stats()).messagesRefused > 0;
        });
        // The following messages must not overtake it.
        for (let i = 0; i < 20; i++) step();
        await server.stats();
        slow.wire.socket.resume();
        for (const [i, { wire }] of all.entries()) {
          const isWhole = (): boolean => received[i]?.length === sent[i]?.length;
          await until("all of it, or its end", () => isWhole() || wire.isOver);
          assert.equal(received[i], sent[i]?.slice(0, received[i]?.length), "a hole");
          // Closures' messages wait for room: a client that reads is not ended.
          assert.ok(isWhole() || i === 0 || where === "worker", "a client that reads has ended");
        }
        for (const close of closes) assert.is(closeOf(close).code, 1013);
        prompt.wire.destroy();
        slow.wire.destroy();
      });
    },
  );
}

send.run();
