// The metrics: the name of each figure, that the text is OpenMetrics, and how the horizon is counted.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Stats } from "../../host/handler";
import { Horizon } from "../../worker/pump/horizon";
import { metricsText } from "../../worker/request/metrics";
import { readOpenMetrics, sampleOf } from "../lib/openmetrics";

const metrics = suite("metrics");

/** Statistics in which each figure is another. */
const STATS: Stats = {
  connections: 1,
  webSockets: 14,
  pipes: 240,
  released: 241,
  eventStreams: 140,
  resumed: 141,
  parked: 142,
  replayedBytes: 143,
  gaps: { expired: 144, epoch: 145, invalid: 146, lapped: 147, large: 148 },
  topicsForgotten: 149,
  accepted: 3,
  upgraded: 4,
  requests: 5,
  bytesIn: 6,
  bytesOut: 7e15,
  messagesIn: 8,
  messagesSent: 9,
  messagesRefused: 10,
  position: "zik0zj00-0000000000a",
  framesPublished: 11,
  bytesPublished: 12,
  framesDue: 13,
  evicted: 5,
  topics: 15,
  subscriptions: 16,
  closed: { Ok: 17, WsClientTooSlow: 2, Evicted: 3 },
  addresses: 18,
  ring: { bytes: 65536, used: 19 },
  lag: { bounds: [0, 1024, 4096, 16384, 65536], counts: [8, 3, 0, 2, 1] },
  receivePool: { bytes: 20, used: 21 },
  replyPool: { bytes: 22, used: 23 },
  fileBuffers: { bytes: 44, used: 45, waiting: 46, recalled: 47 },
  bodyBytes: 230,
  inflating: { messages: 231, bytes: 232 },
  memory: 24,
  handlerErrors: 25,
  acceptErrors: 26,
  shed: 27,
  linesDropped: 27.5,
  pool: {
    threads: 28,
    running: 29,
    queueSize: 30,
    completed: 31,
    utilization: 0.5,
    runTime: { mean: 1, p99: 32, max: 4000 },
  },
};

/** Returns every number of an object. */
function numbersOf(value: object): number[] {
  const values = Object.values(value).filter((one) => typeof one !== "string");
  return values.flatMap((one) => (typeof one === "number" ? one : numbersOf(one)));
}

metrics("every figure of the statistics is in them", () => {
  const families = readOpenMetrics(metricsText(STATS, 2.5));
  const values = new Set([...families.values()].flatMap(({ samples }) => [...samples.values()]));
  const { evicted, lag, pool, ...plain } = STATS;
  for (const value of numbersOf(plain)) assert.ok(values.has(value), `${value}`);
  const value = (key: string): number => sampleOf(families, `ringcast_${key}`);
  assert.is(value("ring_horizon_seconds"), 2.5);
  assert.is(value("publications_total"), 10);
  assert.is(value("sent_bytes_total"), 7e15);
  assert.is(value("pool_busy_ratio"), 0.5);
  assert.is(value("pool_run_mean_seconds"), 0.001);
  assert.is(value("pool_run_p99_seconds"), 0.032);
  assert.is(value("pool_run_max_seconds"), 4);
  assert.is(value("pool_completed_total"), 31);
  assert.is(value('evictions_total{cause="WsClientTooSlow"}'), 2);
  assert.is(value('evictions_total{cause="Evicted"}'), 3);
  assert.is(value('closed_total{cause="Ok"}'), 17);
});

metrics("the transport is named where the server listens on sockets", () => {
  const text = metricsText({ ...STATS, transport: "handles" }, 1);
  assert.is(sampleOf(readOpenMetrics(text), 'ringcast_transport{name="handles"}'), 1);
  assert.not.match(metricsText(STATS, 1), /transport/);
});

metrics("the lag of the clients is a histogram of counts that go up and down", () => {
  const { type, samples } = readOpenMetrics(metricsText(STATS, 1)).get("ringcast_lag_bytes") ?? {};
  assert.is(type, "gaugehistogram");
  assert.equal(
    [...(samples ?? [])].map(([key, value]) => [/le="(.*)"/.exec(key)?.[1], value]),
    [
      ["0.0", 8],
      ["1024.0", 11],
      ["4096.0", 11],
      ["16384.0", 13],
      ["65536.0", 14],
      ["+Inf", 14],
    ],
  );
});

metrics("without a pool, and with nothing published, they are OpenMetrics too", () => {
  const { pool, ...rest } = STATS;
  const families = readOpenMetrics(metricsText({ ...rest, closed: {} }, Number.POSITIVE_INFINITY));
  assert.not.ok([...families.keys()].some((name) => name.includes("pool_run")));
  assert.is(sampleOf(families, "ringcast_ring_horizon_seconds"), Number.POSITIVE_INFINITY);
  assert.is(sampleOf(families, 'ringcast_evictions_total{cause="Evicted"}'), 0);
});

metrics(
  "the horizon is a ring's capacity at a steady rate, before a ring is full and after",
  () => {
    const horizon = new Horizon(65536, 1e6);
    assert.is(horizon.seconds(1000, 0, 0), Number.POSITIVE_INFINITY);
    let bytes = 0;
    // 1,024 bytes each 10 ms: 64 messages are a ring.
    for (let i = 0; i < 1000; i++) {
      bytes += 1024;
      horizon.note(5000 + i * 10, bytes, i + 1);
      if (i < 2) continue;
      assert.ok(Math.abs(horizon.seconds(5000 + i * 10, bytes, i + 1) - 0.64) < 1e-9, `${i}`);
    }
  },
);

metrics("the horizon of small messages depends on the number of frames", () => {
  const horizon = new Horizon(1 << 24, 100);
  for (let i = 1; i <= 1000; i++) horizon.note(i, i * 8, i);
  assert.ok(Math.abs(horizon.seconds(1000, 8000, 1000) - 0.1) < 1e-9);
});

metrics("the horizon follows a change of rate within a ring, and grows while nothing comes", () => {
  const horizon = new Horizon(65536, 1e6);
  let now = 0;
  let bytes = 0;
  const publish = (messages: number, ms: number): void => {
    for (let i = 0; i < messages; i++) {
      now += ms;
      bytes += 1024;
      horizon.note(now, bytes, bytes / 1024);
    }
  };
  const seconds = (): number => horizon.seconds(now, bytes, bytes / 1024);
  publish(200, 100);
  assert.ok(Math.abs(seconds() - 6.4) < 0.01, `${seconds()}`);
  publish(32, 1);
  assert.ok(seconds() > 3 && seconds() < 3.6, `half a ring in no time: ${seconds()}`);
  publish(40, 1);
  assert.ok(Math.abs(seconds() - 0.064) < 0.01, `${seconds()}`);
  now += 60000;
  assert.ok(seconds() > 50, `${seconds()}`);
});

metrics("a message may be larger than a ring's share, and a turn publish several rings", () => {
  const horizon = new Horizon(4096, 16);
  let bytes = 0;
  for (let i = 1; i < 5000; i++) {
    bytes += (i * 7919) % 9000;
    horizon.note(i, bytes, i);
    if (i < 3) continue;
    const seconds = horizon.seconds(i, bytes, i);
    assert.ok(seconds >= 0 && seconds <= 0.017, `${seconds}`);
  }
});

metrics.run();
