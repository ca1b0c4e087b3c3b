// Family 9: messages of up to 16 MiB, in fragments of every size, in small TCP segments, and many of them
// there and back.

import { type Case, answered } from "./cases";
import { type Client, type Event, binary, fragmented, text } from "./client";
import { pattern } from "../e2e/peer";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Returns text whose fragments end within characters: "x", then 16 octets again and again. */
function longText(length: number): Event {
  const unit = Buffer.from("0123456é€𝄞");
  const payload = Buffer.alloc(length, unit);
  payload.copyWithin(1, 0);
  payload[0] = 0x78;
  // No character is cut at the end.
  const whole = 1 + Math.floor((length - 1) / unit.length) * unit.length;
  payload.fill("y", whole);
  return text(payload);
}

const longBinary = (length: number): Event => binary(pattern(length));

/** Messages there and back, one after the other. */
async function roundTrips(client: Client, event: Event, count: number): Promise<void> {
  for (let i = 1; i <= count; i++) {
    client.message(event);
    const there = (): boolean => client.events.length === i || client.closeCode !== 0;
    if (!(await client.until(there)) || client.closeCode !== 0) return;
  }
}

function kind(n: number, make: (length: number) => Event): Case[] {
  const cases: Case[] = [];
  const sizes = [64 * KiB, 256 * KiB, MiB, 4 * MiB, 8 * MiB, 16 * MiB];
  sizes.forEach((size, i) => {
    const due = make(size);
    cases.push(answered(`9.${n}.${i + 1}`, [due], (client) => client.message(due)));
  });
  const four = make(4 * MiB);
  for (let i = 0; i < 9; i++) {
    const size = 64 * 4 ** i;
    const send = (client: Client): void => client.write(Buffer.concat(fragmented(four, size)));
    cases.push(answered(`9.${n + 2}.${i + 1}`, [four], send));
  }
  const one = make(MiB);
  const whole = Buffer.concat(fragmented(one, MiB));
  for (let i = 0; i < 6; i++) {
    const send = (client: Client): Promise<void> => client.chopped(whole, 64 * 2 ** i);
    cases.push(answered(`9.${n + 4}.${i + 1}`, [one], send));
  }
  [0, 16, 64, 256, 1024, 4096].forEach((size, i) => {
    const event = size === 0 ? { ...make(1), payload: Buffer.alloc(0) } : make(size);
    const due = Array.from({ length: 1000 }, () => event);
    const send = (client: Client): Promise<void> => roundTrips(client, event, 1000);
    cases.push(answered(`9.${n + 6}.${i + 1}`, due, send));
  });
  return cases;
}

export const LIMITS: readonly Case[] = [...kind(1, longText), ...kind(2, longBinary)];
