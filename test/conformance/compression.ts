// Families 12 and 13: messages of many sizes and kinds, compressed by each set of parameters that a client
// may offer; and what is agreed upon for every form of an offer (RFC 7692 7.1).

import { type Case, answered } from "./cases";
import { Client, type Event, binary, text } from "./client";
import { pattern } from "../e2e/peer";
import { Random } from "../../host/testing/random";

/** Sizes of messages, of their fragments; 0: whole. */
const SIZES: readonly (readonly [size: number, fragment: number])[] = [
  ...[16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072].map((size): [number, number] => [
    size,
    0,
  ]),
  ...[8192, 16384, 32768, 65536, 131072].map((size): [number, number] => [size, 256]),
  [131072, 1024],
  [131072, 4096],
  [131072, 32768],
];

/** A document of which slices are sent, from one end to the other and again. */
interface Data {
  readonly bytes: Buffer;
  readonly event: (payload: Buffer) => Event;
}

const LENGTH = 300000;

function words(random: Random): string[] {
  const letters = "aäbcdeéfghiklmnoöprsßtuüvwz€";
  return Array.from({ length: 500 }, () => {
    let word = "";
    for (let n = 2 + random.size(12); n > 0; n--) word += random.pick([...letters]);
    return word;
  });
}

function grown(piece: () => string): Buffer {
  let whole = "";
  while (whole.length < LENGTH) whole += piece();
  return Buffer.from(whole);
}

function json(random: Random): Buffer {
  return grown(() =>
    JSON.stringify({
      id: random.int(0, 1e6),
      name: `item ${random.int(0, 99)}`,
      price: random.int(0, 1e5) / 100,
      tags: Array.from({ length: random.int(0, 4) }, () => random.pick(["new", "sold", "hot"])),
    }),
  );
}

/** Returns grey levels that change slowly, row by row. */
function picture(random: Random): Buffer {
  const width = 512;
  const bytes = Buffer.alloc(width * width);
  for (let i = 0; i < bytes.length; i++) {
    const left = i % width === 0 ? 128 : (bytes[i - 1] as number);
    const above = i < width ? left : (bytes[i - width] as number);
    bytes[i] = Math.max(0, Math.min(255, ((left + above) >> 1) + random.int(-3, 3)));
  }
  return bytes;
}

function prose(random: Random): Buffer {
  const known = words(random);
  return grown(() => {
    const line = Array.from({ length: random.int(4, 9) }, () => random.pick(known));
    return `${line.join(" ")}\r\n`;
  });
}

function html(random: Random): Buffer {
  return grown(
    () =>
      `<tr class="row-${random.int(0, 1)}"><td>${random.int(0, 9999)}</td>` +
      `<td><a href="/item/${random.int(0, 999)}">more</a></td></tr>\n`,
  );
}

const random = new Random(7692);
const DATA: readonly Data[] = [
  { bytes: json(random), event: text },
  { bytes: picture(random), event: binary },
  { bytes: prose(random), event: binary },
  // As good as compressed already.
  { bytes: pattern(LENGTH), event: binary },
  { bytes: html(random), event: text },
];

/** Messages there and back, one after the other; each is looked at when it comes. */
async function roundTrips(
  client: Client,
  { bytes, event }: Data,
  [size, fragment]: readonly [number, number],
  count: number,
): Promise<void> {
  if (client.extensions === "") client.faults.push("no compression was agreed upon");
  for (let i = 0, at = 0; i < count && client.faults.length === 0; i++) {
    const end = at + size;
    const rest = bytes.subarray(0, Math.max(0, end - bytes.length));
    const due = event(Buffer.concat([bytes.subarray(at, end), rest]));
    at = end % bytes.length;
    client.message(due, fragment || undefined);
    await client.until(() => client.events.length > 0 || client.closeCode !== 0 || client.ended);
    const got = client.events.shift();
    if (!got) client.faults.push(`message ${i} was not answered`);
    else if (got.opcode !== due.opcode || !got.payload.equals(due.payload)) {
      client.faults.push(`message ${i} differs`);
    }
  }
}

const DEFAULT = "permessage-deflate; client_no_context_takeover; client_max_window_bits";
const NO_TAKEOVER = "; server_no_context_takeover";
const WINDOW = (bits: number): string => `; server_max_window_bits=${bits}`;

/** Offers of clients, family 13.1 to 13.7. */
const OFFERS: readonly string[] = [
  DEFAULT,
  DEFAULT + NO_TAKEOVER,
  DEFAULT + WINDOW(9),
  DEFAULT + WINDOW(15),
  DEFAULT + NO_TAKEOVER + WINDOW(9),
  DEFAULT + NO_TAKEOVER + WINDOW(15),
  [DEFAULT + NO_TAKEOVER + WINDOW(9), DEFAULT + NO_TAKEOVER, DEFAULT].join(", "),
];

/** Returns the families of compression. @param messages of each size: all 1000 of them, or fewer */
export function compression(messages: "all" | "some"): readonly (readonly [string, Case[]])[] {
  const family = (name: string, data: Data, offer: string): Case[] =>
    SIZES.map((size, i) => {
      const count = messages === "all" ? 1000 : Math.max(3, Math.min(40, 131072 / size[0]));
      const send = (client: Client): Promise<void> => roundTrips(client, data, size, count);
      return { ...answered(`${name}.${i + 1}`, [], send), offer };
    });
  return [
    ["12 compression", DATA.flatMap((data, i) => family(`12.${i + 1}`, data, DEFAULT))],
    [
      "13 parameters of compression",
      OFFERS.flatMap((offer, i) => family(`13.${i + 1}`, DATA[0] as Data, offer)),
    ],
  ];
}

/** The server's response whenever it accepts. */
const ALWAYS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const P = "permessage-deflate";

/** Offers, and what is agreed upon: "" without compression. */
export const NEGOTIATIONS: readonly (readonly [offer: string, answer: string])[] = [
  [P, ALWAYS],
  ["PerMessage-Deflate", ALWAYS],
  [`${P}; server_no_context_takeover`, ALWAYS],
  [`${P}; client_no_context_takeover`, ALWAYS],
  [`${P};client_no_context_takeover ; server_no_context_takeover`, ALWAYS],
  [`${P}; client_max_window_bits`, ALWAYS],
  ...[8, 9, 10, 11, 12, 13, 14, 15].map((bits): [string, string] => [
    `${P}; client_max_window_bits=${bits}`,
    ALWAYS,
  ]),
  ...[8, 9, 10, 11, 12, 13, 14, 15].map((bits): [string, string] => [
    `${P}; server_max_window_bits=${bits}`,
    `${ALWAYS}; server_max_window_bits=${bits}`,
  ]),
  [`${P}; server_max_window_bits="10"`, `${ALWAYS}; server_max_window_bits=10`],
  [`${P}; client_max_window_bits="12"`, ALWAYS],
  // Declined, and the next offer is taken.
  [`${P}; server_max_window_bits=7, ${P}`, ALWAYS],
  [
    `${P}; server_max_window_bits=11, ${P}; server_max_window_bits=12`,
    `${ALWAYS}; server_max_window_bits=11`,
  ],
  [`x-other; a=b, ${P}`, ALWAYS],
  [`, ,${P},`, ALWAYS],
  // Declined: values out of range or missing, parameters repeated or not known.
  ...[
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=09",
    "server_max_window_bits=+9",
    "server_max_window_bits=x",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=010",
    'client_max_window_bits="16"',
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "unknown",
    "unknown=1",
    "client_max_window_bits; client_max_window_bits",
    "server_max_window_bits=9; server_max_window_bits=9",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
  ].map((params): [string, string] => [`${P}; ${params}`, ""]),
  [
    `${P}; unknown, ${P}; client_max_window_bits=7, ${P}; server_max_window_bits=10`,
    `${ALWAYS}; server_max_window_bits=10`,
  ],
  ["x-webkit-deflate-frame", ""],
  ["permessage-bzip2", ""],
];

/** Fields that break the grammar (RFC 6455 9.1): 400. */
export const MALFORMED: readonly string[] = [
  ";",
  `${P};`,
  `${P}; =1`,
  `${P}; a=`,
  `${P}; a="b`,
  `${P}; a="b c"`,
  `${P}; a=""`,
  `${P} client_max_window_bits`,
  `${P}/1`,
  "(",
];

/** Negotiates, and exchanges messages by what was agreed upon. @returns "" when all is well */
export async function negotiated(port: number, offer: string, answer: string): Promise<string> {
  const client = await Client.open(port, offer);
  try {
    if (client.extensions !== answer) return `answered ${JSON.stringify(client.extensions)}`;
    for (const size of [1000, 40000, 40000, 2000]) {
      const due = text((DATA[0] as Data).bytes.subarray(0, size));
      client.message(due);
      await client.until(() => client.events.length > 0 || client.closeCode !== 0 || client.ended);
      if (!client.events.shift()?.payload.equals(due.payload)) return `${size} octets differ`;
    }
    return client.faults.join("; ");
  } finally {
    client.destroy();
  }
}
