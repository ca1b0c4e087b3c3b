// Counters and gauges, read from the engine's control table.

import { CloseReason, Control, LAG_CLASSES, LAG_FIRST, Param } from "../../assembly/abi";
import { CLOSE_TABLE } from "../../host/shared/close";
import type { Stats } from "../../host/handler";
import type { Engine } from "./engine";

/** Counters that the engine does not have. */
type HostCounters = Pick<
  Stats,
  "handlerErrors" | "acceptErrors" | "shed" | "linesDropped" | "inflating"
>;

const NONE: HostCounters = {
  ...{ handlerErrors: 0, acceptErrors: 0, shed: 0, linesDropped: 0 },
  inflating: { messages: 0, bytes: 0 },
};

/**
 * Returns the distribution of the open WebSockets' lag, as `gauge` has counted it. The last class ends at the ring's
 * size and includes larger lags, which skipped bytes at the end of a lap cause.
 */
function lagOf(engine: Engine): Stats["lag"] {
  const ring = engine.params[Param.RingBytes] as number;
  const bounds = [0];
  for (let bound = LAG_FIRST; bound < ring; bound *= 4) bounds.push(bound);
  bounds.push(ring);
  const classes = engine.control.subarray(Control.LagCount, Control.LagCount + LAG_CLASSES);
  const last = bounds.length - 1;
  const beyond = classes.subarray(last).reduce((sum, count) => sum + count, 0);
  return { bounds, counts: [...classes.subarray(0, last), beyond] };
}

/** Returns the gaps that readers were notified of, by reason. */
function gapsOf(engine: Engine): Stats["gaps"] {
  const [expired = 0, epoch = 0, invalid = 0, lapped = 0, large = 0] = engine.control.subarray(
    Control.GapCount + 1,
  );
  return { expired, epoch, invalid, lapped, large };
}

/** Returns the statistics of an engine, together with its holder's own counters. */
export function statsOf(engine: Engine, host = NONE): Stats {
  engine.x.gauge();
  const get = (index: Control): number => engine.get(index);
  const closed: Record<string, number> = {};
  for (const name of Object.keys(CLOSE_TABLE) as (keyof typeof CLOSE_TABLE)[]) {
    const count = engine.control[Control.CloseCount - CloseReason[name]] as number;
    if (count > 0) closed[name] = count;
  }
  const param = (index: Param): number => engine.params[index] as number;
  return {
    connections: get(Control.ConnectionCount),
    webSockets: get(Control.WebSocketCount),
    pipes: get(Control.Pipes),
    released: get(Control.Released),
    eventStreams: get(Control.StreamCount),
    accepted: get(Control.Accepted),
    upgraded: get(Control.Upgraded),
    requests: get(Control.Requests),
    bytesIn: get(Control.BytesIn),
    bytesOut: get(Control.BytesOut),
    messagesIn: get(Control.MessagesIn),
    messagesSent: get(Control.MessagesSent),
    messagesRefused: get(Control.MessagesRefused),
    position: engine.position,
    framesPublished: get(Control.FramesPublished),
    bytesPublished: get(Control.BytesPublished),
    framesDue: get(Control.FramesDue),
    evicted: get(Control.Evicted),
    closed,
    addresses: get(Control.AddressCount),
    topics: get(Control.TopicCount),
    resumed: get(Control.Resumed),
    parked: get(Control.ParkedCount),
    replayedBytes: get(Control.ReplayedBytes),
    gaps: gapsOf(engine),
    topicsForgotten: get(Control.TopicsForgotten),
    subscriptions: get(Control.SubscriptionCount),
    ring: { bytes: param(Param.RingBytes), used: get(Control.RingUsed) },
    lag: lagOf(engine),
    receivePool: { bytes: param(Param.ReceivePoolBytes), used: get(Control.ReceivePoolUsed) },
    replyPool: { bytes: param(Param.ReplyPoolBytes), used: get(Control.ReplyPoolUsed) },
    bodyBytes: get(Control.BodyBytes),
    fileBuffers: {
      bytes: param(Param.PieceBytes),
      used: get(Control.PieceBytesUsed),
      waiting: get(Control.StarvedCount),
      recalled: get(Control.Recalled),
    },
    inflating: host.inflating,
    memory: engine.u8.length,
    handlerErrors: host.handlerErrors,
    acceptErrors: host.acceptErrors,
    shed: host.shed,
    linesDropped: host.linesDropped,
  };
}
