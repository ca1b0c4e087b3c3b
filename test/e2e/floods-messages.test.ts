// Floods over open WebSockets: pings, fragments, bombs, subscriptions, and clients that do not read or stop reading. No
// bystander is affected.

import * as assert from "uvu/assert";
import { type Did, type Flood, runFloods } from "./flood";

const MiB = 1048576;

const frames = (did: Did, seconds: number): string =>
  `${did.connections} connections, ${((did.frames ?? 0) / seconds / 1e6).toFixed(1)} M frames/s`;

const FLOODS: readonly Flood[] = [
  {
    name: "pings, no pong is read",
    flood: "unreadPings",
    args: { count: 50, ms: 1500 },
    warm: { ms: 500 },
    ends: { "PeerReset|PeerEnded": 50 },
    figures: frames,
  },
  {
    name: "pings over `messageRate`",
    options: { messageRate: 1000, closeTimeout: 500 },
    flood: "pings",
    args: { count: 50, rounds: 4 },
    warm: { rounds: 2 },
    ends: { Rate: 200 },
    figures: frames,
  },
  {
    name: "a message in fragments of one byte",
    options: { closeTimeout: 500 },
    flood: "fragments",
    args: { count: 50, rounds: 2 },
    ends: { WsTooManyFragments: 100 },
    figures: frames,
  },
  {
    name: "bombs: 64 MiB in 64 KiB",
    options: { perMessageDeflate: true },
    flood: "bombs",
    args: { count: 50, width: 25 },
    ends: { WsMessageTooLarge: 50 },
    servesNewcomers: true,
  },
  {
    name: "bombs: 16 MiB, which may be",
    options: { perMessageDeflate: true },
    flood: "largeBombs",
    args: { count: 30, each: 4 },
    ends: { PeerClosed: 30 },
    servesNewcomers: true,
  },
  {
    name: "subscribe, unsubscribe",
    options: { maxTopics: 5000, maxSubscriptions: 20000 },
    flood: "subscriptions",
    args: { count: 50, topics: 2000 },
    ends: { PeerClosed: 50 },
    check(after) {
      assert.is(after.topics, 0);
      assert.is(after.subscriptions, 0);
    },
    figures: (did, seconds) =>
      `50 connections, ${((did.messages ?? 0) / seconds / 1e6).toFixed(2)} M messages/s`,
  },
  {
    name: "subscribers that read a byte a second",
    options: { ring: 4 * MiB },
    flood: "slowSubscribers",
    firehose: 65536,
    args: { count: 50 },
    ends: { WsClientTooSlow: 50 },
    check: (after) => assert.equal(Object.keys(after.evictions), ["WsClientTooSlow"]),
  },
  {
    name: "messages of 1 MiB that want for their last byte",
    options: { rateGrace: 1000 },
    flood: "begunMessages",
    args: { count: 100, bytes: MiB },
    ends: { ReceiveTooSlow: 100 },
  },
];

runFloods("floods of messages", FLOODS);
