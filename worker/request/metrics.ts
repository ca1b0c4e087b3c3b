// Counters and gauges as OpenMetrics text (1.0), and the clients that may read it over HTTP.
//
// Invariant: labels are names from this code, which need no escaping. Samples of a family are consecutive. A counter's
// name ends in _total, and a UNIT line names the ending of the family's name.

import type { AddressSet } from "../../host/shared/text/address";
import { EVICTIONS } from "../../host/shared/close";
import { sequenceOf } from "../../host/shared/message/position";
import type { Request, Response, Stats } from "../../host/handler";

/** Path of the metrics, and the addresses that may read them. */
export interface MetricsRules {
  readonly path: string;
  readonly readers: AddressSet;
}

const CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/** Fields by which a proxy reveals that it forwards a request. */
const FORWARDED = [
  ...["forwarded", "via", "x-real-ip"],
  ...["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"],
];

type Family = readonly [name: string, help: string, value: (stats: Stats) => number, unit?: string];

const GAUGES: readonly Family[] = [
  ["connections", "Open HTTP connections.", (s) => s.connections],
  ["websockets", "Open WebSockets.", (s) => s.webSockets],
  ["pipes", "Open connections that an upstream serves, because they are not HTTP.", (s) => s.pipes],
  ["event_streams", "Open event streams, which count among the WebSockets.", (s) => s.eventStreams],
  ["event_streams_parked", "Event streams whose opening has not settled.", (s) => s.parked],
  ["topics", "Topics that have subscribers, or that history keeps.", (s) => s.topics],
  ["subscriptions", "Subscriptions of all clients.", (s) => s.subscriptions],
  ["addresses", "Addresses that connections are counted under.", (s) => s.addresses],
  ["ring_capacity_bytes", "Size of the ring.", (s) => s.ring.bytes, "bytes"],
  [
    "ring_used_bytes",
    "Bytes of the ring that some client has not received.",
    (s) => s.ring.used,
    "bytes",
  ],
  [
    "receive_pool_capacity_bytes",
    "Size of the receive buffers.",
    (s) => s.receivePool.bytes,
    "bytes",
  ],
  ["receive_pool_used_bytes", "Receive buffers in use.", (s) => s.receivePool.used, "bytes"],
  ["reply_pool_capacity_bytes", "Size of the reply buffers.", (s) => s.replyPool.bytes, "bytes"],
  ["reply_pool_used_bytes", "Reply buffers in use.", (s) => s.replyPool.used, "bytes"],
  ["body_bytes", "Pending response bodies larger than 64 KiB.", (s) => s.bodyBytes, "bytes"],
  [
    "file_buffers_capacity_bytes",
    "Limit of the pieces of streamed bodies.",
    (s) => s.fileBuffers.bytes,
    "bytes",
  ],
  ["file_buffers_used_bytes", "Pieces of streamed bodies.", (s) => s.fileBuffers.used, "bytes"],
  [
    "file_buffers_waiting",
    "Responses that wait for room for a piece of their bodies.",
    (s) => s.fileBuffers.waiting,
  ],
  ["inflating_messages", "Large messages that are being inflated.", (s) => s.inflating.messages],
  ["inflating_bytes", "Results of these messages so far.", (s) => s.inflating.bytes, "bytes"],
  ["memory_bytes", "The engine's memory; constant.", (s) => s.memory, "bytes"],
];

const COUNTERS: readonly Family[] = [
  ["connections_accepted", "Connections accepted.", (s) => s.accepted],
  ["upgrades", "Connections that became WebSockets.", (s) => s.upgraded],
  ["connections_released", "Connections that were handed to an upstream.", (s) => s.released],
  ["requests", "Requests answered.", (s) => s.requests],
  ["received_bytes", "Bytes read from clients.", (s) => s.bytesIn, "bytes"],
  ["sent_bytes", "Bytes written to clients.", (s) => s.bytesOut, "bytes"],
  ["messages_received", "Messages from clients.", (s) => s.messagesIn],
  ["messages_sent", "Messages queued for single clients.", (s) => s.messagesSent],
  [
    "messages_refused",
    "Messages for single clients that were refused because there was no room.",
    (s) => s.messagesRefused,
  ],
  [
    "publications",
    "Publications, with subscribers or without: the sequence of the position.",
    (s) => sequenceOf(s.position),
  ],
  [
    "event_streams_resumed",
    "Event streams whose clients got what they had missed.",
    (s) => s.resumed,
  ],
  [
    "replayed_bytes",
    "Bytes of publications that clients were sent while they caught up.",
    (s) => s.replayedBytes,
    "bytes",
  ],
  [
    "topics_forgotten",
    "Topics that history has forgotten, because all were in use.",
    (s) => s.topicsForgotten,
  ],
  ["frames_published", "Messages published to many.", (s) => s.framesPublished],
  ["published_bytes", "Bytes published to many.", (s) => s.bytesPublished, "bytes"],
  ["frames_due", "Publications, counted once for each recipient.", (s) => s.framesDue],
  [
    "pieces_recalled",
    "Pieces of bodies that clients did not read, which are read again later.",
    (s) => s.fileBuffers.recalled,
  ],
  ["handler_errors", "Errors that handlers threw.", (s) => s.handlerErrors],
  ["accept_errors", "Failures to accept a connection.", (s) => s.acceptErrors],
  ["requests_shed", "Requests refused with 503 because a handler had no room.", (s) => s.shed],
  [
    "access_log_lines_dropped",
    "Lines of the access log that could not be written.",
    (s) => s.linesDropped,
  ],
];

type PoolFamily = readonly [
  name: string,
  help: string,
  value: (pool: NonNullable<Stats["pool"]>) => number,
  unit?: string,
];

const POOL_GAUGES: readonly PoolFamily[] = [
  ["pool_threads", "Threads of the pool.", (p) => p.threads],
  ["pool_running", "Requests that threads are handling.", (p) => p.running],
  ["pool_queued", "Requests that wait for a thread.", (p) => p.queueSize],
  [
    "pool_busy_ratio",
    "Share of the threads' time spent on requests.",
    (p) => p.utilization,
    "ratio",
  ],
  [
    "pool_run_mean_seconds",
    "Mean time of a request in a thread.",
    (p) => p.runTime.mean / 1000,
    "seconds",
  ],
  [
    "pool_run_p99_seconds",
    "99th percentile of a request's time in a thread.",
    (p) => p.runTime.p99 / 1000,
    "seconds",
  ],
  [
    "pool_run_max_seconds",
    "Longest time of a request in a thread.",
    (p) => p.runTime.max / 1000,
    "seconds",
  ],
];

function numberText(value: number): string {
  return value === Number.POSITIVE_INFINITY ? "+Inf" : String(value);
}

/** Returns the text of a family. @param samples each a suffix of the family's name, and a value */
function familyText(
  [name, help, , unit]: readonly [string, string, unknown, string?],
  type: string,
  samples: readonly (readonly [suffix: string, value: number])[],
): string {
  const family = `ringcast_${name}`;
  let text = `# TYPE ${family} ${type}\n`;
  if (unit) text += `# UNIT ${family} ${unit}\n`;
  text += `# HELP ${family} ${help}\n`;
  for (const [suffix, value] of samples) text += `${family}${suffix} ${numberText(value)}\n`;
  return text;
}

const TRANSPORT = ["transport", "How connections are held.", undefined] as const;

function causesText(
  name: string,
  help: string,
  counts: readonly (readonly [string, number])[],
): string {
  const samples = counts.map(
    ([cause, count]) => [`_total{cause="${cause}"}`, count] as [string, number],
  );
  return familyText([name, help, undefined], "counter", samples);
}

/** Returns the current lag of clients as a histogram whose counts may also fall. */
function lagText({ bounds, counts }: Stats["lag"]): string {
  let sum = 0;
  const samples = counts.map((count, i): [string, number] => {
    sum += count;
    return [`_bucket{le="${bounds[i]}.0"}`, sum];
  });
  samples.push(['_bucket{le="+Inf"}', sum]);
  const help = "Open WebSockets by the bytes of the ring that they have not received.";
  return familyText(["lag_bytes", help, undefined, "bytes"], "gaugehistogram", samples);
}

/** Returns the metrics as text. @param horizon seconds; Infinity: nothing is published */
export function metricsText(stats: Stats, horizon: number): string {
  const { closed, gaps, pool, lag, transport } = stats;
  let text = "";
  for (const row of GAUGES) text += familyText(row, "gauge", [["", row[2](stats)]]);
  const help = "Time that it last took to publish as much as a client may lag.";
  text += familyText(["ring_horizon_seconds", help, undefined, "seconds"], "gauge", [
    ["", horizon],
  ]);
  text += lagText(lag);
  if (transport) text += familyText(TRANSPORT, "gauge", [[`{name="${transport}"}`, 1]]);
  for (const row of COUNTERS) text += familyText(row, "counter", [["_total", row[2](stats)]]);
  const evictions = [...EVICTIONS].map((cause) => [cause, closed[cause] ?? 0] as const);
  text += causesText("evictions", "Clients evicted, by cause.", evictions);
  text += causesText(
    "gaps",
    "Gaps that event streams were told of, by reason.",
    Object.entries(gaps),
  );
  text += causesText("closed", "Connections that ended, by cause.", Object.entries(closed));
  if (pool) {
    for (const row of POOL_GAUGES) text += familyText(row, "gauge", [["", row[2](pool)]]);
    const through = ["pool_completed", "Requests that the pool has completed.", undefined] as const;
    text += familyText(through, "counter", [["_total", pool.completed]]);
  }
  return `${text}# EOF\n`;
}

/**
 * Returns true when the client may read the metrics. If an untrusted proxy forwarded the request, its client is
 * unknown, so it may not.
 */
function mayRead(request: Request, peerAddress: string, readers: AddressSet): boolean {
  const { remoteAddress } = request;
  const isPassedOn =
    remoteAddress === peerAddress && FORWARDED.some((name) => request.header(name) !== undefined);
  return readers.isAny || (readers.has(remoteAddress) && !isPassedOn);
}

/**
 * Responds to a request for the metrics.
 * @param peerAddress address of the peer that connected
 * @param text returns the metrics; it is called only when they are sent
 * @returns false when the request is not for the metrics
 */
export function answerMetrics(
  { path, readers }: MetricsRules,
  request: Request,
  peerAddress: string,
  response: Response,
  text: () => string,
): boolean {
  if (request.path !== path) return false;
  response.header("Cache-Control", "no-store");
  if (!mayRead(request, peerAddress, readers)) response.send(403, "text/plain", "Forbidden\n");
  else if (request.method === "GET" || request.method === "HEAD")
    response.send(200, CONTENT_TYPE, text());
  else response.header("Allow", "GET, HEAD").send(405, "text/plain", "Method Not Allowed\n");
  return true;
}
