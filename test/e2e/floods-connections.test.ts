// Floods of connections: many, slow, silent, or over before they began. No bystander is affected.

import * as assert from "uvu/assert";
import { type Flood, runFloods } from "./flood";
import { CERTIFICATE } from "./peer";

/** Times that a test can wait for. */
const QUICK = { headersTimeout: 1000, closeTimeout: 500, rateGrace: 1000 };

const FLOODS: readonly Flood[] = [
  {
    name: "slow heads, a byte every 250 ms",
    options: { ...QUICK, maxConnections: 2100 },
    flood: "slowHeads",
    args: { count: 2000, ms: 250 },
    ends: { HeadTimeout: 2000 },
  },
  {
    name: "slow heads, four times `maxConnections`",
    options: { ...QUICK, maxConnections: 500 },
    flood: "slowHeads",
    args: { count: 2000, ms: 250 },
    // The oldest goes for each that comes; the bystanders' requests are the youngest.
    ends: { "EvictedUnfinished|HeadTimeout|NoRoom": 2000 },
    check: (after, before) => assert.ok(after.evicted - before.evicted >= 100),
  },
  {
    name: "slow bodies, a byte every 250 ms",
    options: { ...QUICK, maxConnections: 2100 },
    flood: "slowBodies",
    args: { count: 2000, ms: 250 },
    ends: { ReceiveTooSlow: 2000 },
  },
  {
    name: "churn: reset, ended, a request, a WebSocket, in turn",
    options: { maxConnections: 2000 },
    flood: "churn",
    args: { count: 50000 },
    warm: { count: 3000 },
    ends: { PeerReset: 12500, PeerClosed: 25000, Ok: 12500 },
    figures: (_, seconds) => `50000 connections, ${(50 / seconds).toFixed(1)} k/s,`,
  },
  {
    name: "no byte, or half an opening handshake",
    options: { ...QUICK, maxConnections: 2100 },
    flood: "halfHandshakes",
    args: { count: 2000 },
    ends: { HeadTimeout: 2000 },
  },
  {
    name: "half a ClientHello of TLS",
    options: { maxConnections: 2100, handshakeTimeout: 1000, tls: CERTIFICATE },
    secure: true,
    flood: "halfHellos",
    args: { count: 200 },
    // The memory that TLS allocates for this many at a time stays with the allocator for the next.
    warm: { count: 2000 },
    ends: { TlsFailed: 200 },
  },
  {
    name: "upgrade, then silence",
    options: { maxWebSockets: 2100, idleTimeout: 2 },
    flood: "silence",
    args: { count: 1000 },
    ends: { IdleTimeout: 1000 },
  },
  {
    name: "one address, connections over its limit",
    options: { ...QUICK, maxConnectionsPerAddress: 100 },
    flood: "oneAddress",
    args: { count: 4000 },
    ends: { "HeadTimeout|AddressLimit": 4000 },
    check: (after, before) => {
      const limited = (after.closed.AddressLimit ?? 0) - (before.closed.AddressLimit ?? 0);
      assert.ok(limited > 2000, `${limited}`);
    },
  },
];

runFloods("floods of connections", FLOODS);
