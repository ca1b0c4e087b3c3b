// Floods of requests: not read, hardly read, too large. No bystander is affected.

import { type Flood, runFloods } from "./flood";

const FLOODS: readonly Flood[] = [
  {
    name: "pipelined requests, no answer is read",
    options: { writeTimeout: 1000 },
    flood: "unreadPipelines",
    args: { count: 100 },
    ends: { WriteTimeout: 100 },
    figures: (did) => `100 connections, ${((did.bytes ?? 0) / 1e6).toFixed(0)} MB of requests`,
  },
  {
    name: "16 MiB asked for, a byte a second is read",
    options: { writeTimeout: 1000 },
    flood: "slowReaders",
    args: { count: 100 },
    ends: { WriteTimeout: 100 },
  },
  {
    name: "heads, targets, fields and bodies that are too large",
    options: { closeTimeout: 500 },
    flood: "oversizedRequests",
    args: { count: 5000 },
    ends: { LargeHead: 1000, PathTooLong: 1000, TooManyHeaders: 1000, LargeRequest: 2000 },
  },
  {
    name: "frames and messages that are too large",
    options: { maxPayloadLength: 65536, closeTimeout: 500 },
    flood: "oversizedMessages",
    args: { count: 2000, limit: 65536 },
    ends: { WsOversizeFrame: 1000, WsMessageTooLarge: 1000 },
  },
];

runFloods("floods of requests", FLOODS);
